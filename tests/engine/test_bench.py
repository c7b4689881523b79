"""``bench`` on ports in memory: what it measures, what it pays, and what it must not change."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Interrupt, Job, UsageError, bench
from asyncfilter.errors import AbortedError, AccessError, ThrottleCause, ThrottledError
from asyncfilter.model import Detection, ObjectRef, StopReason
from asyncfilter.policy.throughput import Bound, Measurement, Throughput
from asyncfilter.ports.examine import Detector, Prepared
from asyncfilter.sandbox.throttle import Quota, SlidingWindow, TokenBucket
from asyncfilter.testing import Stage, run_virtually
from asyncfilter.testing.ports import ScriptedDetector
from asyncfilter.wiring import propose_bench
from tests.kit import jobs, labels


def bucket(quota_tps: float) -> TokenBucket:
    """A quota on average, with a burst of a tenth of a second."""
    return TokenBucket(quota_tps, burst=0.1 * quota_tps)


make_job = partial(jobs.make_job, limits={"tps": 50})
birds = partial(labels.birds, every=4, broken_every=10)


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
    """A measurement in a process of its own."""
    try:
        return run_virtually(partial(bench, job, overrides=stage.overrides(), on_event=stage.events.append, **options))
    finally:
        stage.checkpoint = stage.checkpoint.reopen()


def throughput_of(found: Measurement) -> Throughput:
    """The throughput that was measured."""
    assert found.throughput is not None
    return found.throughput


@pytest.mark.parametrize("kind", [SlidingWindow, bucket])
@pytest.mark.parametrize(("quota_tps", "ceiling_tps"), [(50, 75), (25, 75), (100, 150), (50, 2000), (300, 450)])
def test_the_quota_is_found(kind: Callable[[float], Quota], quota_tps: int, ceiling_tps: float) -> None:
    """The reported rate is the one the service accepts, within 3 %, however much higher the attempted rate is."""
    found = measured(limited(birds(12_000), kind(quota_tps)), make_job(), tps=ceiling_tps)
    throughput = throughput_of(found)
    assert throughput.measured_tps == pytest.approx(quota_tps, rel=0.03)
    assert (throughput.bound, throughput.is_steady, found.is_time_up) == (Bound.QUOTA, True, True)
    assert throughput.throttled_share < 0.05
    assert throughput.in_flight == pytest.approx(throughput.tried_tps * throughput.p50_ms / 1000, rel=0.3)
    assert throughput.in_flight <= throughput.concurrency


def test_a_limit_that_was_not_met_is_not_called_one() -> None:
    """Below the quota nothing is throttled, and the ceiling is the rate that was reached."""
    throughput = throughput_of(measured(limited(birds(3000), SlidingWindow(200)), make_job(), tps=60))
    assert throughput.bound is Bound.CEILING
    assert throughput.measured_tps == pytest.approx(60, rel=0.03)
    assert throughput.throttled_share == 0


def test_what_the_client_cannot_make_is_not_called_a_quota() -> None:
    """With too few calls in flight for the rate, the reading reports that the service was not the limit."""
    job = make_job(limits={"concurrency": 5})
    throughput = throughput_of(measured(limited(birds(3000), SlidingWindow(200)), job, tps=60))
    assert throughput.bound is Bound.CLIENT
    assert throughput.peak_in_flight == 5
    assert throughput.measured_tps < 30


def test_it_drains_after_its_time() -> None:
    """No call starts later than the given time after the first; calls in flight then finish and are kept."""
    stage = limited(birds(3000), SlidingWindow(200))
    found = measured(stage, make_job(), tps=40, seconds_s=10)
    assert (found.is_time_up, found.summary.stop_reason, found.summary.exit_code) == (True, StopReason.COMPLETED, 1)
    last_s = max(at_s for at_s, second in enumerate(found.samples.seconds) if second.attempts)
    assert last_s == 9
    assert sum(second.accepted for second in found.samples.seconds) == sum(stage.detector.attempts.values())
    assert sum(stage.detector.attempts.values()) == len(stage.checkpoint.images)


@settings(max_examples=25, deadline=None)
@given(
    cents=st.integers(0, 40),
    job_cents=st.none() | st.integers(1, 40),
    before=st.integers(0, 100),
    seed=st.integers(0, 5),
)
def test_the_requested_budget_is_a_ceiling(cents: int, job_cents: int | None, before: int, seed: int) -> None:
    """Failures that may have been billed exceed neither the budget of the measurement nor the job's."""
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
    """A measurement changes no verdict, position, copy or stop of the run; no image is paid for twice."""
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
    """The following run makes no call for measured images, and known images are not measured again."""
    stage = limited(birds(1000), SlidingWindow(50))
    found = measured(stage, make_job(), tps=75)
    paid = found.summary.this_run.calls
    assert 0 < paid < 1000 or found.summary.stop_reason is StopReason.COMPLETED
    again = measured(stage, make_job(), tps=75)
    assert again.summary.this_run.calls + paid == 1000
    assert stage.run(make_job()).this_run.calls == 0


def test_known_images_are_not_listed_again() -> None:
    """A measurement begins at the cursor of the job's listing."""
    stage = Stage(birds(200))
    stage.run(make_job(limits={"tps": 50, "max_images": 150}))
    found = measured(stage, make_job(), seconds_s=20)
    assert found.summary.this_run.listed <= 50 + 7
    assert found.summary.this_run.calls == 50


def test_a_random_order_has_no_place_in_the_listing() -> None:
    """If the job examines in another order, every unknown image can be measured."""
    stage = Stage(birds(200))
    job = make_job(source={"uri": "s3://raw/", "order": "random"})
    stage.run(make_job(source={"uri": "s3://raw/", "order": "random"}, limits={"tps": 50, "max_images": 120}))
    assert measured(stage, job, seconds_s=30).summary.this_run.calls == 80


def test_nothing_to_measure_is_no_figure() -> None:
    """Images whose labels are known measure nothing."""
    stage = Stage(birds(30))
    stage.run(make_job())
    found = measured(stage, make_job())
    assert (found.throughput, found.is_time_up, found.samples.seconds) == (None, False, [])
    assert found.summary.this_run.spent_micros == 0


def test_stop_rules_do_not_end_it() -> None:
    """Neither matches nor misses nor a cap on images ends a measurement early."""
    stop = {"matches": 1, "misses_in_a_row": 1, "hit_rate": {"below": 0.9}, "errors": {"rate": 0.1, "window": 1}}
    found = measured(
        limited(birds(2000), SlidingWindow(90)), make_job(stop=stop, limits={"max_images": 2}), tps=60, seconds_s=12
    )
    assert found.is_time_up
    assert found.summary.this_run.calls > 400


class Everything:
    """``Preparation`` that gives every image a detector of its own."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        del image
        return Prepared(detector=self._detector)


def test_prepared_images_are_measured_too() -> None:
    """Calls of a preparation's own detector are counted like the others."""
    stage = limited(birds(2000), SlidingWindow(40))
    stage.preparation = Everything(stage.detector)
    found = measured(stage, make_job(), tps=60, seconds_s=30)
    assert sum(second.attempts for second in found.samples.seconds) == found.summary.this_run.attempts > 500
    assert throughput_of(found).measured_tps == pytest.approx(40, rel=0.03)


def test_ctrl_c_drains_and_the_measurement_is_reported() -> None:
    """The first interrupt drains; the result reports it and holds what was measured until then."""
    stage, interrupt = limited(birds(2000), SlidingWindow(50)), Interrupt()

    async def measured() -> Measurement:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await anyio.sleep(12)
                interrupt.request()

            tasks.start_soon(leave)
            return await bench(make_job(), tps=75, overrides=stage.overrides(), interrupt=interrupt)
        raise AssertionError

    found = run_virtually(measured)
    assert (found.summary.stop_reason, found.summary.exit_code) == (StopReason.INTERRUPTED, 75)
    assert not found.is_time_up
    assert found.summary.this_run.calls > 200
    assert throughput_of(found).window_s > 3


def test_ctrl_c_while_the_time_is_over_is_no_abort() -> None:
    """One interrupt during the drain changes nothing; a second one aborts, as in every command."""
    for requests, is_drained in ((1, True), (2, False)):
        stage, interrupt = Stage(birds(500)), Interrupt()
        stage.detector.delay_s = lambda _key: 5.0

        async def measured(stage: Stage = stage, interrupt: Interrupt = interrupt, requests: int = requests) -> Any:
            async def leave() -> None:
                await anyio.sleep(12)
                for _ in range(requests):
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

        result = run_virtually(measured)
        assert isinstance(result, Measurement) is is_drained
        assert not is_drained or result.is_time_up


def test_what_concerns_the_account_is_raised_as_it_is() -> None:
    """A source that cannot be listed ends a measurement as it ends a run; the error is in no exception group."""
    stage = Stage(birds(20))

    class Denied:
        async def detect(self, image: ObjectRef) -> Detection:
            raise AccessError(f"may not look at {image.key}")

    overrides = msgspec.structs.replace(stage.overrides(), detector=Denied())
    found = run_virtually(partial(bench, make_job(), overrides=overrides))
    assert (found.summary.stop_reason, found.summary.exit_code) == (StopReason.FAILED, 4)


def test_the_price_is_shown_ahead() -> None:
    """The requested budget covers every call that can be made in the time; the job's budget is its ceiling."""
    stage = Stage(birds(20))
    bench_plan = run_virtually(partial(propose_bench, make_job(), seconds_s=30, tps=75, overrides=stage.overrides()))
    assert (bench_plan.allowance_micros, bench_plan.limit_micros, bench_plan.quota_micros) == (
        2_300_000,
        2_300_000,
        1_500_000,
    )
    job = make_job(limits={"tps": 50, "budget_usd": 0.5})
    bench_plan = run_virtually(partial(propose_bench, job, seconds_s=30, tps=75, overrides=stage.overrides()))
    assert (bench_plan.allowance_micros, bench_plan.quota_micros) == (500_000, 500_000)
    counted = run_virtually(partial(propose_bench, job, counts=True, overrides=stage.overrides()))
    assert (counted.images, bench_plan.images) == (20, None)
    assert not stage.detector.attempts
    assert not stage.checkpoint.runs


def test_an_unknown_rate_is_a_usage_error() -> None:
    """A caller's own detector without a rate in the job or the call is a usage error; no rate is assumed."""
    with pytest.raises(UsageError, match="rate"):
        run_virtually(partial(bench, make_job(limits={}), overrides=Stage(birds(3)).overrides()))
