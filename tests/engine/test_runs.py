"""Whole runs on ports in memory, in virtual time: guarantees beyond the verdicts themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Interrupt, Job
from asyncfilter.errors import (
    AbortedError,
    CheckpointError,
    ImageError,
    PermissionDeniedError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.events import ActionDone, ImageExamined, RateChanged, RulesApplied
from asyncfilter.model import ListedObject, Progress, StopReason
from asyncfilter.records.progress import Batch
from asyncfilter.testing import BROKEN, LoopClock, MemoryCheckpoint, Stage, run_virtually
from tests.kit.jobs import PRICE_MICROS, make_job
from tests.kit.labels import birds

# -- Paid once ---------------------------------------------------------------------------------------------------------


def test_second_run_makes_no_call() -> None:
    """A run over a finished checkpoint lists, finds nothing new, and pays nothing."""
    stage = Stage(birds(100))
    first = stage.run(make_job())
    again = stage.run(make_job())
    assert sum(stage.detector.attempts.values()) == 100
    assert again.this_run.calls == 0
    assert again.this_run.examined == 0
    assert again.resumed
    assert (again.counts.listed, again.counts.examined) == (100, 100)
    assert again.counts.keep == first.counts.keep == again.counts.copied
    assert again.stop_reason is StopReason.COMPLETED


def test_new_and_changed_objects_follow_the_known_ones() -> None:
    """Objects added or replaced since the last run are examined once each; all others are not."""
    stage = Stage(birds(10))
    stage.run(make_job())
    stage.labels |= {"00001.jpg": "Robin", "00000a.jpg": "Robin"}
    stage.detector.learn({"00001.jpg": [("Robin", 99.0)], "00000a.jpg": [("Robin", 99.0)]})
    stage.source.put(ListedObject("00001.jpg", 1000, "another-etag"))
    stage.source.put(ListedObject("00000a.jpg", 1000, "etag-a"))
    summary = stage.run(make_job())
    assert summary.this_run.calls == 2
    assert stage.detector.attempts["00001.jpg"] == 2
    assert summary.counts.examined == 11
    assert summary.counts.keep == 6
    order = [row.key for row in sorted(stage.checkpoint.images, key=lambda row: row.seq or 0) if row.seq]
    assert order[-2:] == ["00000a.jpg", "00001.jpg"]


def test_stop_rule_that_holds_returns_at_once_and_can_be_raised() -> None:
    """A stopped job run again makes no call; with a higher limit it resumes at its stop, and overshoot is free."""
    stage = Stage(birds(300))
    job = make_job(stop={"matches": 20}, limits={"tps": 2000, "concurrency": 50})
    first = stage.run(job)
    calls = sum(stage.detector.attempts.values())
    assert first.counts.examined == 58
    assert first.counts.overshoot == calls - 58 > 0
    assert stage.run(job).this_run.calls == 0
    raised = stage.run(make_job(stop={"matches": 40}, limits={"tps": 2000, "concurrency": 1}))
    assert raised.counts.examined == 118
    assert raised.counts.from_checkpoint == first.counts.overshoot
    assert set(stage.detector.attempts.values()) == {1}
    assert stage.copied() == [key for key in stage.labels if stage.labels[key] == "Robin"][:40]


def test_dry_run_pays_keeps_labels_and_writes_nothing() -> None:
    """After a dry run the real one copies everything and pays nothing."""
    stage = Stage(birds(60))
    dry = stage.run(make_job(), dry_run=True)
    assert stage.sink.performed == []
    assert (dry.counts.keep, dry.counts.copied, dry.this_run.calls) == (20, 0, 60)
    real = stage.run(make_job())
    assert (real.this_run.calls, real.counts.copied, real.counts.examined) == (0, 20, 60)
    assert set(stage.detector.attempts.values()) == {1}


def test_cap_on_images_is_never_overshot() -> None:
    """No image beyond the cap is paid for, at any concurrency, also after a dry run."""
    stage = Stage(birds(100))
    job = make_job(limits={"tps": 2000, "concurrency": 50, "max_images": 20})
    stage.run(job, dry_run=True)
    summary = stage.run(job)
    assert (summary.stop_reason, summary.counts.examined, summary.counts.overshoot) == ("max_images", 20, 0)
    assert sum(stage.detector.attempts.values()) == 20


# -- Budget ------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    budget_calls=st.integers(0, 60),
    concurrency=st.sampled_from([1, 50, 400]),
    seed=st.integers(0, 500),
    crash_times_s=st.lists(st.floats(0.01, 4.0), max_size=5),
)
def test_budget_is_a_ceiling(budget_calls: int, concurrency: int, seed: int, crash_times_s: list[float]) -> None:
    """Attempts that were or may have been billed never cost more than the budget, through time-outs and crashes."""
    labels = birds(80)
    billed = Counter[str]()

    def fault(key: str, attempt: int) -> Exception | None:
        error = faults(key, attempt)
        if not isinstance(error, ThrottledError):
            billed[key] += 1
        return error

    stage = Stage(labels, seed=seed, fault_rate=0.3, fault=fault)
    faults = stage.seeded
    limits = {"tps": 2000, "concurrency": concurrency, "budget_usd": budget_calls * PRICE_MICROS / 1_000_000}
    job = make_job(limits=limits)
    for at_s in crash_times_s:
        stage.run_and_die(job, at_s)
    summary = stage.run(job)
    assert sum(billed.values()) <= budget_calls
    assert summary.counts.spent_micros <= budget_calls * PRICE_MICROS
    assert summary.counts.spent_micros >= sum(billed.values()) * PRICE_MICROS
    assert summary.stop_reason in {StopReason.BUDGET, StopReason.COMPLETED}


def test_budget_stop_is_a_prefix_and_goes_on_when_raised() -> None:
    """The budget covers the first images in order; a run with a higher one continues behind them."""
    stage = Stage(birds(50))
    first = stage.run(make_job(limits={"tps": 2000, "budget_usd": 0.02}))
    assert first.stop_reason is StopReason.BUDGET
    assert first.exit_code == 0
    assert sorted(stage.verdicts()) == sorted(stage.labels)[:20]
    second = stage.run(make_job(limits={"tps": 2000, "budget_usd": 0.05}))
    assert second.stop_reason is StopReason.COMPLETED
    assert second.counts.spent_micros == 50_000
    assert set(stage.detector.attempts.values()) == {1}


# -- Faults ------------------------------------------------------------------------------------------------------------


def test_throttles_do_not_count_as_attempts_but_time_outs_do() -> None:
    """An image throttled more often than ``max_attempts`` is examined; one that times out so often has failed."""

    def fault(key: str, attempt: int) -> Exception | None:
        if key == "00001.jpg" and attempt <= 12:
            return ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)
        return TransientError("timed out", may_be_billed=True) if key == "00002.jpg" else None

    stage = Stage(birds(4), fault=fault)
    summary = stage.run(make_job(limits={"tps": 100, "max_attempts": 3}))
    assert stage.verdicts().keys() == {"00000.jpg", "00001.jpg", "00003.jpg"}
    assert summary.counts.failed == {"unavailable": 1}
    assert stage.detector.attempts["00002.jpg"] == 3
    assert summary.counts.throttled == 12
    assert summary.counts.billed_calls == 3 + 3
    assert summary.exit_code == 1
    assert any(isinstance(event, RateChanged) for event in stage.events)


def test_account_error_stops_the_run_and_keeps_what_was_paid() -> None:
    """A denied permission is an error of the account: the run stops, no image is failed, nothing is lost."""
    denied = PermissionDeniedError("not authorized to perform: rekognition:DetectLabels", hint="Allow it.")
    stage = Stage(birds(40), fault=lambda key, _attempt: denied if key == "00020.jpg" else None)
    summary = stage.run(make_job(limits={"tps": 2000, "concurrency": 5}))
    assert summary.stop_reason is StopReason.FAILED
    assert (summary.exit_code, summary.hint) == (4, "Allow it.")
    assert summary.counts.failed == {}
    assert len([row for row in stage.checkpoint.images if row.detection]) == summary.counts.calls - 1


def test_cause_shared_by_every_image_trips_the_breaker() -> None:
    """Twenty failures of one cause in a row end the run with that cause."""
    kms = ImageError("kms:Decrypt is denied", code="kms_denied", remedy="Allow kms:Decrypt.", access=True)
    stage = Stage(birds(200), fault=lambda _key, _attempt: kms)
    summary = stage.run(make_job(limits={"tps": 2000, "concurrency": 1}))
    assert summary.stop_reason is StopReason.ERRORS
    assert (summary.exit_code, summary.counts.failed, summary.hint) == (4, {"kms_denied": 20}, "Allow kms:Decrypt.")


def test_failures_between_successes_never_trip_the_breaker() -> None:
    """A run continues with any number of failed images while others succeed."""
    labels = {f"{index:05d}.jpg": BROKEN if index % 2 else "Robin" for index in range(200)}
    summary = Stage(labels).run(make_job(limits={"tps": 2000, "concurrency": 1}))
    assert summary.stop_reason is StopReason.COMPLETED
    assert (summary.counts.keep, summary.counts.failed) == (100, {"invalid_image_format": 100})


def test_throttled_without_a_break_ends_after_ten_minutes() -> None:
    """A service that throttles every attempt ends the run after a limited time."""
    throttled = ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)
    stage = Stage(birds(30), fault=lambda _key, _attempt: throttled)
    summary = stage.run(make_job())
    assert summary.stop_reason is StopReason.ERRORS
    assert 600 <= summary.wall_s < 700
    assert summary.counts.spent_micros == 0


class JumpingClock(LoopClock):
    """Virtual time that also jumps, as while a process is stopped."""

    still_s = 0.0

    def monotonic(self) -> float:
        """See ``Clock``."""
        return super().monotonic() + self.still_s


@pytest.mark.parametrize("still_s", [30.0, 601.0, 86_400.0])
def test_a_process_that_stood_still_was_not_throttled_meanwhile(still_s: float) -> None:
    """A stop of any length in the middle of throttling ends no run."""
    clock = JumpingClock()

    def fault(_key: str, attempt: int) -> Exception | None:
        if attempt == 2 and not clock.still_s:
            clock.still_s = still_s
        return ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE) if attempt <= 3 else None

    stage = Stage(birds(30), fault=fault)
    stage.clock = clock
    summary = stage.run(make_job(limits={"tps": 2000, "concurrency": 1}))
    assert (summary.stop_reason, summary.counts.examined) == (StopReason.COMPLETED, 30)


def test_object_replaced_before_its_copy_is_not_copied() -> None:
    """The copied bytes are the examined ones, or nothing is copied and the next run examines the object again."""

    def replace_or_fail(key: str, attempt: int) -> Exception | None:
        if key == "b.jpg" and attempt == 1:
            stage.source.put(ListedObject("b.jpg", 1000, "other"))
        if key == "c.jpg":
            stage.source.remove("c.jpg")
        return None

    stage = Stage({"a.jpg": "Robin", "b.jpg": "Robin", "c.jpg": "Robin"}, sink_fault=replace_or_fail)
    first = stage.run(make_job())
    assert first.counts.failed == {"changed": 1, "vanished": 1}
    assert (first.counts.keep, first.exit_code) == (1, 1)
    assert stage.copied() == ["a.jpg"]
    again = stage.run(make_job())
    assert stage.copied() == ["a.jpg", "b.jpg"]
    assert again.counts.failed == {"vanished": 1}


def test_released_copies_outlive_an_ordinary_stop() -> None:
    """The copy of the last match is made although the run stops there and S3 fails transiently."""

    def fault(_key: str, attempt: int) -> Exception | None:
        return TransientError("503", may_be_billed=False) if attempt <= 2 else None

    stage = Stage(birds(100), sink_fault=fault)
    summary = stage.run(make_job(stop={"matches": 5}))
    assert (summary.counts.keep, summary.counts.copied, summary.stop_reason) == (5, 5, StopReason.MATCHES)


# -- Failed images -----------------------------------------------------------------------------------------------------


def test_failed_images_are_retried_only_when_asked() -> None:
    """A failed image stays failed, without a call, until ``retry_failed``, which places it anew."""
    healed: set[str] = set()

    def fault(key: str, _attempt: int) -> Exception | None:
        bad = key in {"00003.jpg", "00004.jpg"} and key not in healed
        return ImageError("unreadable", code="invalid_image_format") if bad else None

    stage = Stage(birds(10), fault=fault)
    assert stage.run(make_job()).counts.failed == {"invalid_image_format": 2}
    healed.add("00003.jpg")
    assert stage.run(make_job()).this_run.calls == 0
    summary = stage.run(make_job(), retry_failed=True)
    assert summary.this_run.calls == 2
    assert summary.counts.failed == {"invalid_image_format": 1}
    assert (summary.counts.examined, summary.counts.keep, summary.counts.copied) == (10, 4, 4)


def test_failed_copy_is_retried_without_paying_again() -> None:
    """An image whose copy failed has stored labels: a retry copies it without a call."""
    broken = {"00003.jpg"}

    def fault(key: str, _attempt: int) -> Exception | None:
        return ImageError("archived", code="archived") if key in broken else None

    stage = Stage(birds(10), sink_fault=fault)
    first = stage.run(make_job())
    assert (first.counts.failed, first.counts.keep, first.counts.copied) == ({"archived": 1}, 3, 3)
    broken.clear()
    second = stage.run(make_job(), retry_failed=True)
    assert second.this_run.calls == 0
    assert (second.counts.failed, second.counts.keep, second.counts.copied) == ({}, 4, 4)


# -- Decisions made anew -----------------------------------------------------------------------------------------------


def test_changed_rules_are_applied_to_stored_labels() -> None:
    """New rules decide all images again at no cost: new keeps are copied, copies no longer wanted count as stale."""
    stage = Stage(birds(30))
    stage.run(make_job())
    summary = stage.refilter(make_job(rules=[{"keep": {"any": "Cat"}}]))
    assert sum(stage.detector.attempts.values()) == 30
    assert (summary.counts.keep, summary.counts.reject, summary.counts.stale) == (20, 10, 10)
    assert Counter(stage.copied()).most_common(1)[0][1] == 1
    assert len(stage.copied()) == 30
    reported = [event for event in stage.events if isinstance(event, RulesApplied)]
    assert (reported[-1].images, reported[-1].actions, reported[-1].stale, reported[-1].dropped) == (30, 20, 10, 0)
    assert [(change.before, change.after, change.images) for change in reported[-1].changes] == [
        ("keep", "reject", 10),
        ("reject", "keep", 20),
    ]
    first_copy = next(
        index
        for index, event in enumerate(stage.events)
        if isinstance(event, ActionDone) and stage.labels[event.key] == "Cat"
    )
    assert stage.events.index(reported[-1]) < first_copy
    assert stage.run(make_job(rules=[{"keep": {"any": "Cat"}}])).this_run.calls == 0


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(1, 60),
    first=st.integers(1, 12),
    second=st.integers(1, 12),
    wanted=st.sampled_from(["Robin", "Cat"]),
    crash_times_s=st.lists(st.floats(0.01, 2.0), max_size=3),
)
def test_changed_job_gives_the_answer_of_a_new_one(
    number: int, first: int, second: int, wanted: str, crash_times_s: list[float]
) -> None:
    """Rules and stop rules changed on a checkpoint end where the changed job would have ended on an empty one."""
    changed = make_job(rules=[{"keep": {"any": wanted}}], stop={"matches": second})
    stage = Stage(birds(number))
    stage.run(make_job(stop={"matches": first}))
    for at_s in crash_times_s:
        stage.run_and_die(changed, at_s)
    summary = stage.run(changed)
    anew = Stage(birds(number))
    expected = anew.run(changed)
    assert stage.verdicts() == anew.verdicts()
    assert summary.stop_reason == expected.stop_reason
    assert (summary.counts.examined, summary.counts.keep) == (expected.counts.examined, expected.counts.keep)
    assert set(anew.copied()) <= set(stage.copied())


def test_refilter_cannot_pay() -> None:
    """A refilter covers the stored images only; images never examined stay so."""
    stage = Stage(birds(50))
    stage.run(make_job(limits={"tps": 2000, "max_images": 10}))
    summary = stage.refilter(make_job(rules=[{"keep": {"any": "Cat"}}]))
    assert sum(stage.detector.attempts.values()) <= 50
    assert summary.counts.examined == 10
    assert summary.this_run.calls == 0


def test_counting_ahead_reports_the_number_of_images() -> None:
    """The expected number is emitted early, is right, and includes the images examined in earlier runs."""
    stage = Stage(birds(400))
    stage.run(make_job(limits={"tps": 2000, "max_images": 50}))
    seen: list[int | None] = []
    running: list[Callable[[], Progress]] = []
    stage.events = _HeardList(lambda _event: seen.append(running[0]().expected))
    summary = stage.run(make_job(), counts_ahead=True, on_start=running.append)
    assert summary.counts.examined == 400
    assert set(seen) <= {None, 400}
    assert seen.count(400) > 300


# -- Targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 100])
def test_two_sources_of_one_target_never_overwrite_each_other(concurrency: int) -> None:
    """The first image in order gets the target, the second fails, also in a later run."""
    labels = {f"{folder}/same.jpg": "Robin" for folder in "abc"} | {"a/own.jpg": "Robin"}
    job = make_job(
        actions={"keep": {"copy": "s3://clean/{basename}"}}, limits={"tps": 2000, "concurrency": concurrency}
    )
    stage = Stage(labels)
    summary = stage.run(job)
    assert stage.copied() == ["a/own.jpg", "a/same.jpg"]
    assert summary.counts.failed == {"target_collision": 2}
    stage.source.put(ListedObject("0/same.jpg", 1000, "new"))
    stage.detector.learn({"0/same.jpg": [("Robin", 90.0)]})
    assert stage.run(job).counts.failed == {"target_collision": 3}


# -- Interrupts --------------------------------------------------------------------------------------------------------


def interrupting(stage: Stage, job: Job, *at_s: float) -> Any:
    """Run ``job`` and interrupt it at these virtual seconds."""

    async def main() -> Any:
        interrupt = Interrupt()

        async def press() -> None:
            for moment_s in at_s:
                await anyio.sleep(moment_s - anyio.current_time())
                interrupt.request()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(press)
            summary = await stage.live(job, interrupt=interrupt)
            tasks.cancel_scope.cancel()
        return summary

    try:
        return run_virtually(main)
    finally:
        stage.checkpoint = stage.checkpoint.reopen()


def test_interrupt_drains_and_the_same_command_goes_on() -> None:
    """One interrupt: calls in flight finish and are kept, no new call is made, exit 75; then the run is resumed."""
    stage = Stage(birds(500))
    summary = interrupting(stage, make_job(), 3.0)
    calls = sum(stage.detector.attempts.values())
    assert summary.stop_reason is StopReason.INTERRUPTED
    assert summary.exit_code == 75
    assert 0 < calls < 500
    assert len([row for row in stage.checkpoint.images if row.detection]) == calls
    final = stage.run(make_job())
    assert set(stage.detector.attempts.values()) == {1}
    assert final.counts.examined == 500
    assert len(stage.copied()) == len(set(stage.copied())) == 167


def test_second_interrupt_aborts_and_counts_what_was_in_flight() -> None:
    """Two interrupts: the run ends at once; calls that may have been billed are counted."""
    stage = Stage(birds(500))
    stage.latency_s = dict.fromkeys(stage.labels, 10.0)
    with pytest.raises(BaseExceptionGroup) as caught:
        interrupting(stage, make_job(), 3.0, 3.1)
    assert caught.group_contains(AbortedError)
    sent = sum(stage.detector.attempts.values())
    assert stage.run(make_job(limits={"tps": 2000, "budget_usd": 0})).counts.spent_micros >= sent * PRICE_MICROS


def test_listener_that_fails_ends_the_run_in_order() -> None:
    """An exception of a listener is reported as the listener's, and what was paid for is kept."""
    stage = Stage(birds(100))

    def listen(event: object) -> None:
        if isinstance(event, ImageExamined) and event.seq == 10:
            raise OSError("no space left")

    stage.events = _HeardList(listen)
    summary = stage.run(make_job(limits={"tps": 2000, "concurrency": 10}))
    assert (summary.stop_reason, summary.exit_code) == (StopReason.FAILED, 70)
    assert summary.error == "a listener to events raised OSError: no space left"
    assert len([row for row in stage.checkpoint.images if row.detection]) == sum(stage.detector.attempts.values())


class _HeardList(list[Any]):
    """A list that calls a listener with each event appended."""

    def __init__(self, listen: Callable[[object], None]) -> None:
        super().__init__()
        self._listen = listen

    def append(self, event: object) -> None:
        """Append the event, then call the listener with it."""
        super().append(event)
        self._listen(event)


class FailingCheckpoint(MemoryCheckpoint):
    """A disk that is full from the third commit on."""

    commits = 0

    async def commit(self, batch: Batch) -> None:
        """Fail from the third time on."""
        self.commits += 1
        if self.commits > 3:
            raise CheckpointError("the disk is full")
        await super().commit(batch)


def test_checkpoint_that_cannot_be_written_ends_the_run() -> None:
    """Nothing more is paid for once commits fail."""
    stage = Stage(birds(2000))
    stage.checkpoint = FailingCheckpoint()
    with pytest.raises(CheckpointError, match="disk is full"):
        stage.run(make_job())
    assert sum(stage.detector.attempts.values()) < 200
    assert {effect.source.key for effect in stage.sink.performed} <= {row.key for row in stage.checkpoint.images}


class SlowCheckpoint(MemoryCheckpoint):
    """A disk that takes a second to write."""

    async def commit(self, batch: Batch) -> None:
        """Write late."""
        await anyio.sleep(1)
        await super().commit(batch)


def test_actions_wait_until_labels_are_durable() -> None:
    """Nothing is copied because of labels that a crash could still lose."""
    early: list[str] = []

    def look(key: str, _attempt: int) -> None:
        durable = {row.key for row in stage.checkpoint.images if row.detection is not None}
        early.extend({key} - durable)

    stage = Stage(birds(30), sink_fault=look)
    stage.checkpoint = SlowCheckpoint()
    stage.run(make_job())
    assert len(stage.sink.performed) == 10
    assert early == []


# -- Counting ----------------------------------------------------------------------------------------------------------


def test_everything_listed_is_accounted_for() -> None:
    """Each object is examined or skipped for a reason, also after the last image, also when the run is repeated."""
    stage = Stage({"a.jpg": "Robin", "c.jpg": "Cat"})
    for listed in (
        ListedObject("b/", 0, "x"),
        ListedObject("b/notes.txt", 5, "x"),
        ListedObject("b/empty.jpg", 0, "x"),
        ListedObject("b/huge.jpg", 16 * 1024 * 1024, "x"),
        ListedObject("z/cold.jpg", 10, "x", "DEEP_ARCHIVE"),
        ListedObject("z/instant.txt", 10, "x", "GLACIER_IR"),
    ):
        stage.source.put(listed)
    expected = {"folder": 1, "not_included": 2, "empty": 1, "too_large": 1, "archived": 1}
    for _ in range(2):
        summary = stage.run(make_job())
        assert summary.counts.listed == 8
        assert summary.counts.skipped == expected
        assert summary.counts.examined == 2


@given(rates=st.sampled_from([1.0, 5.0, 50.0, 500.0]), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_rate_holds_in_every_second(rates: float, seed: int) -> None:
    """In any second, the first included, attempts stay within 105 % of the rate plus one; repetitions count."""
    stage = Stage(birds(int(rates * 4) + 10), seed=seed, fault_rate=0.1)
    sent: list[float] = []
    look: Mapping[str, float] = stage.latency_s

    def note(key: str) -> float:
        sent.append(anyio.current_time())
        return look[key]

    stage.detector.delay_s = note
    stage.run(make_job(limits={"tps": rates}))
    for index, start_s in enumerate(sent):
        within = sum(1 for moment_s in sent[index : index + int(rates * 1.2) + 3] if moment_s < start_s + 1.0)
        assert within <= 1.05 * rates + 1
