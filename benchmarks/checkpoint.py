"""What the checkpoint costs: CPU and bytes an image, and what a resume over many of them takes. Prints JSON.

    python benchmarks/checkpoint.py [--rows 1000000] [--batch 150]

Answers are the recorded ones where ``../shared/data`` has them, else generated with the same shape. Every image has a
key of 36 bytes and an ETag of its own; 14 of 100 have a confirmed copy. CPU is user + system time of the process, all
threads. The resume is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from asyncfilter.checkpoint import open_checkpoint, read_images
from asyncfilter.checkpoint.codec import decode, encode
from asyncfilter.checkpoint.interning import Interned
from asyncfilter.model import ActionKind, Box, Decision, Detection, Instance, Label, Verdict
from asyncfilter.ports import Batch, DoneEffect, StoredImage, Totals, Watermark

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "rekognition" / "detect_labels_recorded.jsonl"
OPEN_ROWS = 500
"""Rows beyond the watermark, as a killed run leaves them."""


def answers() -> tuple[str, list[Detection]]:
    """Where the answers come from, and the answers."""
    if not RECORDED.exists():
        return "generated", [_generated(random.Random(seed)) for seed in range(41)]
    responses = [json.loads(line)["response"] for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    return "recorded", [Detection(tuple(map(_label, r["Labels"])), r["LabelModelVersion"]) for r in responses]


def _label(label: dict[str, Any]) -> Label:
    instances = []
    for instance in label["Instances"]:
        box = instance["BoundingBox"]
        instances.append(Instance(Box(box["Left"], box["Top"], box["Width"], box["Height"]), instance["Confidence"]))
    return Label(label["Name"], label["Confidence"], tuple(instances), tuple(p["Name"] for p in label["Parents"]))


def _generated(chance: random.Random) -> Detection:
    def number(top: float) -> float:
        return round(chance.random() * top, 10)

    labels = []
    for _ in range(chance.randrange(1, 20)):
        boxes = [Instance(Box(number(1), number(1), number(1), number(1)), number(100))] * (chance.random() < 0.2)
        labels.append(Label(f"Label {chance.randrange(230)}", number(100), tuple(boxes), ("Parent",)))
    return Detection(tuple(labels), "3.0")


def image(id_: int, detections: list[Detection]) -> StoredImage:
    """The row of one image."""
    chance = random.Random(id_)
    return StoredImage(
        id=id_,
        seq=id_,
        key=f"birds/{id_ // 10000:05}/{id_:09}-{chance.getrandbits(32):08x}.jpg",
        etag=chance.randbytes(16).hex(),
        size_bytes=chance.randrange(10_000, 5_000_000),
        decision=Decision(Verdict.KEEP, 0, "Bird"),
        detection=detections[id_ % len(detections)],
    )


async def write(path: Path, rows: int, batch: int, detections: list[Detection]) -> dict[str, Any]:
    """Commit ``rows`` images as a run does."""
    cpu_s = wall_s = slowest_s = 0.0
    async with await open_checkpoint(path, identity={}, name="bench") as checkpoint:
        for first in range(1, rows + 1, batch):
            new = [image(id_, detections) for id_ in range(first, min(first + batch, rows + 1))]
            effects = [(one.id, DoneEffect(ActionKind.COPY, f"s3://clean/{one.key}")) for one in new if one.id % 50 < 7]
            watermark = Watermark(seq=min(new[-1].id, max(rows - OPEN_ROWS, 0)), cursor=new[-1].key)
            started, started_cpu = time.perf_counter(), time.process_time()
            await checkpoint.commit(Batch(new=new, effects=effects, watermark=watermark, totals=Totals(calls=first)))
            cpu_s += time.process_time() - started_cpu
            took_s = time.perf_counter() - started
            wall_s += took_s
            slowest_s = max(slowest_s, took_s)
    return {
        "cpu_us_per_image": round(cpu_s / rows * 1e6, 2),
        "wall_us_per_image": round(wall_s / rows * 1e6, 2),
        "slowest_commit_ms": round(slowest_s * 1e3, 1),
    }


def codec(detections: list[Detection]) -> dict[str, Any]:
    """Encoding and decoding alone."""
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


async def resume(path: Path) -> dict[str, Any]:
    """Open the checkpoint of a killed run, and read it as a resumed run and ``refilter`` do."""
    before_kib, started, started_cpu = _peak_kib(), time.perf_counter(), time.process_time()
    checkpoint = await open_checkpoint(path, identity={}, name="bench")
    opened_s, opened_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    opened_kib = _peak_kib()
    async with checkpoint:
        keys = [one.key for one in await checkpoint.seated(0, 1000)]
        started = time.process_time()
        await checkpoint.by_keys(keys)
        page_ms = (time.process_time() - started) * 1e3
        last_seq = read = 0
        started = time.process_time()
        while some := await checkpoint.seated(last_seq, 1000):
            read += len(some)
            last_seq = some[-1].seq or 0
        read_s = time.process_time() - started
    started = time.process_time()
    exported = sum(1 for _ in read_images(path))
    export_s = time.process_time() - started
    return {
        "open_wall_s": round(opened_s, 4),
        "open_cpu_s": round(opened_cpu_s, 4),
        "open_memory_mb": round((opened_kib - before_kib) / 1024, 1),
        "known_page_of_1000_cpu_ms": round(page_ms, 2),
        "read_with_labels_cpu_us_per_image": round(read_s / read * 1e6, 2),
        "read_images_cpu_us_per_image": round(export_s / exported * 1e6, 2),
        "all_memory_mb": round((_peak_kib() - before_kib) / 1024, 1),
    }


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=150)
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        print(json.dumps(anyio.run(resume, options.resume)))
        return
    origin, detections = answers()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        written = anyio.run(write, path, options.rows, options.batch, detections)
        written["bytes_per_image"] = round(path.stat().st_size / options.rows, 1)
        again = subprocess.run([sys.executable, __file__, "--resume", str(path)], stdout=subprocess.PIPE, check=True)
    figures = {"answers": origin, "rows": options.rows, "batch": options.batch, "codec": codec(detections)}
    print(json.dumps({**figures, "write": written, "resume": json.loads(again.stdout)}, indent=2))


if __name__ == "__main__":
    main()
