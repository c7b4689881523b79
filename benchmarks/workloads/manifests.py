"""Manifests of Custom Labels: the check of one with image-level labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError

LABELS = 40
_LINE = (
    '{{"source-ref":"s3://my-training-pictures/birds/2026/november/camera-{camera:03d}/IMG_{number:07d}.jpg","label0":1,'
    '"label0-metadata":{{"class-name":"Label {label}","confidence":1,"type":"groundtruth/image-classification",'
    '"job-name":"labeling-job/label","human-annotated":"yes","creation-date":"2026-11-27T10:00:00.000"}}}}\n'
)


def measure(bench: Bench) -> dict[str, Any]:
    """Processor time and peak memory of ``manifest validate``.

    Raises:
        BenchmarkError: Not every line was found valid.
    """
    lines = bench.sizes.manifest_lines
    path = bench.new_folder() / "train.manifest"
    write_manifest(path, lines)
    ran = bench.run([sys.executable, "-m", "asyncfilter", "manifest", "validate", str(path), "--json"])
    if json.loads(ran.stdout)["valid_lines"] != lines:
        raise BenchmarkError(f"not all of {lines} lines are valid: {ran.stdout[:500]}")
    return {
        "lines": lines,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "validate_cpu_s": round(ran.cpu_s, 2),
        "validate_peak_mb": ran.peak_mb,
    }


def write_manifest(path: Path, lines: int) -> None:
    """A manifest of image-level lines, about 300 bytes each."""
    with path.open("w", encoding="utf-8") as out:
        out.writelines(
            _LINE.format(camera=number % 300, number=number, label=number % LABELS) for number in range(lines)
        )
