"""``bench`` on ports in memory: what it finds, what it pays, and what it must leave alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Interrupt, Job, UsageError, bench, parse_job
from asyncfilter.errors import AbortedError, AccessError, ThrottleCause, ThrottledError
from asyncfilter.model import Detection, ObjectRef, StopReason
from asyncfilter.policy.capacity import Bound, Capacity, Measurement
from asyncfilter.ports import Detector, Prepared
from asyncfilter.sandbox.throttle import Quota, SlidingWindow, TokenBucket
from asyncfilter.testing import BROKEN, Stage, run_virtually
from asyncfilter.testing.ports import ScriptedDetector
from asyncfilter.wiring import propose_bench


def bucket(quota_tps: float) -> TokenBucket:
    """A quota on average, of which a tenth of a second is saved up."""
    return TokenBucket(quota_tps, burst=0.1 * quota_tps)


def make_job(**changes: Any) -> Job:
    """A job that keeps robins, at a tenth of a cent."""
    settings: dict[str, Any] = {
        "version": 1,
        "name": "measured",
        "source": "s3://raw/",
        "rules": [{"keep": {"any": "Robin"}}],
        "actions": {"keep": {"copy": "s3://clean/{key}"}},
        "limits": {"tps": 50},
        "pricing": {"tiers": [{"up_to": None, "usd": 0.001}]},
    }
    return parse_job(settings | changes, base_dir=Path("/nowhere"))


def birds(number: int) -> dict[str, str]:
    """That many images: a quarter robins, a tenth broken, the rest cats."""
    return {
        f"{index:05d}.jpg": "Robin" if index % 4 == 0 else BROKEN if index % 10 == 1 else "Cat"
        for index in range(number)
    }


def limited(labels: dict[str, str], quota: Quota) -> Stage:
    """A stage whose detector throttles beyond a quota, and answers after 0.1 to 1 s."""
    stage = Stage(labels, page_objects=1000)
    rng = random.Random(7)
    latency_s = {key: min(1.0, max(0.1, 0.3 * rng.lognormvariate(0, 0.4))) for key in labels}

    def fault(key: str, attempt: int) -> Exception | None:
        if quota.admit(anyio.current_time()):
            return stage.seeded(key, attempt)
        return ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)

    found = {key: [(label, 90.0)] for key, label in labels.items()}
    stage.detector = ScriptedDetector(found, delay_s=lambda key: latency_s[key], fault=fault)
    return stage


def measured(stage: Stage, job: Job, **options: Any) -> Measurement:
    """A measurement, as a process of its own."""
    try:
        return run_virtually(partial(bench, job, overrides=stage.overrides(), on_event=stage.events.append, **options))
    finally:
        stage.checkpoint = stage.checkpoint.reopen()


def capacity_of(found: Measurement) -> Capacity:
    """What it came to."""
    assert found.capacity is not None
    return found.capacity


@pytest.mark.parametrize("kind", [SlidingWindow, bucket])
@pytest.mark.parametrize(("quota_tps", "ceiling_tps"), [(50, 75), (25, 75), (100, 150), (50, 2000), (300, 450)])
def test_the_quota_is_found(kind: Callable[[float], Quota], quota_tps: int, ceiling_tps: float) -> None:
    """The rate that is told is the one a service accepts, within 3 %, however far beyond it was tried."""
    found = measured(limited(birds(12_000), kind(quota_tps)), make_job(), tps=ceiling_tps)
    capacity = capacity_of(found)
    assert capacity.accepted_tps == pytest.approx(quota_tps, rel=0.03)
    assert (capacity.bound, capacity.is_steady, found.is_time_up) == (Bound.QUOTA, True, True)
    assert capacity.throttled_share < 0.05
    assert capacity.in_flight == pytest.approx(capacity.tried_tps * capacity.p50_ms / 1000, rel=0.3)
    assert capacity.in_flight <= capacity.concurrency


def test_a_limit_that_was_not_met_is_not_called_one() -> None:
    """Below the quota nothing is throttled, and the ceiling is what was reached."""
    capacity = capacity_of(measured(limited(birds(3000), SlidingWindow(200)), make_job(), tps=60))
    assert capacity.bound is Bound.CEILING
    assert capacity.accepted_tps == pytest.approx(60, rel=0.03)
    assert capacity.throttled_share == 0


def test_what_the_client_cannot_make_is_not_called_a_quota() -> None:
    """Too few calls in flight for the rate: the reading says that it was not the service."""
    job = make_job(limits={"concurrency": 5})
    capacity = capacity_of(measured(limited(birds(3000), SlidingWindow(200)), job, tps=60))
    assert capacity.bound is Bound.CLIENT
    assert capacity.peak_in_flight == 5
    assert capacity.accepted_tps < 30


def test_it_drains_after_its_time() -> None:
    """No call is made later than so many seconds after the first; what is in flight then is finished and kept."""
    stage = limited(birds(3000), SlidingWindow(200))
    found = measured(stage, make_job(), tps=40, seconds_s=10)
    assert (found.is_time_up, found.summary.stop_reason, found.summary.exit_code) == (True, StopReason.COMPLETED, 1)
    last_s = max(at_s for at_s, second in enumerate(found.reading.seconds) if second.attempts)
    assert last_s == 9
    assert sum(second.accepted for second in found.reading.seconds) == sum(stage.detector.attempts.values())
    assert sum(stage.detector.attempts.values()) == len(stage.checkpoint.images)


@settings(max_examples=25, deadline=None)
@given(
    cents=st.integers(0, 40),
    job_cents=st.none() | st.integers(1, 40),
    before=st.integers(0, 100),
    seed=st.integers(0, 5),
)
def test_the_money_is_a_ceiling(cents: int, job_cents: int | None, before: int, seed: int) -> None:
    """Whatever fails and may have been billed: neither its own money nor the job's budget is ever passed."""
    budget = {} if job_cents is None else {"budget_usd": job_cents / 100}
    stage = Stage(birds(400), seed=seed, fault_rate=0.2)
    job = make_job(limits={"tps": 50, **budget})
    first = stage.run(make_job(limits={"tps": 50, "max_images": before or 1, **budget}))
    found = measured(stage, job, seconds_s=20, budget_micros=10_000 * cents)
    spent_micros = found.summary.counts.spent_micros - first.counts.spent_micros
    assert spent_micros == found.summary.this_run.spent_micros <= 10_000 * cents
    assert job_cents is None or found.summary.counts.spent_micros <= 10_000 * job_cents
    assert found.summary.stop_reason in {StopReason.BUDGET, StopReason.COMPLETED}


@settings(max_examples=25, deadline=None)
@given(
    examined=st.integers(0, 80),
    order=st.sampled_from(["listing", "random"]),
    seconds_s=st.floats(1, 12),
    matches=st.none() | st.just(9),
)
def test_the_run_is_left_where_it_was(examined: int, order: str, seconds_s: float, matches: int | None) -> None:
    """It changes neither verdicts nor places nor copies nor where the run stops; no image is paid twice."""
    changes: dict[str, Any] = {
        "stop": {} if matches is None else {"matches": matches},
        "source": {"uri": "s3://raw/", "order": order},
    }
    job = make_job(**changes)
    stage, calm = Stage(birds(120)), Stage(birds(120))
    stage.run(make_job(**changes, limits={"tps": 50, "max_images": examined or 1}))
    before = {row.key: row.seq for row in stage.checkpoint.images if row.seq is not None}
    mark, copied = msgspec.json.encode(stage.checkpoint.opened.watermark), stage.copied()
    measured(stage, job, seconds_s=seconds_s)
    assert {row.key: row.seq for row in stage.checkpoint.images if row.seq is not None} == before
    assert msgspec.json.encode(stage.checkpoint.opened.watermark) == mark
    assert stage.copied() == copied
    summary, expected = stage.run(job), calm.run(job)
    assert set(stage.detector.attempts.values()) == {1}
    assert (stage.copied(), stage.verdicts()) == (calm.copied(), calm.verdicts())
    assert summary.stop_reason == expected.stop_reason


def test_labels_are_kept_and_free() -> None:
    """The run that follows makes a call for nothing that was measured, and what is known is not measured again."""
    stage = limited(birds(1000), SlidingWindow(50))
    found = measured(stage, make_job(), tps=75)
    paid = found.summary.this_run.calls
    assert 0 < paid < 1000 or found.summary.stop_reason is StopReason.COMPLETED
    again = measured(stage, make_job(), tps=75)
    assert again.summary.this_run.calls + paid == 1000
    assert stage.run(make_job()).this_run.calls == 0


def test_known_images_are_not_listed_again() -> None:
    """It begins where the job's own listing has come to."""
    stage = Stage(birds(200))
    stage.run(make_job(limits={"tps": 50, "max_images": 150}))
    found = measured(stage, make_job(), seconds_s=20)
    assert found.summary.this_run.listed <= 50 + 7
    assert found.summary.this_run.calls == 50


def test_a_random_order_has_no_place_in_the_listing() -> None:
    """Where the job examines in another order, every image that is not known is there to be measured."""
    stage = Stage(birds(200))
    job = make_job(source={"uri": "s3://raw/", "order": "random"})
    stage.run(make_job(source={"uri": "s3://raw/", "order": "random"}, limits={"tps": 50, "max_images": 120}))
    assert measured(stage, job, seconds_s=30).summary.this_run.calls == 80


def test_nothing_to_measure_is_no_figure() -> None:
    """Images whose labels are known prove nothing."""
    stage = Stage(birds(30))
    stage.run(make_job())
    found = measured(stage, make_job())
    assert (found.capacity, found.is_time_up, found.reading.seconds) == (None, False, [])
    assert found.summary.this_run.spent_micros == 0


def test_stop_rules_do_not_end_it() -> None:
    """Neither matches nor misses nor a cap on images cut a measurement short."""
    stop = {"matches": 1, "misses_in_a_row": 1, "hit_rate": {"below": 0.9}, "errors": {"rate": 0.1, "window": 1}}
    found = measured(
        limited(birds(2000), SlidingWindow(90)), make_job(stop=stop, limits={"max_images": 2}), tps=60, seconds_s=12
    )
    assert found.is_time_up
    assert found.summary.this_run.calls > 400


class Everything:
    """``Preparation`` that hands a detector of its own to every image."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        del image
        return Prepared(detector=self._detector)


def test_prepared_images_are_measured_too() -> None:
    """Calls that a preparation's own detector makes are seen like the others."""
    stage = limited(birds(2000), SlidingWindow(40))
    stage.preparation = Everything(stage.detector)
    found = measured(stage, make_job(), tps=60, seconds_s=30)
    assert sum(second.attempts for second in found.reading.seconds) == found.summary.this_run.attempts > 500
    assert capacity_of(found).accepted_tps == pytest.approx(40, rel=0.03)


def test_ctrl_c_drains_and_what_was_measured_is_told() -> None:
    """The first wish to leave ends it in order; so it is said, and what was seen until then is there."""
    stage, interrupt = limited(birds(2000), SlidingWindow(50)), Interrupt()

    async def live() -> Measurement:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await anyio.sleep(12)
                interrupt.request()

            tasks.start_soon(leave)
            return await bench(make_job(), tps=75, overrides=stage.overrides(), interrupt=interrupt)
        raise AssertionError

    found = run_virtually(live)
    assert (found.summary.stop_reason, found.summary.exit_code) == (StopReason.INTERRUPTED, 75)
    assert not found.is_time_up
    assert found.summary.this_run.calls > 200
    assert capacity_of(found).window_s > 3


def test_ctrl_c_while_the_time_is_over_is_no_abort() -> None:
    """One wish to leave during the drain changes nothing; a second one aborts, as everywhere."""
    for wishes, ends_well in ((1, True), (2, False)):
        stage, interrupt = Stage(birds(500)), Interrupt()
        stage.detector.delay_s = lambda _key: 5.0

        async def live(stage: Stage = stage, interrupt: Interrupt = interrupt, wishes: int = wishes) -> Any:
            async def leave() -> None:
                await anyio.sleep(12)
                for _ in range(wishes):
                    interrupt.request()
                    await anyio.sleep(0.1)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(leave)
                try:
                    return await bench(
                        make_job(), tps=20, seconds_s=10, overrides=stage.overrides(), interrupt=interrupt
                    )
                except AbortedError as error:
                    return error

        result = run_virtually(live)
        assert isinstance(result, Measurement) is ends_well
        assert not ends_well or result.is_time_up


def test_what_concerns_the_account_is_raised_as_it_is() -> None:
    """A source that cannot be listed ends it as it would a run; nothing is wrapped in groups."""
    stage = Stage(birds(20))

    class Denied:
        async def detect(self, image: ObjectRef) -> Detection:
            raise AccessError(f"may not look at {image.key}")

    overrides = msgspec.structs.replace(stage.overrides(), detector=Denied())
    found = run_virtually(partial(bench, make_job(), overrides=overrides))
    assert (found.summary.stop_reason, found.summary.exit_code) == (StopReason.FAILED, 4)


def test_the_price_is_said_ahead() -> None:
    """What is asked for covers every call that can be made in the time; the job's budget is its ceiling."""
    stage = Stage(birds(20))
    trial = run_virtually(partial(propose_bench, make_job(), seconds_s=30, tps=75, overrides=stage.overrides()))
    assert (trial.allowance_micros, trial.limit_micros, trial.told_micros) == (2_300_000, 2_300_000, 1_500_000)
    job = make_job(limits={"tps": 50, "budget_usd": 0.5})
    trial = run_virtually(partial(propose_bench, job, seconds_s=30, tps=75, overrides=stage.overrides()))
    assert (trial.allowance_micros, trial.told_micros) == (500_000, 500_000)
    counted = run_virtually(partial(propose_bench, job, counts=True, overrides=stage.overrides()))
    assert (counted.images, trial.images) == (20, None)
    assert not stage.detector.attempts
    assert not stage.checkpoint.runs


def test_a_rate_that_nobody_knows_is_asked_for() -> None:
    """A detector of your own, without a rate in the job or the call: a clear word instead of any rate at all."""
    with pytest.raises(UsageError, match="rate"):
        run_virtually(partial(bench, make_job(limits={}), overrides=Stage(birds(3)).overrides()))
