"""``python -m benchmarks.million``: exports of a million examined images, all of them with their pictures.

Not a part of ``make bench``: it takes a quarter of an hour and 10 GB of disk. The figures of each export are printed as
soon as it ends, and written to ``results/million.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asyncfilter.model import Verdict
from benchmarks import files, machine
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError
from benchmarks.sizes import FULL
from benchmarks.workloads import checkpoint

IMAGES = 1_000_000
_PICTURES = ("imagefolder", "webdataset")
_EVERY = [f"--verdict={verdict}" for verdict in Verdict]


def main() -> None:
    """Measure the exports."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", type=Path, default=files.RESULTS / "million.json")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "images": options.images,
        "at": machine.now(),
        "commit": machine.commit(),
        "load": machine.load(),
        "machine": machine.facts(),
        "exports": {},
    }
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        for name, figures in measured(Bench(sizes=FULL, folder=Path(folder)), options.images):
            document["exports"][name] = figures
            print(name, json.dumps(figures), flush=True)
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def measured(bench: Bench, images: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each export with its processor time, time and peak memory."""
    job, _ = checkpoint.write(bench, images)
    with bench.sandbox(images + checkpoint.NEW_OBJECTS) as sandbox:
        for format_ in ("parquet", *_PICTURES):
            output = bench.new_folder() / format_
            command = [sys.executable, "-m", "asyncfilter", "export", str(job), "--format", format_, "-o", str(output)]
            more = _EVERY if format_ in _PICTURES else []
            with bench.client([*command, *more, "--json"], sandbox) as process:
                ran = process.wait(timeout_s=7200)
                if ran.exit_code:
                    raise BenchmarkError(f"{format_} ended with {ran.exit_code}: {process.complaint()}")
            written = json.loads(ran.stdout)
            if written["images"] != images:
                raise BenchmarkError(f"{format_}: not all of {images} images: {written}")
            yield (
                format_,
                {
                    "rows": written.get("rows", images),
                    "wall_s": round(ran.wall_s, 1),
                    "cpu_us_per_image": round(ran.cpu_s / images * 1e6, 1),
                    "peak_mb": ran.peak_mb,
                },
            )
            if output.is_dir():
                shutil.rmtree(output)


if __name__ == "__main__":
    main()
