"""Exports of what a run has found: labels as Parquet and as a data frame, and pictures as WebDataset tars.

Pictures are those that were kept, one image in seven; they are read from the sandbox, and are tiny, so that the costs
are those of requests and members. ``python -m benchmarks.workloads.exports JOB`` makes the frame.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import asyncfilter
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError, Ran
from benchmarks.workloads import checkpoint

FRAME_COLUMNS = ("image_id", "verdict", "label", "confidence_pct")


def measure(bench: Bench) -> dict[str, Any]:
    """Processor time and peak memory of each export, for a few images and for many."""
    return {"by_images": {str(images): _exports(bench, images) for images in bench.sizes.exports}}


def _exports(bench: Bench, images: int) -> dict[str, Any]:
    job, _ = checkpoint.write(bench, images)
    table = bench.new_folder() / "labels.parquet"
    ran, written = _export(bench, job, "parquet", table)
    found = {
        "rows": written["rows"],
        "parquet_mb": round(table.stat().st_size / 1e6, 1),
        "parquet_cpu_s": round(ran.cpu_s, 2),
        "parquet_peak_mb": ran.peak_mb,
    }
    if written["images"] != images:
        raise BenchmarkError(f"not all of {images} images are in the table: {written}")
    frame = bench.run([sys.executable, "-m", __name__, str(job)])
    found |= {"frame_cpu_s": round(frame.cpu_s, 2), "frame_peak_mb": frame.peak_mb}
    with bench.sandbox(images + checkpoint.NEW_OBJECTS) as sandbox:
        ran, written = _export(bench, job, "webdataset", bench.new_folder() / "shards", sandbox)
    pictures = written["images"]
    return found | {
        "pictures": pictures,
        "pictures_a_second": round(pictures / ran.wall_s),
        "webdataset_cpu_us_per_picture": round(ran.cpu_s / pictures * 1e6),
        "webdataset_peak_mb": ran.peak_mb,
    }


def _export(bench: Bench, job: Path, format_: str, output: Path, sandbox: Any = None) -> tuple[Ran, dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "asyncfilter",
        "export",
        str(job),
        "--format",
        format_,
        "-o",
        str(output),
        "--json",
    ]
    ran = bench.run(command, sandbox)
    return ran, json.loads(ran.stdout)


def main() -> None:
    """Make the frame of a job, and print the number of its rows."""
    frame = asyncfilter.labels_frame(asyncfilter.load_job(sys.argv[1]), columns=FRAME_COLUMNS)
    print(json.dumps({"rows": len(frame)}))


if __name__ == "__main__":
    main()
