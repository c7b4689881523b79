"""The tiers of a price list begin anew in every UTC month, whatever the wall clock does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.events import JobWarning
from asyncfilter.model import StopReason
from asyncfilter.policy.billing_month import MARGIN_S, USED_IS_OLD, period_at, use_in
from asyncfilter.policy.budget import Budget
from asyncfilter.records.progress import MonthUse
from asyncfilter.testing import LoopClock, Stage
from tests.kit.jobs import make_job
from tests.kit.labels import birds

TIERS = {"tiers": [{"up_to": 10, "usd": 0.001}, {"up_to": None, "usd": 0.0001}]}
DEAR, CHEAP = 1000, 100


def at(text: str) -> float:
    """Seconds since 1970-01-01 of an ISO date and time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def price(nth: int) -> int:
    """The price of the n-th image of a month."""
    return DEAR if nth <= 10 else CHEAP


def job(pricing: dict[str, Any] | None = None, **limits: Any) -> Job:
    """A job whose first ten images of a month cost ten times as much as the others."""
    return make_job(pricing=TIERS | (pricing or {}), limits={"tps": 2000} | limits)


def run_at(stage: Stage, text: str, run: Job) -> int:
    """Run at a date; returns what this run spent."""
    stage.clock = LoopClock(at(text))
    return stage.run(run).this_run.spent_micros


class WallClock(LoopClock):
    """A clock whose wall time is a function of the loop's time."""

    def __init__(self, wall: Callable[[float], float]) -> None:
        super().__init__()
        self._wall = wall

    def unix(self) -> float:
        """See ``Clock``."""
        return self._wall(self.monotonic())


def _constant(value: float, _loop_s: float) -> float:
    return value


# -- Runs --------------------------------------------------------------------------------------------------------------


def test_the_next_month_begins_with_the_first_tier() -> None:
    """Calls of an earlier month do not count towards the tiers of this one; the budget is for all months together."""
    stage = Stage(birds(80))
    assert run_at(stage, "2026-10-30T12:00", job(max_images=20)) == 10 * DEAR + 10 * CHEAP
    assert run_at(stage, "2026-10-31T12:00", job(max_images=25)) == 5 * CHEAP
    assert run_at(stage, "2026-11-01T12:00", job(max_images=40)) == 10 * DEAR + 5 * CHEAP
    assert run_at(stage, "2027-11-01T12:00", job(max_images=42)) == 2 * DEAR
    stage.clock = LoopClock(at("2027-12-01T12:00"))
    summary = stage.run(job(budget_usd=0.0275))
    assert summary.stop_reason is StopReason.BUDGET
    assert summary.counts.spent_micros == (10 + 10 + 2 + 3) * DEAR + 20 * CHEAP


@pytest.mark.parametrize("first", ["2026-11-01T00:00:00", "2026-12-01T00:00:00", "2028-03-01T00:00:00"])
def test_midnight_of_the_first_restarts_the_tiers_inside_a_run(first: str) -> None:
    """A run that lasts past the end of a month pays the first tier anew, from the very first attempt on."""
    stage = Stage(birds(60))
    times_s: list[float] = []
    start_s = at(first) - MARGIN_S - 2.0

    def fault(_key: str, _attempt: int) -> None:
        times_s.append(stage.clock.unix())

    stage.detector._fault = fault
    stage.clock = LoopClock(start_s)
    summary = stage.run(job(tps=0.1, concurrency=1))
    ending_s, midnight_s = at(first) - MARGIN_S, at(first)
    before = sum(time_s < ending_s for time_s in times_s)
    ending = sum(ending_s <= time_s < midnight_s for time_s in times_s)
    after = sum(time_s >= midnight_s for time_s in times_s)
    assert before >= 1
    assert ending > 10
    assert after > 10
    assert summary.counts.spent_micros == (before + ending + 10) * DEAR + (after - 10) * CHEAP


def test_an_attempt_that_waits_for_its_permit_past_the_end_of_a_month_is_priced_anew() -> None:
    """Money that was reserved in October does not pay an attempt that is made in November."""
    stage = Stage(birds(14))
    run_at(stage, "2026-10-10T12:00", job(max_images=12))
    # The clock is read at the start, and then only when attempts are due: as if the lid was closed in between.
    moments = iter([at("2026-10-31T12:00")] * 3)
    stage.clock = WallClock(lambda _now_s: next(moments, at("2026-11-02T12:00")))
    assert stage.run(job()).this_run.spent_micros == 2 * DEAR
    assert stage.checkpoint.opened.totals.month_use.month == "2026-11"


@settings(max_examples=40, deadline=None)
@given(
    steps_s=st.lists(st.sampled_from([-40 * 86400.0, -600.0, -2.0, 0.0, 2.0, 600.0, 40 * 86400.0]), max_size=8),
    seed=st.integers(0, 20),
)
def test_no_jump_of_the_clock_lowers_a_price(steps_s: list[float], seed: int) -> None:
    """With a clock that jumps to and fro, calls count from the moment at which it last showed another month."""
    stage, now_s, month, billed = Stage(birds(60), seed=seed), at("2026-11-01T00:00:01"), "", 0
    for index, step_s in enumerate(steps_s, 1):
        now_s += step_s
        period = period_at(now_s)
        month, billed = period.month, billed if period.month == month else 0
        stage.clock = WallClock(partial(_constant, now_s))
        first = 1 if period.is_ending else billed + 1
        expected = 7 * DEAR if period.is_ending else sum(price(nth) for nth in range(first, first + 7))
        assert stage.run(job(max_images=7 * index)).this_run.spent_micros == expected
        billed += 7
        assert stage.checkpoint.opened.totals.month_use == MonthUse(month=month, calls=billed)


def test_a_clock_that_goes_back_begins_the_month_anew() -> None:
    """October's calls do not make October cheap again once the clock has shown November."""
    stage = Stage(birds(80))
    run_at(stage, "2026-10-30T12:00", job(max_images=20))
    run_at(stage, "2026-11-01T00:00:30", job(max_images=22))
    assert run_at(stage, "2026-10-31T23:00:00", job(max_images=24)) == 2 * DEAR
    assert run_at(stage, "2026-11-01T00:00:30", job(max_images=26)) == 2 * DEAR


def test_a_kill_lowers_no_price() -> None:
    """What a killed run had reserved counts as spent, and does not move the next run into a cheaper tier."""
    stage = Stage(birds(60))
    stage.clock = LoopClock(at("2026-11-10T12:00"))
    assert stage.run_and_die(job(tps=5), 1.5)
    use = stage.checkpoint.opened.totals.month_use
    calls = stage.detector.attempts.total()
    assert use.calls <= calls
    spent = stage.run(job()).this_run.spent_micros
    assert spent >= (10 - use.calls) * DEAR + (60 - calls - 10 + use.calls) * CHEAP


@pytest.mark.parametrize("pricing", [{"tiers": [{"up_to": None, "usd": 0}]}, {}])
def test_a_kill_bills_no_free_call(pricing: dict[str, Any]) -> None:
    """Calls of a free detector that are in flight at a kill are not billed afterwards."""
    stage = Stage(birds(300))
    assert stage.run_and_die(make_job(pricing=pricing), 4.0)
    totals = stage.checkpoint.opened.totals
    assert stage.detector.attempts.total()
    assert (totals.billed_calls, totals.spent_micros) == (0, 0)


# -- pricing.used_this_month -------------------------------------------------------------------------------------------


def test_what_was_used_elsewhere_counts_in_the_month_in_which_it_was_said() -> None:
    """A value counts until the month ends; then only another value counts, and a warning says so."""
    stage = Stage(birds(90))
    said = job({"used_this_month": 8}, max_images=4)
    assert run_at(stage, "2026-10-30T12:00", said) == 2 * DEAR + 2 * CHEAP
    assert run_at(stage, "2026-10-31T12:00", job({"used_this_month": 8}, max_images=6)) == 2 * CHEAP
    assert not any(isinstance(event, JobWarning) for event in stage.events)
    assert run_at(stage, "2026-11-02T12:00", job({"used_this_month": 8}, max_images=8)) == 2 * DEAR
    assert [event.message for event in stage.events if isinstance(event, JobWarning)] == [
        USED_IS_OLD.format("pricing.used_this_month")
    ]
    assert run_at(stage, "2026-11-03T12:00", job({"used_this_month": 9}, max_images=10)) == 2 * CHEAP
    # Back again: a clock that was wrong does not make the value count once more.
    run_at(stage, "2026-12-01T12:00", job({"used_this_month": 9}, max_images=11))
    assert run_at(stage, "2026-11-03T12:00", job({"used_this_month": 9}, max_images=12)) == DEAR


# -- Arithmetic --------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)))  # noqa: DTZ001  hypothesis wants naive bounds
def test_a_period_holds_its_moment_and_touches_the_next(moment: datetime) -> None:
    """Periods are half open, without a gap, and the last five minutes of a month are one of their own."""
    unix_s = moment.replace(tzinfo=UTC).timestamp()
    period = period_at(unix_s)
    assert period.begins_s <= unix_s < period.ends_s <= period.month_ends_s
    assert period.month == f"{moment.year:04}-{moment.month:02}"
    following = period_at(period.ends_s)
    assert following.begins_s == period.ends_s
    assert following.is_ending is not period.is_ending
    assert (following.month == period.month) is following.is_ending


@pytest.mark.parametrize(
    ("stored", "used", "billed"),
    [
        (MonthUse(), 0, 0),
        (MonthUse(), 7, 7),
        (MonthUse(month="2026-11", calls=5), 0, 5),
        (MonthUse(month="2026-10", calls=5), 0, 0),
        (MonthUse(month="2026-12", calls=5), 0, 0),
        (MonthUse(month="2026-11", calls=5, used=7, is_used_counted=True), 7, 12),
        (MonthUse(month="2026-11", calls=5, used=7, is_used_counted=True), 8, 13),
        (MonthUse(month="2026-10", calls=5, used=7, is_used_counted=True), 7, 0),
        (MonthUse(month="2026-10", calls=5, used=7, is_used_counted=True), 8, 8),
        (MonthUse(month="2026-11", calls=5, used=7, is_used_counted=False), 7, 5),
    ],
)
def test_what_counts_when_a_run_begins(stored: MonthUse, used: int, billed: int) -> None:
    """Calls count in their own month only, and ``used_this_month`` where its value was first seen."""
    use = use_in("2026-11", stored, used)
    assert (use.month, use.used, use.billed) == ("2026-11", used, billed)


def test_a_call_in_flight_at_midnight_is_charged_what_was_held() -> None:
    """It counts in no month, so that it lowers the price of none."""
    budget = Budget(
        limit_micros=None,
        month_use=MonthUse(month="2026-10", calls=50),
        price_micros=price,
    )
    budget.grant(10 * DEAR)
    held = budget.reserve()
    budget.enter(period_at(at("2026-11-01T00:00")))
    held.commit()
    assert (budget.spent_micros, budget.billed_calls, budget.month_use) == (CHEAP, 1, MonthUse(month="2026-11"))
    assert budget.next_price_micros == DEAR
