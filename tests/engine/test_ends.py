"""The ends of a budget and of a stop: what is paid for and not used is what was in flight, whatever fails."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.errors import ImageError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.model import Detection, ListedObject, ObjectRef, StopReason, Summary
from asyncfilter.policy.budget import Budget
from asyncfilter.testing import BROKEN, Stage, run_virtually
from asyncfilter.testing.stage import SeededFaults
from tests.engine.test_same_answer import make_job as make_stop_job
from tests.engine.test_same_answer import one_by_one
from tests.kit.jobs import PRICE_MICROS, make_job
from tests.kit.labels import birds

Fault = Callable[[str, int], Exception | None]
TIMED_OUT = TransientError("timed out", may_be_billed=True)
INTERNAL = TransientError("500 InternalServerError", may_be_billed=True)
SLOW_DOWN = ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)


def budget_job(calls: int, *, concurrency: int = 200, **limits: Any) -> Job:
    """A job whose budget covers so many calls."""
    return make_job(
        limits={"tps": 2000, "concurrency": concurrency, "budget_usd": calls * PRICE_MICROS / 1_000_000, **limits}
    )


def failing(times: dict[str, int], error: Exception = TIMED_OUT) -> Fault:
    """The first so many attempts at these keys fail."""
    return lambda key, attempt: error if attempt <= times.get(key, 0) else None


# -- The end of a budget -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TIMED_OUT, INTERNAL, TransientError("reset", may_be_billed=True)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_budget_stop_strands_nothing(seed: int, error: Exception) -> None:
    """With one image in fifty billed twice, a budget of as many calls as images is used to its last calls."""
    labels = birds(400)
    stage = Stage(labels, seed=seed, fault=failing(dict.fromkeys(list(labels)[seed::50], 1), error))
    summary = stage.run(budget_job(400))
    assert summary.stop_reason is StopReason.BUDGET
    assert summary.counts.overshoot == 0
    assert summary.counts.billed_calls >= 399
    assert summary.counts.examined >= 391


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    calls=st.integers(1, 110),
    concurrency=st.sampled_from([1, 5, 40, 400]),
    seed=st.integers(0, 1000),
    times=st.dictionaries(st.integers(0, 79), st.sampled_from([1, 1, 1, 2, 3, 9]), max_size=40),
    death_s=st.none() | st.floats(0.01, 1.5),
)
def test_what_a_budget_stop_strands_was_repeated_more_than_once(
    calls: int, concurrency: int, seed: int, times: dict[int, int], death_s: float | None
) -> None:
    """At any budget, order of answers and death: the run ends, and strands images only behind one repeated twice."""
    labels = birds(80)
    keys = sorted(labels)
    stage = Stage(labels, seed=seed, fault=failing({keys[index]: count for index, count in times.items()}))
    job = budget_job(calls, concurrency=concurrency)
    died = death_s is not None and stage.run_and_die(job, death_s)
    summary = stage.run(job)
    assert summary.counts.spent_micros <= calls * PRICE_MICROS
    assert summary.stop_reason in {StopReason.BUDGET, StopReason.COMPLETED}
    positioned = sorted(row.key for row in stage.checkpoint.images if row.seq is not None)
    assert positioned == keys[: len(positioned)]
    if summary.counts.overshoot and not died:
        assert max(stage.detector.attempts.values()) > 2
    raised = stage.run(budget_job(1000, concurrency=concurrency))
    assert raised.stop_reason is StopReason.COMPLETED
    assert raised.counts.examined == 80


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    contents=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    calls=st.integers(1, 40),
    denied=st.sets(st.integers(0, 59), max_size=20),
    billed=st.dictionaries(st.integers(0, 59), st.sampled_from([1, 1, 2]), max_size=20),
    seed=st.integers(0, 1000),
)
def test_duplicates_of_failed_images_end_with_the_budget(
    contents: list[int], calls: int, denied: set[int], billed: dict[int, int], seed: int
) -> None:
    """An image that takes the place of its failed leader needs money too; the run ends within the budget."""
    keys = [f"{number:04d}.jpg" for number in range(len(contents))]

    def fault(key: str, attempt: int) -> Exception | None:
        number = int(key[:4])
        if attempt <= billed.get(number, 0):
            return TIMED_OUT
        return ImageError("denied", code="access_denied") if number in denied else None

    stage = Stage(dict.fromkeys(keys, "Robin"), seed=seed, fault=fault)
    for key, content in zip(keys, contents, strict=True):
        etag = hashlib.md5(str(content).encode()).hexdigest()
        stage.source.put(ListedObject(key, 1000 + content, etag))
    summary = stage.run(budget_job(calls))
    assert summary.counts.spent_micros <= calls * PRICE_MICROS
    assert summary.stop_reason in {StopReason.BUDGET, StopReason.COMPLETED, StopReason.ERRORS}
    if max(stage.detector.attempts.values()) <= 2 and summary.stop_reason is StopReason.BUDGET:
        assert summary.counts.overshoot == 0


@pytest.mark.parametrize("concurrency", [1, 3, 50])
@pytest.mark.parametrize("calls", [1, 2, 5, 40])
def test_without_faults_a_budget_is_used_to_its_last_call(calls: int, concurrency: int) -> None:
    """The money that is kept for repetitions is spent in the end."""
    stage = Stage(birds(60))
    summary = stage.run(budget_job(calls, concurrency=concurrency))
    assert (summary.counts.examined, summary.counts.overshoot, summary.stop_reason) == (calls, 0, StopReason.BUDGET)


def test_the_number_in_flight_shrinks_towards_the_end_of_a_budget() -> None:
    """While calls are in flight, what is left covers as many again."""
    stage = Stage(birds(100))
    stage.detector.delay_s = lambda _key: 5.0
    stage.run(budget_job(40, concurrency=100))
    assert stage.detector.peak == 20


def test_calls_without_a_price_are_not_held_back() -> None:
    """A detector that costs nothing needs no money for repetitions, at any budget."""
    peaks = []
    for budget in ({}, {"budget_usd": 0.001}):
        stage = Stage(birds(100), fault=failing(dict.fromkeys(birds(100), 1)))
        stage.detector.delay_s = lambda _key: 5.0
        free = {"tiers": [{"up_to": None, "usd": 0}]}
        summary = stage.run(make_job(pricing=free, limits={"tps": 2000, "concurrency": 100} | budget))
        assert summary.stop_reason is StopReason.COMPLETED
        peaks.append(stage.detector.peak)
    assert peaks[0] == peaks[1] > 1


def test_tiers_that_become_cheaper_strand_nothing() -> None:
    """A price that falls within the last calls still covers what is in flight."""
    tiers = {"tiers": [{"up_to": 30, "usd": 0.002}, {"up_to": 45, "usd": 0.001}, {"up_to": None, "usd": 0.0005}]}
    labels = birds(200)
    stage = Stage(labels, fault=failing(dict.fromkeys(list(labels)[::7], 1)))
    summary = stage.run(make_job(pricing=tiers, limits={"tps": 2000, "concurrency": 60, "budget_usd": 0.1}))
    assert (summary.stop_reason, summary.counts.overshoot) == (StopReason.BUDGET, 0)
    assert 0.0985 < summary.counts.spent_micros / 1_000_000 <= 0.1


def gate(calls: int) -> BudgetGate:
    """A gate whose budget covers so many calls."""
    budget = Budget(limit_micros=calls, price_micros=lambda _nth: 1)
    budget.grant(calls)
    return BudgetGate(budget, PendingSignal())


def test_a_repetition_leaves_money_for_the_images_before_it() -> None:
    """With money for one more attempt, a later image waits until the one before it has ended."""
    served: list[int] = []

    async def repeat(budget_gate: BudgetGate, seq: int) -> None:
        if await budget_gate.reserve(seq) is not None:
            served.append(seq)

    async def main() -> None:
        budget_gate = gate(1)
        budget_gate.enter(1)
        budget_gate.enter(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(repeat, budget_gate, 2)
            await anyio.sleep(1)
            assert served == []
            budget_gate.leave(1)
            await anyio.sleep(1)
            assert served == [2]

    run_virtually(main)


def test_a_successor_keeps_the_money_of_its_leader() -> None:
    """A duplicate that must be examined in place of its failed leader is covered before any new image."""

    async def main() -> tuple[bool, bool]:
        budget_gate = gate(1)
        budget_gate.enter(1)
        budget_gate.leave(1, successor=3)
        with anyio.move_on_after(1):
            await budget_gate.reserve(4)
            return True, False
        return False, await budget_gate.reserve(3) is not None

    assert run_virtually(main) == (False, True)


# -- A certain stop ----------------------------------------------------------------------------------------------------

STOPS = st.one_of(
    st.fixed_dictionaries({"matches": st.integers(1, 15)}, optional={"misses_in_a_row": st.integers(2, 9)}),
    st.fixed_dictionaries({"misses_in_a_row": st.integers(1, 9)}),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shown=st.lists(st.sampled_from(["Robin", "Wing", "Cat", "Cat", "Cat", BROKEN]), min_size=1, max_size=90),
    stop=STOPS,
    stuck=st.dictionaries(st.integers(0, 89), st.integers(1, 12), max_size=12),
    error=st.sampled_from([SLOW_DOWN, TIMED_OUT]),
    concurrency=st.sampled_from([1, 10, 400]),
    seed=st.integers(0, 1000),
    deaths_s=st.lists(st.floats(0.01, 3.0), max_size=3),
    dry_run=st.booleans(),
)
def test_same_answer_when_a_stop_is_certain_out_of_order(
    shown: list[str],
    stop: dict[str, int],
    stuck: dict[int, int],
    error: Exception,
    concurrency: int,
    seed: int,
    deaths_s: list[float],
    dry_run: bool,
) -> None:
    """With images that are repeated for long, through deaths and a dry run: the answer is the one-by-one loop's."""
    labels = {f"{number:04d}.jpg": label for number, label in enumerate(shown)}
    seeded = SeededFaults(labels, seed=seed)
    times = {f"{number:04d}.jpg": count for number, count in stuck.items()}

    def fault(key: str, attempt: int) -> Exception | None:
        if attempt <= min(times.get(key, 0), 12 if error is SLOW_DOWN else 3):
            return error
        return seeded(key, attempt)

    stage = Stage(labels, seed=seed, fault=fault)
    job = make_stop_job(stop=stop, cap=None, concurrency=concurrency)
    if dry_run:
        stage.run(job, dry_run=True)
    for at_s in deaths_s:
        stage.run_and_die(job, at_s)
    summary = stage.run(job)
    expected = one_by_one(list(labels), labels, stop, None)
    assert stage.verdicts() == expected.verdicts
    assert sorted(set(stage.copied())) == expected.copies
    assert summary.stop_reason == expected.reason


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shown=st.lists(st.sampled_from(["Robin", "Cat", "Cat"]), min_size=20, max_size=60),
    changed=st.dictionaries(st.integers(0, 59), st.sampled_from(["Robin", "Cat"]), max_size=30),
    stop=STOPS,
    seed=st.integers(0, 100),
    duplicates=st.sampled_from(["copy", "skip"]),
    again=st.integers(0, 2),
)
def test_replaced_images_and_duplicates_never_make_a_false_stop_certain(
    shown: list[str], changed: dict[int, str], stop: dict[str, int], seed: int, duplicates: str, again: int
) -> None:
    """Changed objects, which take matches away, and duplicates end as the same run at a concurrency of one."""

    def outcome(concurrency: int) -> tuple[dict[str, str], str, int, int]:
        labels = {f"{number:04d}.jpg": label for number, label in enumerate(shown)}
        stage = Stage(labels, seed=seed, fault_rate=0.2)
        for number, key in enumerate(labels):
            # Every second image has the content of the one before it.
            etag = hashlib.md5(f"{number - number % 2 * again} {shown[number]}".encode()).hexdigest()
            stage.source.put(ListedObject(key, 1000, etag))
        source = {"uri": "s3://raw/", "duplicates": duplicates} if duplicates == "skip" else "s3://raw/"
        limits = {"tps": 2000, "concurrency": concurrency}
        stage.run(make_job(source=source, limits=limits))
        for number, label in changed.items():
            if number < len(shown):
                key = f"{number:04d}.jpg"
                stage.source.put(ListedObject(key, 1000, hashlib.md5(f"new {key}".encode()).hexdigest()))
                stage.detector.learn({key: [(label, 90.0)]})
        summary = stage.run(make_job(source=source, limits=limits, stop=stop))
        return stage.verdicts(), summary.stop_reason.value, summary.counts.keep, summary.counts.copied

    assert outcome(100) == outcome(1)


@pytest.mark.parametrize(
    ("stop", "label"),
    [({"matches": 60}, "Robin"), ({"misses_in_a_row": 100}, "Cat")],
)
@pytest.mark.parametrize("error", [SLOW_DOWN, INTERNAL])
@pytest.mark.parametrize("first", [0, 7])
def test_one_image_that_is_repeated_lets_none_behind_a_certain_stop_be_paid(
    stop: dict[str, int], label: str, error: Exception, first: int
) -> None:
    """One image before the stop is repeated for seconds: overshoot is what was in flight when the stop was certain."""
    labels = {f"{number:05d}.jpg": label for number in range(3000)}
    stuck = f"{first:05d}.jpg"
    stage = Stage(labels, fault=lambda key, attempt: error if key == stuck and attempt <= 4 else None)
    stage.detector.delay_s = lambda key: 2.0 if key == stuck else 0.1
    summary = stage.run(make_stop_job(stop=stop, cap=None, concurrency=20))
    assert summary.stop_reason == next(iter(stop))
    # Behind the stop: those of the 20 in flight when the last image for the stop was decided, and the stuck one.
    assert summary.counts.overshoot <= 25
    assert sum(stage.detector.attempts.values()) <= summary.counts.examined + summary.counts.overshoot + 4


def test_images_behind_a_certain_stop_are_not_repeated() -> None:
    """An image behind the stop position that is throttled gets no further attempt; one before it does."""
    labels = {f"{number:05d}.jpg": "Robin" for number in range(300)}
    slow = {"00000.jpg": 3, "00012.jpg": 50, "00013.jpg": 50}
    stage = Stage(labels, fault=failing(slow, INTERNAL))
    stage.detector.delay_s = lambda key: 4.0 if key in slow else 3.0
    summary = stage.run(make_stop_job(stop={"matches": 8}, cap=None, concurrency=20))
    assert (summary.counts.examined, summary.stop_reason) == (8, StopReason.MATCHES)
    assert stage.detector.attempts["00000.jpg"] == 4
    assert stage.detector.attempts["00012.jpg"] == stage.detector.attempts["00013.jpg"] == 1


@pytest.mark.parametrize("error", [SLOW_DOWN, INTERNAL])
def test_images_that_wait_for_a_permit_when_a_stop_becomes_certain_are_not_repeated(error: Exception) -> None:
    """A repetition that was queued for a permit before the stop was certain is not sent after it."""
    labels = {f"{number:05d}.jpg": "Robin" for number in range(200)}
    wanted = {f"{number:05d}.jpg" for number in range(1, 9)}
    behind = {f"{number:05d}.jpg": 99 for number in range(9, 60)}
    stage = Stage(labels, fault=failing({"00000.jpg": 3} | behind, error))
    # At 10 a second, repetitions are queued for a permit when the eighth keep arrives.
    stage.detector.delay_s = lambda key: 0.5 if key in behind else 9.0
    job = make_job(limits={"tps": 10, "concurrency": 60}, stop={"matches": 8})
    sent_s: list[float] = []
    decided_s: list[float] = []
    inner = stage.detector.detect

    async def detect(image: ObjectRef) -> Detection:
        if image.key in behind:
            sent_s.append(anyio.current_time())
        detection = await inner(image)
        if image.key in wanted:
            decided_s.append(anyio.current_time())
        return detection

    stage.detector.detect = detect  # type: ignore[method-assign]
    summary = stage.run(job)
    assert summary.stop_reason is StopReason.MATCHES
    assert len(decided_s) == 8
    assert sent_s
    assert max(sent_s) <= max(decided_s)


def _overshoot(labels: dict[str, str], fault_rate: float) -> Summary:
    stage = Stage(labels, fault_rate=fault_rate, page_objects=100)
    return stage.run(make_stop_job(stop={"matches": 60}, cap=None, concurrency=40))


def test_faults_add_little_to_the_overshoot() -> None:
    """With one attempt in twenty throttled or lost, overshoot stays about what is in flight."""
    labels = {f"{number:05d}.jpg": "Robin" if number % 9 == 0 else "Cat" for number in range(5000)}
    assert _overshoot(labels, 0.0).counts.overshoot <= 60
    assert _overshoot(labels, 0.05).counts.overshoot <= 60


def test_counts_of_a_certain_stop_add_up() -> None:
    """Each call is an image up to the stop or overshoot, and no image was called without an outcome but those cut."""
    labels = birds(500)
    stage = Stage(labels, fault=failing({"00002.jpg": 6}, SLOW_DOWN))
    summary = stage.run(make_stop_job(stop={"matches": 30}, cap=None, concurrency=50))
    counts = summary.counts
    assert counts.calls == counts.examined + counts.overshoot
    assert Counter(stage.verdicts().values())["keep"] == 30
