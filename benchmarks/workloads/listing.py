"""Listing a bucket: our source compared with aioboto3's paginator.

The figures are the processor time of a thousand keys, and the longest time for which the event loop was blocked,
measured by a task that wakes up every millisecond. ``python -m benchmarks.workloads.listing ours|aioboto3`` lists
everything in this process and prints JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aioboto3
import anyio

from asyncfilter.aws import open_aws, open_clients, open_store
from asyncfilter.interpreter import spare_collections
from benchmarks.answers import RAW
from benchmarks.bench import Bench
from benchmarks.workloads.calls import smallest_job

_WAKE_S = 0.001


ListAll = Callable[[], Awaitable[int]]
"""Lists everything and returns the number of objects."""


@asynccontextmanager
async def ours() -> AsyncIterator[ListAll]:
    """Our source, with the garbage collector settings of the program."""
    spare_collections()
    job = smallest_job("fast")
    async with open_aws(job.aws, timeout_s=30, connections=10) as session, open_clients(job.aws, session) as clients:
        store = await open_store(job, clients)

        async def list_all() -> int:
            listed, page = 0, await store.source.page(None)
            while True:
                listed += len(page.objects)
                if page.is_last:
                    return listed
                page = await store.source.page(page.objects[-1].key)

        yield list_all


@asynccontextmanager
async def paginator() -> AsyncIterator[ListAll]:
    """aioboto3's paginator."""
    async with aioboto3.Session().client("s3") as s3:
        await s3.list_objects_v2(Bucket=RAW, MaxKeys=1)  # reads the endpoint rules before the measurement, as ours does

        async def list_all() -> int:
            listed = 0
            async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=RAW):
                for item in page.get("Contents", []):
                    listed += bool(item["Key"])
            return listed

        yield list_all


class StallMeter:
    """Wakes up every millisecond and records the longest delay, in wall time and in processor time of this thread."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest_cpu_s = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            at_s, at_cpu_s = time.perf_counter(), time.thread_time()
            await anyio.sleep(_WAKE_S)
            self.longest_s = max(self.longest_s, time.perf_counter() - at_s - _WAKE_S)
            self.longest_cpu_s = max(self.longest_cpu_s, time.thread_time() - at_cpu_s)


async def watched(name: str) -> dict[str, float]:
    """List everything with a client that is already open."""
    stalls = StallMeter()
    async with {"ours": ours, "aioboto3": paginator}[name]() as list_all, anyio.create_task_group() as tasks:
        tasks.start_soon(stalls.watch)
        started_s = time.process_time()
        keys = await list_all()
        cpu_s = time.process_time() - started_s
        tasks.cancel_scope.cancel()
    return {
        "keys": keys,
        "cpu_ms_per_page": cpu_s * 1e6 / keys,
        "stall_ms": stalls.longest_s * 1000,
        "stall_cpu_ms": stalls.longest_cpu_s * 1000,
    }


def measure(bench: Bench) -> dict[str, Any]:
    """Medians by client; a page is a thousand keys."""
    sizes = bench.sizes
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "aioboto3": []}
    with bench.sandbox(sizes.list_ours) as many, bench.sandbox(sizes.list_peer) as fewer:
        for _ in range(sizes.rounds):
            seen["ours"].append(bench.module(__name__, "ours", sandbox=many))
            seen["aioboto3"].append(bench.module(__name__, "aioboto3", sandbox=fewer))
    figures: dict[str, Any] = {
        name: {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
        for name, rounds in seen.items()
    }
    less = round(figures["aioboto3"]["cpu_ms_per_page"] / figures["ours"]["cpu_ms_per_page"], 2)
    return {"rounds": sizes.rounds, **figures, "ours_times_less": less}


if __name__ == "__main__":
    print(json.dumps(anyio.run(watched, sys.argv[1])))
