"""One detection and one copy alone: aioboto3 with its default settings, our client on aioboto3, our fast client.

The clients are measured alternately in one process. The sandbox is another process, so that only the client's processor
time is counted. ``python -m benchmarks.workloads.calls CALLS ROUNDS`` measures in this process and prints JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import anyio
from aiobotocore.config import AioConfig

from asyncfilter.aws import open_aws, open_clients, open_detector, open_store
from asyncfilter.job import parse_job
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Effect, ObjectRef, S3Location
from asyncfilter.sandbox.synthetic import SyntheticKeys, synthetic_etag
from benchmarks.answers import CLEAN, PATTERN, RAW
from benchmarks.bench import Bench

CONCURRENCY = 50
Call = Callable[[ObjectRef], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Client:
    """The two calls of one client."""

    detect: Call
    copy: Call


@asynccontextmanager
async def as_it_comes() -> AsyncIterator[Client]:
    """aioboto3's own clients with default settings, except for larger connection pools."""
    config, session = AioConfig(max_pool_connections=CONCURRENCY), aioboto3.Session()
    async with session.client("rekognition", config=config) as rekognition, session.client("s3", config=config) as s3:

        async def detect(image: ObjectRef) -> object:
            place = {"S3Object": {"Bucket": image.bucket, "Name": image.key}}
            return await rekognition.detect_labels(Image=place, MaxLabels=1000, MinConfidence=0)

        async def copy(image: ObjectRef) -> object:
            source = {"Bucket": image.bucket, "Key": image.key}
            return await s3.copy_object(Bucket=CLEAN, Key=image.key, CopySource=source, CopySourceIfMatch=image.etag)

        yield Client(detect, copy)


@asynccontextmanager
async def ours(client: str) -> AsyncIterator[Client]:
    """Our detector and sink on one of our clients: from reference to detection, and from effect to confirmation."""
    job = smallest_job(client)
    async with (
        open_aws(job.aws, timeout_s=30, connections=CONCURRENCY) as session,
        open_clients(job.aws, session) as clients,
    ):
        store = await open_store(job, clients)
        detector, _ = await open_detector(job, clients, bucket_region=store.region)

        async def copy(image: ObjectRef) -> None:
            await store.sink.perform(Effect(kind=ActionKind.COPY, source=image, target=S3Location(CLEAN, image.key)))

        yield Client(detector.detect, copy)


def smallest_job(client: str) -> Job:
    """The smallest job for which detector and sink can be opened."""
    job = {"version": 1, "name": "bench", "source": f"s3://{RAW}/", "otherwise": "reject", "aws": {"client": client}}
    return parse_job({**job, "rules": [{"keep": {"any": "Jay"}}]}, base_dir=Path())


async def cpu_ms_per_call(call: Call, images: Sequence[ObjectRef]) -> float:
    """User and system time of this process per image, while a fixed pool makes one call for each image."""
    waiting = iter(images)

    async def worker() -> None:
        for image in waiting:
            await call(image)

    started = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(worker)
    return (time.process_time() - started) * 1000 / len(images)


async def compare(calls: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds per call of every round, by call and client, without a warm-up round."""
    keys = SyntheticKeys(calls, PATTERN)
    images = [
        ObjectRef(bucket=RAW, key=key, size_bytes=1, etag=synthetic_etag(at), seq=at + 1) for at, key in enumerate(keys)
    ]
    async with as_it_comes() as plain, ours("aioboto3") as fallback, ours("fast") as fast:
        clients = {"aioboto3": plain, "fallback": fallback, "ours": fast}
        seen: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in clients} for kind in ("detect", "copy")}
        for number in range(rounds + 1):
            for kind, times in seen.items():
                for name, client in clients.items():
                    calls_of = images if number else images[: CONCURRENCY * 2]
                    cpu_ms = await cpu_ms_per_call(getattr(client, kind), calls_of)
                    times[name] += [cpu_ms] * bool(number)
    return seen


def measure(bench: Bench) -> dict[str, Any]:
    """Medians of the processor time of one call, in milliseconds, and the ratios of aioboto3's to them."""
    calls, rounds = bench.sizes.calls, bench.sizes.rounds
    with bench.sandbox(calls, check_images=False) as sandbox:
        seen = bench.module(__name__, calls, rounds, sandbox=sandbox)
    figures: dict[str, Any] = {"calls": calls, "rounds": rounds}
    for kind, times in seen.items():
        cpu_ms = {name: round(statistics.median(some), 4) for name, some in times.items()}
        less = {name: round(cpu_ms["aioboto3"] / value, 2) for name, value in cpu_ms.items()}
        figures[kind] = {"cpu_ms": cpu_ms, "times_less": less, "rounds_cpu_ms": times}
    return figures


if __name__ == "__main__":
    print(json.dumps(anyio.run(compare, int(sys.argv[1]), int(sys.argv[2]))))
