"""Listing in ranges: keys a second at the latency of S3, for flat keys and for keys in folders.

``python -m benchmarks.workloads.ranges RANGES serial|stored|counted`` lists everything and prints JSON: page after
page, in ranges into a checkpoint and from there in order, or in ranges as ``plan`` counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio

from asyncfilter.aws import open_aws, open_clients, open_store
from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.examine.ranged_listing import RangedListing
from asyncfilter.engine.preview.survey import Surveyor, nothing_known
from asyncfilter.interpreter import spare_collections
from asyncfilter.policy.sampling import Ranking, Sampler
from asyncfilter.ports.examine import Source
from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from benchmarks.answers import RAW
from benchmarks.bench import Bench
from benchmarks.machine import pin
from benchmarks.workloads.calls import smallest_job

LATENCY = Latency(0.06, 0.06)
"""What a page of 1,000 keys takes at S3, about."""

RANGES = 8
PATTERNS = {"flat": "img-{n}.jpg", "folders": "raw/{class}/{n}.jpg"}


async def listed(ranges: int, how: str) -> dict[str, float]:
    """List everything; keys, and keys a second."""
    spare_collections()
    job = smallest_job("fast")
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_aws(job.aws, timeout_s=30, connections=64))
        clients = await stack.enter_async_context(open_clients(job.aws, session))
        source = (await open_store(job, clients)).source
        await source.page(None)  # connects, before the measurement
        started_s = time.perf_counter()
        count = {"serial": _serial, "stored": _stored, "counted": _counted}[how]
        keys = await count(source, ranges)
        return {"keys": keys, "keys_per_s": keys / (time.perf_counter() - started_s)}


async def _serial(source: Source, _ranges: int) -> int:
    return await _read(source)


async def _read(source: Source) -> int:
    keys, page = 0, await source.page(None)
    while True:
        keys += len(page.objects)
        if page.is_last:
            return keys
        page = await source.page(page.objects[-1].key)


async def _stored(source: Source, ranges: int) -> int:
    repeat = Repeater(max_attempts=8, pause=full_pause(SystemClock()), rng=Random())
    reader = ListingReader(source, repeat=repeat, where="the listing", hint="")
    with tempfile.TemporaryDirectory() as folder:
        opened = await open_checkpoint(Path(folder) / "listing.db", identity={}, name="listing")
        async with opened as store, anyio.create_task_group() as tasks:
            listing = RangedListing(reader, store, ranges=ranges, prefix="", rank=None, is_over=lambda: False)
            tasks.start_soon(listing.run)
            keys = await _read(listing)
    return keys


async def _counted(source: Source, ranges: int) -> int:
    surveyor = Surveyor(
        source=source,
        check=lambda _listed: None,
        known=nothing_known,
        max_attempts=8,
        clock=SystemClock(),
        sampler=Sampler(0, Ranking(0)),
        ranges=ranges,
    )
    return (await surveyor.run()).listed


def measure(bench: Bench) -> dict[str, Any]:
    """Keys a second by kind of keys, and how many times those of a serial listing; LIST requests for 1,000 keys."""
    return {"ranges": RANGES, "latency_s": LATENCY.p50_s, "keys": {name: _kind(bench, name) for name in PATTERNS}}


def _kind(bench: Bench, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    with _sandbox(bench, PATTERNS[name]) as sandbox:
        for how, ranges in (("serial", 1), ("stored", RANGES), ("counted", RANGES)):
            sandbox.control("POST", "reset-stats")
            ran = bench.module(__name__, ranges, how, sandbox=sandbox)
            found[how] = round(ran["keys_per_s"])
            requests = sandbox.stats().operations["ListObjectsV2"].attempts - 1
            found[f"{how}_requests"] = round(requests * 1000 / ran["keys"], 3)
    found["times"] = round(min(found["stored"], found["counted"]) / found["serial"], 2)
    return found


@contextmanager
def _sandbox(bench: Bench, pattern: str) -> Iterator[SandboxProcess]:
    options = SandboxOptions(
        synthetic=(SyntheticSpec(RAW, bench.sizes.ranged, pattern),), list_latency=LATENCY, count_keys=False
    )
    with SandboxProcess(options) as sandbox:
        pin(sandbox.pid, bench.cores.server)
        yield sandbox


if __name__ == "__main__":
    print(json.dumps(anyio.run(listed, int(sys.argv[1]), sys.argv[2])))
