"""The rate against simulated services: the used share of a quota, the throttles, and the recovery after cuts.

A discrete-event simulation: an endless queue, timers of a millisecond, quotas counted where attempts arrive, answers
after 300 ms with a lognormal tail, throttles after 30 to 50 ms. Times are simulated; nothing here is measured.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from asyncfilter.errors import ThrottleCause
from asyncfilter.model import RateChange
from asyncfilter.policy.pacing import Pacer
from asyncfilter.policy.rate import START_TPS, RateController
from asyncfilter.sandbox.throttle import Quota, SlidingWindow, TokenBucket

RATE, RAMP, S3_READ, SERVER = ThrottleCause.RATE, ThrottleCause.RAMP, ThrottleCause.S3_READ, ThrottleCause.SERVER


class Attempt(NamedTuple):
    at_s: float
    accepted: bool


class Simulation:
    """The attempts and rate changes of a simulation."""

    def __init__(self, attempts: list[Attempt], changes: list[RateChange], controller: RateController) -> None:
        self.attempts = attempts
        self.changes = changes
        self.controller = controller

    def share(self, quota_tps: float, since_s: float, until_s: float) -> float:
        accepted = sum(attempt.accepted for attempt in self.attempts if since_s <= attempt.at_s < until_s)
        return accepted / (quota_tps * (until_s - since_s))

    def throttled(self, since_s: float, until_s: float) -> float:
        answers = [attempt.accepted for attempt in self.attempts if since_s <= attempt.at_s < until_s]
        return answers.count(False) / len(answers)

    @property
    def last_throttle_s(self) -> float:
        return max(attempt.at_s for attempt in self.attempts if not attempt.accepted)


def simulate(
    service: Quota,
    limit_tps: float | None,
    seconds: float,
    *,
    seed: int = 1,
    cause: Callable[[float, Random], ThrottleCause | None] = lambda at_s, rng: None,
    throttles_mean: ThrottleCause = RATE,
) -> Simulation:
    """Attempt as fast as the controller allows; ``cause`` may refuse an attempt before the service sees it."""
    rng = Random(seed)
    controller = RateController(limit_tps)
    pacer = Pacer(controller.rate_tps(0.0))
    answers: list[tuple[float, int, float, ThrottleCause | None]] = []
    attempts: list[Attempt] = []
    now_s = 0.0
    while now_s < seconds:
        while answers and answers[0][0] <= now_s:
            at_s, _, sent_s, refusal = heapq.heappop(answers)
            if refusal is None:
                controller.accepted(at_s, sent_s)
            else:
                controller.throttled(at_s, refusal, sent_s)
        pacer.set_rate(controller.rate_tps(now_s), now_s)
        while pacer.take(now_s):
            refusal = cause(now_s, rng) or (None if service.admit(now_s) else throttles_mean)
            attempts.append(Attempt(now_s, refusal is None))
            lasts_s = 0.3 * math.exp(rng.gauss(0, 0.5)) if refusal is None else rng.uniform(0.03, 0.05)
            heapq.heappush(answers, (now_s + lasts_s, len(attempts), now_s, refusal))
        due_s = min(max(pacer.due_s, now_s + 0.001), now_s + 0.5)
        now_s = math.ceil(due_s * 1000) / 1000 + rng.random() * 0.0005
    return Simulation(attempts, controller.changes(), controller)


def during(
    since_s: float, until_s: float, cause: ThrottleCause, share: float = 1.0
) -> Callable[[float, Random], ThrottleCause | None]:
    """Refuse this share of the attempts between two times, for this cause."""
    return lambda at_s, rng: cause if since_s <= at_s < until_s and rng.random() < share else None


def bucket(quota_tps: float) -> TokenBucket:
    """A quota on average, with a burst of a tenth of a second."""
    return TokenBucket(quota_tps, burst=0.1 * quota_tps)


SERVICES: list[Callable[[float], Quota]] = [bucket, SlidingWindow]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("quota_tps", "least"), [(5, 0.97), (50, 0.985), (500, 0.985), (2000, 0.98)])
def test_a_known_quota_is_used_without_throttles(
    service: Callable[[float], Quota], quota_tps: int, least: float
) -> None:
    """After the ramp the stated share of the quota is used; at most one attempt in a thousand is throttled."""
    simulation = simulate(service(quota_tps), quota_tps, 22)
    assert simulation.share(quota_tps, 12, 22) >= least
    assert simulation.throttled(0, 22) <= 0.001


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("quota_tps", "seeds"), [(25, 3), (50, 3), (333, 2), (500, 1), (2000, 1)])
def test_an_unknown_quota_or_half_the_one_set_is_found(
    service: Callable[[float], Quota], known: bool, quota_tps: int, seeds: int
) -> None:
    """From 15 s on .97 of the quota is used; at most one attempt in two hundred is throttled, or one of a probe."""
    for seed in range(1, seeds + 1):
        simulation = simulate(service(quota_tps), 2 * quota_tps if known else None, 30, seed=seed)
        assert simulation.share(quota_tps, 15, 30) >= 0.97
        assert simulation.throttled(15, 30) <= 0.005


@pytest.mark.parametrize("limit_tps", [10, None])
def test_a_small_unknown_quota_is_nearly_found(limit_tps: float | None) -> None:
    """At 5 a second every throttle is 1.4 % of the attempts: no more than one, and .9 of the quota used."""
    for service in SERVICES:
        simulation = simulate(service(5), limit_tps, 30)
        assert simulation.share(5, 15, 30) >= 0.9
        assert sum(not attempt.accepted for attempt in simulation.attempts if attempt.at_s >= 15) <= 1


def test_the_ramp_starts_slowly_and_doubles_every_second() -> None:
    """The ramp begins at 5 a second, with one step a second, up to the limit; before the last step it waits longer."""
    simulation = simulate(bucket(300), 300, 12)
    assert [round(change.new_tps) for change in simulation.changes] == [10, 20, 40, 80, 160, 285, 300]
    assert {change.reason for change in simulation.changes} == {"ramp"}
    steps = [
        later.at_s - earlier.at_s for earlier, later in zip(simulation.changes, simulation.changes[1:], strict=False)
    ]
    assert all(0.7 <= step_s <= 1.3 for step_s in steps[:-1])
    assert 2.7 <= steps[-1] <= 3.3


@pytest.mark.parametrize("limit_tps", [0.05, 1, 4.5, START_TPS])
def test_a_limit_below_the_start_is_the_rate_from_the_first_second(limit_tps: float) -> None:
    """A rate below the ramp's beginning needs no ramp."""
    controller = RateController(limit_tps)
    assert controller.rate_tps(100.0) == limit_tps
    assert controller.rate_tps(160.0) == limit_tps
    assert controller.changes() == []


def test_a_rate_that_is_not_used_is_not_raised() -> None:
    """Without accepted attempts the ramp does not continue."""
    controller = RateController(500)
    assert [controller.rate_tps(second) for second in range(60)] == [START_TPS] * 60


@pytest.mark.parametrize("cause", list(ThrottleCause))
@pytest.mark.parametrize("limit_tps", [0.5, 5, 50, 2000])
def test_a_throttle_lowers_the_rate_at_once(cause: ThrottleCause, limit_tps: float) -> None:
    """Every cause of a throttle lowers the rate at once, and the change is reported with its reason."""
    controller = RateController(limit_tps, start_tps=limit_tps)
    controller.rate_tps(0.0)
    controller.throttled(1.0, cause, 0.9)
    assert controller.rate_tps(1.0) < limit_tps
    [change] = controller.changes()
    assert (change.at_s, change.old_tps, change.new_tps) == (1.0, limit_tps, controller.rate_tps(1.0))
    assert controller.changes() == []


def test_each_cause_has_a_reason_of_its_own() -> None:
    """Over the quota, too sudden, Rekognition's reads from S3, short of capacity: four different reasons."""
    reasons = set()
    for cause in ThrottleCause:
        controller = RateController(50, start_tps=50)
        controller.throttled(1.0, cause, 0.9)
        reasons |= {change.reason for change in controller.changes()}
    assert len(reasons) == len(ThrottleCause)
    assert any("S3" in reason for reason in reasons)


def test_one_burst_of_throttles_is_one_cut() -> None:
    """Throttles of attempts sent before the cut, or within the second after it, count as one event."""
    controller = RateController(500, start_tps=500)
    controller.rate_tps(0.0)
    for number in range(100):
        controller.throttled(1.0 + number / 1000, RATE, 0.9 + number / 1000)
    assert len(controller.changes()) == 1


@pytest.mark.parametrize("cause", list(ThrottleCause))
@pytest.mark.parametrize("quota_tps", [50, 500])
@pytest.mark.parametrize("share", [0.01, 0.05])
def test_stray_throttles_do_not_collapse_the_rate(cause: ThrottleCause, quota_tps: int, share: float) -> None:
    """Random throttles at an otherwise free quota cost little more than themselves."""
    simulation = simulate(bucket(quota_tps), quota_tps, 60, cause=during(0, 60, cause, share))
    least = {RATE: 0.93, S3_READ: 0.93, SERVER: 0.9, RAMP: 0.8}[cause]
    assert simulation.share(quota_tps * (1 - share), 25, 60) >= least


@pytest.mark.parametrize("cause", list(ThrottleCause))
@pytest.mark.parametrize(("quota_tps", "limit_tps"), [(50, 50), (50, None), (1000, 1000)])
@pytest.mark.parametrize(("since_s", "until_s"), [(0, 15), (12, 20), (12, 40)])
def test_an_outage_is_over_thirty_seconds_after_its_last_throttle(
    cause: ThrottleCause, quota_tps: int, limit_tps: float | None, since_s: float, until_s: float
) -> None:
    """While all is throttled, early or late, the rate falls to a few a second, and then recovers fully."""
    simulation = simulate(bucket(quota_tps), limit_tps, until_s, cause=during(since_s, until_s, cause))
    assert simulation.changes[-1].new_tps < 0.3 * quota_tps
    simulation = simulate(bucket(quota_tps), limit_tps, until_s + 31, cause=during(since_s, until_s, cause))
    last_s = max(attempt.at_s for attempt in simulation.attempts if not attempt.accepted and attempt.at_s < until_s)
    assert simulation.share(quota_tps, last_s + 27, last_s + 30) >= 0.95


@pytest.mark.parametrize("quota_tps", [50, 500])
@pytest.mark.parametrize("low", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("since_s", [10, 15])
def test_a_quota_that_falls_is_followed_and_one_that_comes_back_is_used_again(
    quota_tps: int, low: float, since_s: int
) -> None:
    """While another program uses part of the quota for twenty seconds, the rest is used; afterwards all of it."""

    class SharedQuota:
        def __init__(self) -> None:
            self._whole, self._rest = bucket(quota_tps), bucket(quota_tps * low)

        def admit(self, at_s: float) -> bool:
            return (self._rest if since_s <= at_s < since_s + 20 else self._whole).admit(at_s)

    simulation = simulate(SharedQuota(), quota_tps, since_s + 54)
    assert simulation.share(quota_tps * low, since_s + 10, since_s + 20) >= 0.95
    assert simulation.throttled(since_s + 10, since_s + 20) <= 0.02
    assert simulation.share(quota_tps, since_s + 50, since_s + 54) >= 0.95


def test_a_probe_that_is_refused_keeps_what_was_accepted() -> None:
    """A quota that grows by less than a whole probe is used: the rate stays where the last step was not throttled."""
    quota_tps, grown_tps = 500, 525

    class GrowingQuota:
        def __init__(self) -> None:
            self._first, self._later = SlidingWindow(quota_tps), SlidingWindow(grown_tps)

        def admit(self, at_s: float) -> bool:
            return (self._first if at_s < 20 else self._later).admit(at_s)

    simulation = simulate(GrowingQuota(), 2 * quota_tps, 120)
    assert simulation.share(grown_tps, 60, 120) >= 0.97
    assert simulation.throttled(60, 120) <= 0.005


def test_stored_tokens_that_hide_the_quota_from_probes_cost_few_throttles() -> None:
    """A bucket of a whole second accepts each probe; the ramps that follow it are rare and gentle."""
    simulations = [simulate(TokenBucket(500), None, 180, seed=seed) for seed in (1, 2, 3)]
    assert all(simulation.share(500, 30, 180) >= 0.98 for simulation in simulations)
    assert sum(simulation.throttled(30, 180) for simulation in simulations) / len(simulations) <= 0.02


def test_a_refused_probe_costs_hardly_more_throttles_than_the_one_that_refuses_it() -> None:
    """A small quota with a bucket of a whole second: its tokens let steps of the probe pass that are above it."""
    for seed in range(1, 41):
        simulation = simulate(TokenBucket(50), None, 30, seed=seed)
        assert simulation.share(50, 15, 30) >= 0.97
        assert simulation.throttled(15, 30) <= 0.005


@pytest.mark.parametrize("quota_tps", [500, 2000])
def test_a_few_throttles_at_a_known_quota_are_forgotten(quota_tps: int) -> None:
    """The rate comes back to the limit by measurements, and not by a probe ten seconds later."""
    left = [4]

    def few(at_s: float, _rng: Random) -> ThrottleCause | None:
        if at_s < 12 or not left[0]:
            return None
        left[0] -= 1
        return RATE

    simulation = simulate(SlidingWindow(quota_tps), quota_tps, 24, cause=few)
    assert not left[0]
    assert simulation.share(quota_tps, 12, 24) >= 0.986


def test_a_sudden_increase_is_answered_by_a_slower_ramp_to_the_same_limit() -> None:
    """``RAMP`` throttles do not lower the estimate of the quota: the rate recovers, by smaller steps."""
    simulation = simulate(bucket(200), 200, 40, cause=during(5, 7, RAMP))
    after = [change for change in simulation.changes if change.at_s > 7.5]
    assert all(change.new_tps <= 1.5 * change.old_tps for change in after if change.reason == "ramp")
    assert simulation.share(200, 34, 40) >= 0.97


def test_unbroken_throttling_is_timed_from_its_first_throttle_to_the_first_acceptance() -> None:
    """The time without an accepted attempt, after ten minutes of which the engine stops a run."""
    controller = RateController(50)
    assert controller.unbroken_throttling_s(100.0) == 0
    controller.throttled(100.0, RATE, 99.9)
    controller.throttled(400.0, SERVER, 399.9)
    assert controller.unbroken_throttling_s(700.0) == 600
    controller.accepted(701.0, 700.5)
    assert controller.unbroken_throttling_s(702.0) == 0


def test_the_rate_stays_within_limit_and_minimum() -> None:
    """Under every mix of throttles the rate stays within the limit and above 0.5 a second."""
    for seed in range(5):
        mix = Random(seed)
        causes = [None, None, *ThrottleCause]

        def cause(
            at_s: float, rng: Random, mix: Random = mix, causes: list[ThrottleCause | None] = causes
        ) -> ThrottleCause | None:
            if rng.random() < 0.02:
                mix.shuffle(causes)
            return causes[0]

        simulation = simulate(SlidingWindow(30), 40, 60, seed=seed, cause=cause)
        assert all(0.5 <= change.new_tps <= 40 for change in simulation.changes)


def test_a_limit_must_be_above_zero() -> None:
    """A limit of zero is an error, not an endless run."""
    with pytest.raises(ValueError, match="above 0"):
        RateController(0)
