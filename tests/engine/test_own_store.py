"""Whole runs over a store that the caller provides: ``source: own:NAME``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

import asyncfilter
from asyncfilter.errors import CheckpointMismatchError, UsageError
from asyncfilter.job import Job
from asyncfilter.model import S3Location, StopReason
from asyncfilter.policy.removal_plan import Consent
from asyncfilter.testing import (
    LoopClock,
    MemoryCheckpoint,
    MemorySource,
    MemoryStore,
    RecordingSink,
    ScriptedDetector,
    run_virtually,
)
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, undo
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.bench import bench
from asyncfilter.wiring.plan import plan
from asyncfilter.wiring.refilter import refilter
from asyncfilter.wiring.run import run
from tests.kit.jobs import make_bare_job

LABELS = {"a.jpg": "Robin", "b.jpg": "Cat", "c.jpg": "Robin", "d.jpg": "Cat"}


def make_job(folder: Path, **changes: Any) -> Job:
    """Robins are copied to another store of the caller's."""
    own = {"source": "own:photos", "actions": {"keep": {"copy": "own:robins/{key}"}}}
    return make_bare_job(base_dir=folder, **own | changes)


def whole() -> Overrides:
    """A store in memory, with everything that a job over it needs."""
    store = MemoryStore("own:photos")
    for key in LABELS:
        store.put(key, key.encode())
    detector = ScriptedDetector({key: [(label, 90.0)] for key, label in LABELS.items()})
    return Overrides(source=store, detector=detector, sink=store, remover=store)


def go(verb: Callable[[], Awaitable[Any]]) -> Any:
    """One process of the job."""
    return anyio.run(verb)


def test_a_run_over_a_store_of_ones_own_resumes_and_refilters(tmp_path: Path) -> None:
    """Labels are kept in the checkpoint file, nothing is examined twice, and changed rules are free."""
    source = MemorySource.of_keys(LABELS)
    sink = RecordingSink(source)
    detector = ScriptedDetector({key: [(label, 90.0)] for key, label in LABELS.items()})
    ports = Overrides(source=source, detector=detector, sink=sink)
    job = make_job(tmp_path)
    summary = go(lambda: run(job, overrides=ports))
    assert (summary.stop_reason, summary.counts.keep, summary.counts.copied) == (StopReason.COMPLETED, 2, 2)
    assert set(sink.written) == {S3Location("own:robins", "a.jpg"), S3Location("own:robins", "c.jpg")}
    assert {image.uri for image in sink.written.values()} == {"own:photos/a.jpg", "own:photos/c.jpg"}
    changed = make_job(tmp_path, rules=[{"keep": {"any": "Cat"}}])
    assert go(lambda: refilter(changed, overrides=ports)).counts.keep == 2
    assert go(lambda: run(changed, overrides=ports)).counts.keep == 2
    assert set(detector.attempts.values()) == {1}
    with pytest.raises(CheckpointMismatchError, match=r"source\.uri"):
        go(lambda: run(make_job(tmp_path, source="own:others"), overrides=ports))


def test_own_images_leave_their_store_and_come_back(tmp_path: Path) -> None:
    """``apply`` moves within the caller's stores, ``undo`` restores; both use the caller's remover."""
    job = make_job(tmp_path, actions={"reject": {"move": "own:photos-out/{key}"}})
    ports = whole()
    store = ports.remover
    assert isinstance(store, MemoryStore)
    go(lambda: run(job, overrides=ports))
    planned = go(lambda: plan_apply(job, overrides=ports))
    assert (planned.images, planned.source) == (2, "own:photos/")
    moved = go(lambda: apply(job, Consent(images=2), overrides=ports))
    assert (moved.moved, moved.failed) == (2, {})
    assert [location.uri for _, location in store.copies] == ["own:photos-out/b.jpg", "own:photos-out/d.jpg"]
    assert go(lambda: plan_undo(job, overrides=ports)).images == 2
    assert go(lambda: undo(job, Consent(images=2), overrides=ports)).restored == 2


def test_plan_and_bench_take_a_store_of_ones_own(tmp_path: Path) -> None:
    """``plan`` and ``bench`` need the same ports as the run."""
    job = make_job(tmp_path, limits={"tps": 5}, actions={})
    ports = msgspec.structs.replace(whole(), clock=LoopClock(), checkpoint=MemoryCheckpoint())
    assert run_virtually(lambda: plan(job, sample=2, overrides=ports)).plan_inputs.survey.candidates == 4
    ports = msgspec.structs.replace(whole(), clock=LoopClock(), checkpoint=MemoryCheckpoint())
    assert run_virtually(lambda: bench(job, seconds_s=2, overrides=ports)).summary.counts.failed == {}


@pytest.mark.parametrize("missing", ["source", "detector", "sink"])
@pytest.mark.parametrize("verb", [run, plan, bench])
def test_a_missing_port_is_named_before_anything_happens(tmp_path: Path, verb: Any, missing: str) -> None:
    """No checkpoint is made, and no request goes to AWS."""
    ports = msgspec.structs.replace(whole(), **{missing: None})
    with pytest.raises(UsageError, match=rf"own:photos/ is in a store of your own.*no {missing} given") as caught:
        go(lambda: verb(make_job(tmp_path), overrides=ports))
    assert f"Overrides({missing}=" in (caught.value.hint or "")
    assert not list(tmp_path.iterdir())


def test_a_refused_fresh_run_leaves_the_checkpoint_where_it_is(tmp_path: Path) -> None:
    """``fresh`` archives the old checkpoint only after all ports of the job were found."""
    job = make_job(tmp_path)
    job.checkpoint.parent.mkdir()
    job.checkpoint.write_bytes(b"paid for")
    with pytest.raises(UsageError):
        go(lambda: run(job, fresh=True))
    assert [path.read_bytes() for path in job.checkpoint.parent.iterdir()] == [b"paid for"]


def test_a_target_of_ones_own_needs_a_sink(tmp_path: Path) -> None:
    """The source may be in S3 or a folder while copies go to the caller's store."""
    job = make_job(tmp_path, source="s3://photos")
    for verb in (run, refilter):
        with pytest.raises(UsageError, match=r"own:robins/\{key\} is in a store of your own.*no sink given"):
            go(lambda verb=verb: verb(job))  # type: ignore[misc]  # bound now
    for removal in (plan_apply, plan_undo):
        with pytest.raises(UsageError, match="no remover given"):
            go(lambda removal=removal: removal(job))  # type: ignore[misc]  # bound now
    duplicates = make_job(tmp_path, source="s3://photos", actions={"duplicate": {"copy": "own:twice/{key}"}})
    with pytest.raises(UsageError, match=r"own:twice/\{key\} is in a store of your own"):
        go(lambda: run(duplicates))


def test_a_job_over_s3_takes_a_sink_of_ones_own(tmp_path: Path) -> None:
    """With a target in the caller's store and all ports given, no request goes to AWS."""
    job = make_job(tmp_path, source="s3://photos")
    store = MemoryStore("photos")
    store.put("a.jpg", b"a")
    sink = RecordingSink()
    ports = asyncfilter.Overrides(source=store, detector=ScriptedDetector({"a.jpg": [("Robin", 90.0)]}), sink=sink)
    assert go(lambda: run(job, overrides=ports)).counts.copied == 1
    assert set(sink.written) == {S3Location("own:robins", "a.jpg")}
