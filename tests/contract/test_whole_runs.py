"""Whole runs over the sandbox with both clients and the SQLite checkpoint: keys, budget and rate over HTTP."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import pytest

from asyncfilter import Summary, run
from asyncfilter.checkpoint import read_duplicates
from asyncfilter.datasets.exports.duplicates import DuplicateGroup, write_groups_csv
from asyncfilter.sandbox import BucketSpec, Fault, FaultKind, Latency, SandboxOptions, SyntheticSpec
from tests.kit import jobs
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.services import serving

make_job = partial(
    jobs.make_bare_job,
    rules=[{"keep": {"none": "Nothing"}}],
    actions={"keep": {"copy": "s3://clean/copies/{key}"}},
    limits={"tps": 500},
)
"""A job that keeps every image that could be examined."""


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
async def test_any_key_that_s3_allows_works(client: str, tmp_path: Path) -> None:
    """Each key is listed, examined, copied under its name, and not examined again; signatures are verified."""
    options = SandboxOptions(
        buckets=(BucketSpec("raw"), BucketSpec("clean")),
        check_images=False,
        verify_signatures=True,
        any_credentials=False,
    )
    source = {"uri": "s3://raw/", "include": "*"}
    job = make_job(base_dir=tmp_path, source=source, actions=jobs.COPIES, aws={"client": client})
    async with serving(options) as sandbox:
        for key in HOSTILE_KEYS:
            sandbox.put("raw", key, b"picture of " + key.encode())
        first: Summary = await run(job)
        again = await run(job)
        assert first.counts.failed == {}
        assert (first.counts.examined, first.counts.copied) == (len(HOSTILE_KEYS), len(HOSTILE_KEYS))
        assert again.this_run.calls == 0
        assert sorted(sandbox.keys("clean")) == sorted(HOSTILE_KEYS)
        for key in HOSTILE_KEYS:
            copied = sandbox.bucket("clean").get(key)
            assert copied is not None
            assert copied.body == b"picture of " + key.encode()


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
async def test_budget_holds_on_the_wire(client: str, tmp_path: Path) -> None:
    """With 400 in flight, time-outs, resets and 5xx, attempts that may have been billed stay within the budget."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 2000),),
        buckets=(BucketSpec("clean"),),
        latency=Latency(0.05, 0.4),
        faults=(
            Fault(FaultKind.TIMEOUT, rate=0.03),
            Fault(FaultKind.INTERNAL, rate=0.1),
            Fault(FaultKind.RESET, rate=0.05),
            Fault(FaultKind.CUT, rate=0.03),
            Fault(FaultKind.UNAVAILABLE, rate=0.03),
        ),
    )
    limits = {"tps": 2000, "concurrency": 400, "budget_usd": 0.3, "timeout_s": 1}
    async with serving(options) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, limits=limits, aws={"client": client}))
        stats = sandbox.stats().operations["DetectLabels"]
    assert summary.stop_reason == "budget"
    assert stats.billed_at_most <= 300
    assert stats.billed <= summary.counts.billed_calls <= 300
    assert summary.counts.spent_micros == summary.counts.billed_calls * 1000


async def test_rate_holds_on_the_wire(tmp_path: Path) -> None:
    """By the service's count, attempts with repetitions stay within 105 % of the rate plus one in any second."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 350),),
        buckets=(BucketSpec("clean"),),
        latency=Latency(0.05, 0.2),
        faults=(Fault(FaultKind.INTERNAL, rate=0.1),),
    )
    async with serving(options) as sandbox:
        await run(make_job(base_dir=tmp_path, limits={"tps": 80}))
        stats = sandbox.stats().operations["DetectLabels"]
    assert stats.attempts_per_1s_max <= 1.05 * 80 + 1


async def test_fresh_start_keeps_the_old_file(tmp_path: Path) -> None:
    """``fresh`` pays again and archives the whole former checkpoint."""
    options = SandboxOptions(synthetic=(SyntheticSpec("raw", 20),), buckets=(BucketSpec("clean"),))
    job = make_job(base_dir=tmp_path)
    async with serving(options):
        await run(job)
        before = job.checkpoint.read_bytes()
        summary = await run(job, fresh=True)
    archived = [path.read_bytes() for path in job.checkpoint.parent.iterdir() if path != job.checkpoint]
    assert (summary.counts.calls, summary.resumed) == (20, False)
    assert before in archived


async def test_equal_objects_are_paid_for_once_and_listed(tmp_path: Path) -> None:
    """Over S3 and SQLite: one call for equal bytes, each key copied, the group in the export."""
    options = SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("clean")), check_images=False)
    job = make_job(base_dir=tmp_path)
    async with serving(options) as sandbox:
        for key in ("a.jpg", "b/a.jpg", "c.jpg", "d.jpg"):
            sandbox.put("raw", key, b"same" if key != "c.jpg" else b"other")
        summary = await run(job)
        calls = sandbox.stats().operations["DetectLabels"].attempts
    assert (calls, summary.counts.calls, summary.counts.duplicates) == (2, 2, 2)
    assert (summary.counts.copied, summary.counts.saved_micros) == (4, 2000)
    groups = list(read_duplicates(job.checkpoint))
    assert [(size_bytes, keys) for _, size_bytes, keys in groups] == [(4, ["a.jpg", "b/a.jpg", "d.jpg"])]
    out = io.StringIO()
    assert (
        write_groups_csv([DuplicateGroup(etag=etag, size_bytes=size, keys=keys) for etag, size, keys in groups], out)
        == 1
    )
    assert out.getvalue().splitlines()[1:] == [f"1,{key},4,{groups[0][0]}" for key in groups[0][2]]
