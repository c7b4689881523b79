"""The costs of the checkpoint: processor time and bytes per image.

One image in seven has a confirmed copy. The rows are objects of a sandbox that has ``NEW_OBJECTS`` more, so that a run
can resume from the file. ``python -m benchmarks.workloads.checkpoint JOB ROWS RECORDED`` writes in this process and
prints JSON; processor time is that of all its threads within ``commit``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio

from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.checkpoint.codec import decode, encode
from asyncfilter.checkpoint.interning import Interned
from asyncfilter.interpreter import shorten_switch_interval
from asyncfilter.job import load_job
from asyncfilter.job.fingerprint import decided_by, identity
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Decision, Detection, Verdict
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.records.tally import Tally
from asyncfilter.sandbox.pictures import tiny_picture
from asyncfilter.sandbox.synthetic import SyntheticKeys, synthetic_etag
from benchmarks.answers import CLEAN, PATTERN, Answers
from benchmarks.bench import Bench
from benchmarks.peers import ours

BATCH = 150
"""Rows of one transaction: 3,000 images a second times the 50 ms after which a result must be durable."""
NEW_OBJECTS = 100
"""Objects that are new to a resumed run."""
UNSETTLED = 500
"""Rows beyond the watermark, as after a run that was killed."""


def measure(bench: Bench) -> dict[str, Any]:
    """Costs of writing, encoding and decoding."""
    return write(bench, bench.sizes.rows)[1]


def write(bench: Bench, rows: int) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of ``rows`` examined images, written once; returns its job file and the costs of writing."""
    if rows not in bench.written:
        bench.written[rows] = _write(bench, rows)
    return bench.written[rows]


def _write(bench: Bench, rows: int) -> tuple[Path, dict[str, Any]]:
    folder = bench.new_folder()
    job = ours.write_job(bench.task(tps=1000.0), folder)
    return job, bench.module(__name__, job, rows, bench.recorded or "")


# -- Writing -----------------------------------------------------------------------------------------------------------


async def fill(job: Job, rows: int, detections: Sequence[Detection]) -> dict[str, Any]:
    """Commit ``rows`` images as a run does."""
    cpu_s = wall_s = slowest_s = 0.0
    tally = Tally()
    async with await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name) as checkpoint:
        await checkpoint.decided(decided_by(job), Watermark())
        for batch in _batches(job, rows, detections, tally):
            started, started_cpu = time.perf_counter(), time.process_time()
            await checkpoint.commit(batch)
            cpu_s += time.process_time() - started_cpu
            took_s = time.perf_counter() - started
            wall_s += took_s
            slowest_s = max(slowest_s, took_s)
    return {
        "cpu_us_per_image": round(cpu_s / rows * 1e6, 2),
        "wall_us_per_image": round(wall_s / rows * 1e6, 2),
        "slowest_commit_ms": round(slowest_s * 1e3, 1),
        "bytes_per_image": round(job.checkpoint.stat().st_size / rows, 1),
    }


def _batches(job: Job, rows: int, detections: Sequence[Detection], tally: Tally) -> Iterator[Batch]:
    keys, size_bytes = SyntheticKeys(rows + NEW_OBJECTS, PATTERN), len(tiny_picture())
    decisions = [compile_rules(job).decide(detection) for detection in detections]
    settled, mark = rows - UNSETTLED, Watermark()
    for first in range(1, rows + 1, BATCH):
        new = []
        for id_ in range(first, min(first + BATCH, rows + 1)):
            index = id_ % len(detections)
            new.append(_image(id_, keys[id_ - 1], size_bytes, decisions[index], detections[index]))
        kept = [one for one in new if one.decision is not None and one.decision.verdict is Verdict.KEEP]
        effects = [(one.id, DoneEffect(ActionKind.COPY, f"s3://{CLEAN}/{one.key}")) for one in kept]
        if new[-1].id <= settled:
            _count(tally, new)
            mark = Watermark(seq=new[-1].id, cursor=new[-1].key, tally=tally)
        calls = new[-1].id
        totals = Totals(calls=calls, attempts=calls, billed_calls=calls, spent_micros=calls * 1000)
        yield Batch(new=new, effects=effects, watermark=mark, totals=totals)


def _image(id_: int, key: str, size_bytes: int, decision: Decision, detection: Detection) -> StoredImage:
    return StoredImage(
        id=id_,
        seq=id_,
        key=key,
        etag=synthetic_etag(id_ - 1),
        size_bytes=size_bytes,
        decision=decision,
        detection=detection,
    )


def _count(tally: Tally, images: Sequence[StoredImage]) -> None:
    tally.count_listed(len(images))
    for image in images:
        assert image.decision is not None
        tally.count_verdict(image.decision.verdict)
        if image.decision.verdict is Verdict.KEEP:
            tally.count_effect(ActionKind.COPY)


# -- Encoding ----------------------------------------------------------------------------------------------------------


def codec(detections: Sequence[Detection]) -> dict[str, Any]:
    """Encoding and decoding without the database."""
    labels: Interned[Any] = Interned(_nothing)
    words: Interned[str] = Interned(_nothing)
    stored = [encode(detection, labels, words) for detection in detections]
    return {
        "encode_us": _fastest_us(lambda: [encode(detection, labels, words) for detection in detections]),
        "decode_us": _fastest_us(lambda: [decode(one, labels, words) for one in stored]),
        "detection_bytes": round(sum(map(len, stored)) / len(stored), 1),
        "labels_per_image": round(sum(len(one.labels) for one in detections) / len(detections), 1),
    }


def _nothing(_: int) -> list[Any]:
    return []


def _fastest_us(work: Callable[[], list[Any]]) -> float:
    times = []
    for _ in range(50):
        started = time.process_time()
        done = len(work())
        times.append((time.process_time() - started) / done)
    return round(min(times) * 1e6, 2)


def main() -> None:
    """Write a checkpoint, with the switch interval of the program, and print the costs."""
    shorten_switch_interval()
    job, rows, recorded = load_job(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3]
    answers = Answers.of(Path(recorded) if recorded else None)
    written = anyio.run(fill, job, rows, answers.detections)
    print(json.dumps({"answers": answers.name, "rows": rows, "batch": BATCH, **written, **codec(answers.detections)}))


if __name__ == "__main__":
    main()
