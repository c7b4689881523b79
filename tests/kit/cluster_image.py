"""The image of ``docs/examples/cluster``: ``python -m tests.kit.cluster_image`` carries out all its steps in a folder.

Packages are fetched and installed as the file says, on the image of the program; then what is in it is started.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.kit.dockerfile import Build

ROOT = Path(__file__).resolve().parents[2]
STARTED = (
    ["asyncfilter", "--version"],
    ["ray", "--version"],
    ["python", "-c", "import onnxruntime, aiohttp_cors; print('onnxruntime', onnxruntime.__version__)"],
    ["asyncfilter", "demo", "--on", "ray", "--yes", "--json"],
)
"""Commands that must end with 0."""


def main() -> int:
    """Build, start, and print; the exit code is 1 when a command fails."""
    with tempfile.TemporaryDirectory(prefix="cluster-image-") as folder:
        places = [Path(folder) / name for name in ("program", "cluster")]
        for place in places:
            place.mkdir()
        program = Build(ROOT / "Dockerfile", ROOT, places[0]).stages[-1]
        dockerfile = ROOT / "docs" / "examples" / "cluster" / "Dockerfile"
        (image,) = Build(dockerfile, ROOT, places[1], bases={"asyncfilter": program}).stages
        for command in STARTED:
            done = image.run(*command)
            sys.stdout.write(f"{' '.join(command)}: {done.returncode}: {done.stdout.strip()[:200]}\n")
            sys.stdout.flush()
            if done.returncode:
                sys.stderr.write(done.stderr[-4000:])
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
