"""``python -m benchmarks.paired REVISION``: this tree beside another revision of it, over the same images, in turn.

Both run the same job, each time with a new checkpoint: over pictures in a folder, which are decoded and compared
(``near_duplicates``), sent or converted, or over a bucket whose images are examined by reference and copied. What is
printed is for each the median of processor time and time of an image, and the median of the ratios of the rounds, which
are interleaved: what else the machine does meets both. Times have the start of the program in them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.answers import CLEAN, RAW
from benchmarks.bench import ROOT, Bench, environment
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError, Process
from benchmarks.sizes import FULL
from benchmarks.workloads.pictures import fill, write_job

BY_REFERENCE = "reference"
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "hash": ("JPEG", {"near_duplicates": True}),
    "send": ("JPEG", {}),
    "convert": ("WEBP", {"convert": True}),
    BY_REFERENCE: ("", {"source": f"s3://{RAW}/", "actions": {"keep": {"copy": f"s3://{CLEAN}/{{key}}"}}}),
}
"""What is compared: format of the pictures in a folder, and what the job sets."""


def main() -> None:
    """Compare two revisions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revision", help="the other one, such as 348f656")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=400, help="images of a run; some ten thousand by reference")
    parser.add_argument("--mode", choices=MODES, default="hash")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paired-") as folder, _tree(options.revision, Path(folder)) as other:
        bench = Bench(sizes=FULL, folder=Path(folder))
        trees = {options.revision: other, "this tree": ROOT}
        measured = _measured(bench, trees, options.rounds, options.pictures, options.mode)
    for name, rounds in measured.items():
        cpu_ms, wall_ms = (statistics.median(figures) for figures in zip(*rounds, strict=True))
        print(f"{name}: {cpu_ms:.2f} ms of processor time and {wall_ms:.2f} ms an image, median of {len(rounds)}")
    before, now = measured.values()
    ratios = sorted(after[0] / earlier[0] for earlier, after in zip(before, now, strict=True))
    print(f"processor time, this tree / {options.revision}: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to "
          f"{ratios[-1]:.3f})")  # fmt: skip


@contextmanager
def _tree(revision: str, folder: Path) -> Iterator[Path]:
    """The files of a revision."""
    path = folder / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(path), revision], cwd=ROOT, check=True)
    try:
        yield path
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=ROOT, check=True)


def _measured(
    bench: Bench, trees: dict[str, Path], rounds: int, pictures: int, mode: str
) -> dict[str, list[tuple[float, float]]]:
    """By tree, processor time and time in milliseconds an image, of each round after the first."""
    kind, sections = MODES[mode]
    folder = bench.new_folder()
    if mode != BY_REFERENCE:
        fill(folder, kind, pictures)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
    with bench.sandbox(pictures) as sandbox:
        for number in range(rounds + 1):
            for name, tree in trees.items():
                place = bench.new_folder()
                job = write_job(folder, place, **sections)
                env = environment(sandbox.environment()) | {"PYTHONPATH": str(tree)}
                with Process(ours.command("run", job), env, place / "out") as process:
                    ran = process.wait()
                    if ran.exit_code:
                        raise BenchmarkError(f"{name} ended with {ran.exit_code}: {process.complaint()}")
                if json.loads(ran.stdout)["examined"] != pictures:
                    raise BenchmarkError(f"{name}: not all of {pictures} images: {ran.stdout[:500]}")
                shutil.rmtree(place)
                if number:  # the first round fills caches
                    found[name].append((ran.cpu_s * 1000 / pictures, ran.wall_s * 1000 / pictures))
                print(f"{number} {name}: {ran.cpu_s:.2f} s, {ran.wall_s:.2f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
