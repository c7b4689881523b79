"""Manifests of Custom Labels with image-level labels: the check of one, and every way to make one of what is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from asyncfilter.model import Verdict
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError
from benchmarks.workloads import checkpoint

LABELS = 40
_LINE = (
    '{{"source-ref":"s3://my-training-pictures/birds/2026/november/camera-{camera:03d}/IMG_{number:07d}.jpg","label0":1,'
    '"label0-metadata":{{"class-name":"Label {label}","confidence":1,"type":"groundtruth/image-classification",'
    '"job-name":"labeling-job/label","human-annotated":"yes","creation-date":"2026-11-27T10:00:00.000"}}}}\n'
)


def measure(bench: Bench) -> dict[str, Any]:
    """Processor time and peak memory of each command.

    Raises:
        BenchmarkError: One did not do all of its work.
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
        **_made(bench, path, lines),
    }


def _made(bench: Bench, path: Path, lines: int) -> dict[str, float]:
    """The commands that write a manifest: of a run, and of the manifest at ``path``."""
    folder = bench.new_folder()
    job, _ = checkpoint.write(bench, lines)
    every = [f"--verdict={verdict}" for verdict in Verdict]
    commands = {
        "from_run": ["from-run", str(job), "--refs", "source", *every, "--reject-label", "Other", *_to(folder / "run")],
        "split": ["split", str(path), "--train", str(folder / "train"), "--test", str(folder / "test"), "--json"],
        "merge": ["merge", str(path), str(path), *_to(folder / "merged")],
        "convert": ["convert", str(path), "--to", "sagemaker-multilabel", *_to(folder / "multi")],
        "stats": ["stats", str(path), "--json"],
    }
    figures: dict[str, float] = {}
    for name, arguments in commands.items():
        ran = bench.run([sys.executable, "-m", "asyncfilter", "manifest", *arguments])
        done = json.loads(ran.stdout)
        if done.get("lines", done.get("train", 0) + done.get("test", 0)) != lines:
            raise BenchmarkError(f"manifest {name}: not {lines} lines: {ran.stdout[:500]}")
        figures |= {f"{name}_cpu_s": round(ran.cpu_s, 2), f"{name}_peak_mb": ran.peak_mb}
    return figures


def _to(path: Path) -> list[str]:
    return ["-o", str(path), "--json"]


def write_manifest(path: Path, lines: int) -> None:
    """A manifest of image-level lines, about 300 bytes each."""
    with path.open("w", encoding="utf-8") as out:
        out.writelines(
            _LINE.format(camera=number % 300, number=number, label=number % LABELS) for number in range(lines)
        )
