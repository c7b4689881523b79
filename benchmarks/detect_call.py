"""CPU time of the client for one DetectLabels call: aioboto3 as it comes, our aioboto3 fallback, our fast client.

The sandbox answers from a process of its own, so that only the client's CPU time is counted. Rounds of the three are
interleaved and the median is taken. Prints JSON: milliseconds of user and system time a call, and the ratios.

    python benchmarks/detect_call.py [calls a round] [rounds]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aioboto3
import anyio
from aiobotocore.config import AioConfig

from asyncfilter.aws import open_aws, open_ports
from asyncfilter.job.spec import (
    Aws,
    ClientKind,
    DetectorSpec,
    Job,
    Limits,
    Pricing,
    SourceSpec,
    Stop,
)
from asyncfilter.model import ObjectRef, Verdict
from asyncfilter.sandbox import SandboxOptions, SandboxProcess, SyntheticSpec

BUCKET = "bench-images"
PATTERN = "raw/jay/{n}.jpg"
CONCURRENCY = 50
Detect = Callable[[ObjectRef], Awaitable[object]]


def job(client: ClientKind) -> Job:
    """The smallest job that has ports."""
    return Job(
        name="bench",
        path=None,
        source=SourceSpec(bucket=BUCKET),
        detector=DetectorSpec(),
        rules=(),
        otherwise=Verdict.REJECT,
        actions={},
        limits=Limits(),
        stop=Stop(),
        checkpoint=Path("unused.db"),
        pricing=Pricing(),
        aws=Aws(client=client),
    )


@asynccontextmanager
async def as_it_comes() -> AsyncIterator[Detect]:
    """aioboto3's own client; only its pool is widened."""
    config = AioConfig(max_pool_connections=CONCURRENCY)
    async with aioboto3.Session().client("rekognition", config=config) as client:

        async def detect(image: ObjectRef) -> object:
            place = {"S3Object": {"Bucket": image.bucket, "Name": image.key}}
            return await client.detect_labels(Image=place, MaxLabels=1000, MinConfidence=0)

        yield detect


@asynccontextmanager
async def ours(client: ClientKind) -> AsyncIterator[Detect]:
    """Our detector over one of its clients, from reference to detection."""
    async with (
        open_aws(Aws(client=client), timeout_s=30, connections=CONCURRENCY) as session,
        open_ports(job(client), session) as ports,
    ):
        yield ports.detector.detect


async def cpu_ms_per_call(detect: Detect, images: Sequence[ObjectRef]) -> float:
    """User and system time of this process while ``images`` are detected by a fixed pool, per image."""
    waiting = iter(images)

    async def worker() -> None:
        for image in waiting:
            await detect(image)

    started = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(worker)
    return (time.process_time() - started) * 1000 / len(images)


async def measure(calls: int, rounds: int) -> dict[str, float]:
    """Medians over the rounds, by client."""
    async with as_it_comes() as plain, ours(ClientKind.AIOBOTO3) as fallback, ours(ClientKind.FAST) as fast:
        clients = {"aioboto3": plain, "fallback": fallback, "fast": fast}
        keys = [PATTERN.format(n=str(n).zfill(len(str(calls)))) for n in range(1, calls + 1)]
        images = [ObjectRef(bucket=BUCKET, key=key, size_bytes=1, etag="", seq=n) for n, key in enumerate(keys, 1)]
        seen: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(rounds + 1):
            for name, detect in clients.items():
                seen[name].append(await cpu_ms_per_call(detect, images))
    return {name: round(statistics.median(times[1:]), 4) for name, times in seen.items()}


@contextmanager
def sandbox_environment(calls: int) -> Iterator[None]:
    """A sandbox in a process of its own, and this process's AWS settings pointing at it."""
    options = SandboxOptions(synthetic=(SyntheticSpec(BUCKET, calls, PATTERN),), check_images=False, count_keys=False)
    with SandboxProcess(options) as sandbox:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ.update(sandbox.environment())
        yield


def main() -> None:
    """Measure and print."""
    calls, rounds = (int(arg) for arg in (*sys.argv[1:], *("1000", "5")[len(sys.argv) - 1 :]))
    with sandbox_environment(calls):
        cpu_ms = anyio.run(measure, calls, rounds)
    ratios = {name: round(cpu_ms["aioboto3"] / value, 2) for name, value in cpu_ms.items()}
    print(json.dumps({"cpu_ms_per_call": cpu_ms, "times_less": ratios, "calls": calls, "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main()
