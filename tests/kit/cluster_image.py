"""The image of ``docs/examples/cluster``: ``python -m tests.kit.cluster_image`` carries out all its steps in a folder.

Packages are fetched and installed as the file says, on the image of the program; then what is in it is started.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.kit.dockerfile import Build, Stage

ROOT = Path(__file__).resolve().parents[2]
STARTED = (
    ["asyncfilter", "--version"],
    ["ray", "--version"],
    ["python", "-c", "import onnxruntime, aiohttp_cors; print('onnxruntime', onnxruntime.__version__)"],
    ["asyncfilter", "demo", "--on", "ray", "--yes", "--json"],
)
"""Commands that must end with 0."""


def main() -> int:
    """Build, start all commands, and print; the exit code is 1 when one fails."""
    with tempfile.TemporaryDirectory(prefix="cluster-image-") as folder:
        places = [Path(folder) / name for name in ("program", "cluster")]
        for place in places:
            place.mkdir()
        program = Build(ROOT / "Dockerfile", ROOT, places[0]).stages[-1]
        dockerfile = ROOT / "docs" / "examples" / "cluster" / "Dockerfile"
        (image,) = Build(dockerfile, ROOT, places[1], bases={"asyncfilter": program}).stages
        return max(start(image, command) for command in STARTED)


def start(image: Stage, command: Sequence[str]) -> int:
    """Start a command in an image and print how it ended, with all that it said where that was not well; 0 or 1."""
    try:
        done = image.run(*command)
    except subprocess.TimeoutExpired as error:
        _print_failure(command, f"no end within {error.timeout:g} s", error.stdout, error.stderr)
        return 1
    if done.returncode:
        _print_failure(command, f"exit {done.returncode}", done.stdout, done.stderr)
        return 1
    sys.stdout.write(f"{' '.join(command)}: 0: {done.stdout.strip()[:200]}\n")
    sys.stdout.flush()
    return 0


def _print_failure(command: Sequence[str], why: str, *outputs: str | bytes | None) -> None:
    """Print both outputs whole: a summary on stdout says why a run ended, and a line on stderr what went wrong."""
    sys.stderr.write(f"{' '.join(command)} FAILED: {why}\n")
    for name, output in zip(("stdout", "stderr"), outputs, strict=True):
        text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
        sys.stderr.write(f"--- its {name}:\n{text.rstrip() or '(nothing)'}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
