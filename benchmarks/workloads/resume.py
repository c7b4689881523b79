"""Resuming after many images: the first new call of a resumed run, and ``refilter`` with changed rules.

The checkpoint is that of a run that was killed: all but the last rows are settled, and the bucket holds some more
objects. The changed rules require more confidence and leave the other images for review; copies that the new rules do
not make become stale.
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, wait_for_first_call
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError, Ran, cpu_s
from benchmarks.workloads.checkpoint import NEW_OBJECTS, write


def measure(bench: Bench) -> dict[str, Any]:
    """Medians of the resume; one ``refilter`` of many and one of few images."""
    rows, few_rows = bench.sizes.rows, bench.sizes.few_rows
    many, few = write(bench, rows)[0], write(bench, few_rows)[0]
    resumed = [_resume(bench, many, rows) for _ in range(bench.sizes.rounds)]
    fresh = _resume(bench, None, rows)
    filtered, filtered_few = _refilter(bench, many, rows), _refilter(bench, few, few_rows)
    figures = {key: round(statistics.median(one[key] for one in resumed), 3) for key in resumed[0]}
    return {
        "rows": rows,
        "few_rows": few_rows,
        "rounds": bench.sizes.rounds,
        **figures,
        "fresh_first_call_wall_s": round(fresh["first_call_wall_s"], 3),
        "fresh_peak_mb": fresh["peak_mb"],
        "more_mb": round(figures["peak_mb"] - fresh["peak_mb"], 1),
        "refilter_wall_s": round(filtered.wall_s, 2),
        "refilter_cpu_s": round(filtered.cpu_s, 2),
        "refilter_peak_mb": filtered.peak_mb,
        "refilter_few_peak_mb": filtered_few.peak_mb,
        "refilter_growth_pct": round((filtered.peak_mb / filtered_few.peak_mb - 1) * 100, 1),
    }


def _resume(bench: Bench, written: Path | None, rows: int) -> dict[str, float]:
    """Run to the end with ``rows`` images in the checkpoint, or with none; the number of new images is the same."""
    job = _copied(bench, written) if written else _fresh(bench)
    with bench.sandbox(rows + NEW_OBJECTS if written else NEW_OBJECTS) as sandbox:
        started_s = time.perf_counter()
        with bench.client(ours.command("run", job), sandbox, job.parent) as process:
            wait_for_first_call(sandbox, process)
            first_s, first_cpu_s = time.perf_counter() - started_s, cpu_s(process.pid)
            ran = process.wait()
        examined = sandbox.stats().operations["DetectLabels"].accepted
    if ran.exit_code != 0 or examined != NEW_OBJECTS:
        raise BenchmarkError(f"the run examined {examined} images instead of {NEW_OBJECTS}: {process.complaint()}")
    return {"first_call_wall_s": first_s, "first_call_cpu_s": first_cpu_s, "peak_mb": ran.peak_mb}


def _refilter(bench: Bench, written: Path, rows: int) -> Ran:
    job = _copied(bench, written)
    text = job.read_text(encoding="utf-8")
    kept = next(line for line in text.splitlines() if line.startswith("  - keep:"))
    surer = kept.replace(f"confidence: {bench.answers.confidence_pct:g}", "confidence: 99")
    job.write_text(text.replace(kept, surer + "\n" + kept.replace("keep", "review")), encoding="utf-8")
    with bench.sandbox(rows + NEW_OBJECTS) as sandbox:
        return bench.run(ours.command("refilter", job), sandbox, job.parent)


def _copied(bench: Bench, written: Path) -> Path:
    """A copy of the job file and its checkpoint in a new folder."""
    folder = bench.new_folder()
    return Path(shutil.copytree(written.parent, folder, dirs_exist_ok=True)) / written.name


def _fresh(bench: Bench) -> Path:
    task = bench.task(tps=1000.0)
    return ours.write_job(task, bench.new_folder())
