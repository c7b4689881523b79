"""How fast attempts may be made: ramp, cut, measure, probe; the reason of every change is told.

The controller sees only what became of attempts and when they were sent. Four phases:

- Ramp: from a slow start the rate doubles every second up to the target.
- Measure: after a throttle the rate is lowered at once, then what is accepted of some seconds' attempts is counted.
  Throttled still: the rate becomes what was accepted. Not throttled: what is possible lies between the two rates.
- Hold: the rate stays.
- Probe: below the limit and undisturbed for 10, 20, 40 s, the rate tries 1 % more, then twice as much more every time
  that goes well, so that a quota that came back is used again within 30 s.

Invariants:

- The rate never passes the limit. A throttle lowers it at once, but once for all that was sent before it was lowered.
- Throttles that become no fewer when the rate falls (injected, or another's fault) do not keep it down.
- No state grows. Times are parameters, seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from asyncfilter.errors import ThrottleCause
from asyncfilter.model import RateChange
from asyncfilter.policy.sliding import SLOTS_PER_S, SlidingCount

START_TPS = 5.0
"""Where the ramp starts: the smallest quota that AWS gives DetectLabels in any region."""

HIGHEST_TPS = 20_000.0
"""The limit while none is known."""

LOWEST_TPS = 0.5
"""No cut goes below this, or the limit if that is lower: something must ask whether the service is back."""

_STEP_S = 1.0
_REVIEW_S = 0.05
_FIRST_WAIT_S = 10.0
_LAST_WAIT_S = 40.0
_FIRST_PROBE = 0.01
_SAMPLE = 50
"""Attempts from which a share of throttles is believed."""
_LONGEST_MEASURE_S = 5
_FORGET_S = 30.0
"""How long throttles are taken to be independent of the rate before that is tested again."""


@dataclass(slots=True)
class _Ramp:
    growth: float = 2.0
    stepped_s: float = -math.inf


@dataclass(slots=True)
class _Hold:
    since_s: float


@dataclass(slots=True)
class _Measure:
    since_s: float
    above_tps: float
    """The rate at which throttles came."""
    resume: tuple[float, _Ramp | None]
    """The rate before the throttles, and the ramp that they broke off."""
    span_s: int = 1
    share: float = 0.0
    """Share of throttles in the measurement before this one."""


@dataclass(slots=True)
class _Probe:
    base_tps: float
    stepped_s: float
    step: float = _FIRST_PROBE


class RateController:
    """Decides the rate of attempts from what becomes of them.

    Args:
        limit_tps: Quota times share, above 0; None when it is not known.
        start_tps: Where the ramp starts, if that is below the limit.

    Attributes:
        limit_tps: As given.
    """

    def __init__(self, limit_tps: float | None = None, *, start_tps: float = START_TPS) -> None:
        if limit_tps is not None and not limit_tps > 0:
            raise ValueError(f"limit must be above 0 attempts a second, not {limit_tps}")
        self.limit_tps = limit_tps
        self._limit = HIGHEST_TPS if limit_tps is None else min(limit_tps, HIGHEST_TPS)
        self._rate = min(start_tps, self._limit)
        self._target = self._limit
        self._phase: _Ramp | _Hold | _Measure | _Probe = _Ramp()
        self._tally = SlidingCount()
        self._changes: deque[RateChange] = deque(maxlen=1000)
        self._lag_s = 0.3
        self._reviewed_s = -math.inf
        self._cut_s = -math.inf
        self._throttled_s = -math.inf
        self._refused_since_s: float | None = None
        self._wait_s = _FIRST_WAIT_S
        self._background = 0.0
        self._background_s = -math.inf

    # -- what the limiter asks -------------------------------------------------------------------------------------

    def rate_tps(self, now_s: float) -> float:
        """The rate to keep from now on, attempts a second; ask it often, it is cheap."""
        if now_s - self._reviewed_s >= _REVIEW_S:
            self._reviewed_s = now_s
            self._review(now_s)
        return self._rate

    def changes(self) -> list[RateChange]:
        """The changes since this was asked last, oldest first; no more than the last thousand are kept."""
        drained = list(self._changes)
        self._changes.clear()
        return drained

    def unbroken_throttling_s(self, now_s: float) -> float:
        """For how long attempts have been throttled without a single one accepted, seconds; 0 when they are not."""
        return 0.0 if self._refused_since_s is None else now_s - self._refused_since_s

    # -- what the limiter tells ------------------------------------------------------------------------------------

    def accepted(self, now_s: float, sent_s: float) -> None:
        """The service took an attempt sent at ``sent_s``, whatever it answered."""
        self._refused_since_s = None
        self._lag_s += (now_s - sent_s - self._lag_s) * 0.02
        self._tally.add(sent_s)

    def throttled(self, now_s: float, cause: ThrottleCause, sent_s: float) -> None:
        """The service refused an attempt sent at ``sent_s`` for its rate."""
        self._tally.add(sent_s, throttled=True)
        self._throttled_s = now_s
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        if sent_s < self._cut_s + _STEP_S:  # a service that counts by the second still counts what went before the cut
            return
        match cause:
            case ThrottleCause.RATE:
                self._over(now_s, "over the quota")
            case ThrottleCause.S3_READ:
                self._over(now_s, "Rekognition's own reads from S3 are over their limit")
            case ThrottleCause.RAMP:
                self._back_off(now_s, 0.5, "sudden increase: a slower ramp", max(1.4, self._growth() ** 0.5))
            case ThrottleCause.SERVER:
                self._back_off(now_s, 1.0 - self._recent_share(now_s), "the service is short of capacity", 2.0)

    # -- cuts ------------------------------------------------------------------------------------------------------

    def _over(self, now_s: float, why: str) -> None:
        match self._phase:
            case _Measure():
                return
            case _Hold() | _Probe() if self._is_background(now_s):
                return
            case _Probe(base_tps=base_tps) if self._rate <= 1.1 * base_tps:
                self._wait_s = min(2 * self._wait_s, _LAST_WAIT_S)
                self._cut(now_s, base_tps, f"{why}: the probe was refused")
                self._phase = _Hold(now_s)
            case phase:
                above_tps = self._rate
                self._cut(now_s, above_tps * (1.0 - self._recent_share(now_s)), f"{why}: lowered and measured")
                resume = (above_tps, phase if isinstance(phase, _Ramp) else None)
                self._phase = _Measure(_slot_after(now_s), above_tps, resume)

    def _back_off(self, now_s: float, factor: float, why: str, growth: float) -> None:
        """Lower the rate without believing less of the quota; the ramp brings it back."""
        if isinstance(self._phase, _Measure):
            return
        self._cut(now_s, self._rate * factor, why)
        self._phase = _Ramp(growth, now_s)

    def _recent_share(self, now_s: float) -> float:
        """Share of throttles in the last second, or in the last ``_SAMPLE`` attempts if those took longer."""
        accepted, throttled = self._tally.between(now_s - max(_STEP_S, _SAMPLE / self._rate), now_s + 0.1)
        return min(0.5, max(0.005, throttled / max(accepted + throttled, _SAMPLE)))

    def _growth(self) -> float:
        return self._phase.growth if isinstance(self._phase, _Ramp) else 2.0

    # -- what time brings ------------------------------------------------------------------------------------------

    def _review(self, now_s: float) -> None:
        match self._phase:
            case _Ramp() as ramp:
                self._ramp(now_s, ramp)
            case _Hold() as hold:
                self._hold(now_s, hold)
            case _Measure() as measure:
                self._measure(now_s, measure)
            case _Probe() as probe:
                self._climb(now_s, probe)

    def _ramp(self, now_s: float, ramp: _Ramp) -> None:
        if self._rate >= self._target:
            self._phase = _Hold(now_s)
        elif ramp.stepped_s == -math.inf:
            ramp.stepped_s = now_s
        elif now_s - ramp.stepped_s >= _STEP_S and self._in_use(now_s):
            ramp.stepped_s = now_s if now_s - ramp.stepped_s >= 2 * _STEP_S else ramp.stepped_s + _STEP_S
            self._change(now_s, min(self._rate * ramp.growth, self._target), "ramp")

    def _hold(self, now_s: float, hold: _Hold) -> None:
        if now_s - self._background_s > _FORGET_S:
            self._background = 0.0
        if self._rate < self._limit and now_s - max(hold.since_s, self._throttled_s) >= self._wait_s:
            self._phase = _Probe(self._rate, now_s)
            self._change(now_s, self._rate * (1 + _FIRST_PROBE), "probe for more")

    def _climb(self, now_s: float, probe: _Probe) -> None:
        if self._rate >= self._limit:
            self._target, self._wait_s = self._limit, _FIRST_WAIT_S
            self._phase = _Hold(now_s)
        elif now_s - probe.stepped_s >= _STEP_S + self._lag_s and self._in_use(now_s):
            probe.stepped_s = now_s
            probe.step = min(2 * probe.step, 1.0)
            self._change(now_s, self._rate * (1 + probe.step), "probe for more")

    def _measure(self, now_s: float, measure: _Measure) -> None:
        until_s = measure.since_s + measure.span_s
        if now_s < until_s + 3 * self._lag_s:
            return
        accepted, throttled = self._tally.between(measure.since_s, until_s)
        total = accepted + throttled
        share = throttled / total if total else 0.0
        if total == 0:
            self._phase = _Measure(_slot_after(now_s), measure.above_tps, measure.resume)
        elif accepted == 0:
            self._cut(now_s, self._rate / 2, "nothing is accepted")
            self._phase = _Measure(_slot_after(now_s), self._rate, measure.resume)
        elif share <= self._tolerated(total):
            self._undisturbed(now_s, measure)
        elif total < _SAMPLE and measure.span_s < _LONGEST_MEASURE_S:
            measure.span_s += 1
        elif share >= measure.share / 2 > 0:
            self._unmoved(now_s, measure, share)
        else:
            self._settle(now_s, measure, share, accepted / measure.span_s)

    def _undisturbed(self, now_s: float, measure: _Measure) -> None:
        """No throttle at the lowered rate: go on with the ramp, or halfway back towards the rate that had them."""
        _, ramp = measure.resume
        gap_tps = measure.above_tps - self._rate
        if ramp is not None and measure.share == 0.0:
            ramp.stepped_s = now_s - _STEP_S
            self._phase = ramp
        elif gap_tps > 0.01 * self._rate:
            self._change(now_s, self._rate + gap_tps / 2, "undisturbed: halfway back")
            self._phase = _Measure(_slot_after(now_s), measure.above_tps, measure.resume)
        else:
            self._target = self._rate
            self._phase = _Hold(now_s)

    def _settle(self, now_s: float, measure: _Measure, share: float, accepted_tps: float) -> None:
        """Go down to what was accepted; where the rate was not used up, believe the share instead."""
        lower_tps = max(_likely_quota(accepted_tps, 1 / measure.span_s), self._rate * (1 - 2 * share))
        self._cut(now_s, min(self._rate * (1 - share / 2), lower_tps), "measured what is accepted")
        self._target = self._rate
        self._phase = _Measure(_slot_after(now_s + _STEP_S), self._rate, measure.resume, share=share)

    def _unmoved(self, now_s: float, measure: _Measure, share: float) -> None:
        """The cut made no difference, so that it was not the rate: go back, and take such a share as given."""
        self._background, self._background_s = max(share, measure.share), now_s
        rate_tps, ramp = measure.resume
        self._change(now_s, rate_tps, "throttles do not depend on the rate")
        self._target = rate_tps
        self._phase = ramp or _Hold(now_s)

    # -- judgement -------------------------------------------------------------------------------------------------

    def _is_background(self, now_s: float) -> bool:
        if not self._background:
            return False
        until_s = now_s - 3 * self._lag_s
        accepted, throttled = self._tally.between(until_s - max(_STEP_S, _SAMPLE / self._rate), until_s)
        total = accepted + throttled
        return throttled <= total * self._tolerated(total)

    def _tolerated(self, total: int) -> float:
        """Largest share of throttles among ``total`` attempts that the known background explains (two sigma)."""
        return self._background + 2 * math.sqrt(self._background / total) if total else 1.0

    def _in_use(self, now_s: float) -> bool:
        """Whether the rate is really made use of: one that is not proves nothing."""
        accepted, _ = self._tally.between(now_s - self._lag_s - _STEP_S, now_s - self._lag_s)
        return accepted >= 0.25 * self._rate

    # -- changes ---------------------------------------------------------------------------------------------------

    def _cut(self, now_s: float, rate_tps: float, why: str) -> None:
        self._cut_s = now_s
        self._change(now_s, max(rate_tps, min(self._limit, LOWEST_TPS)), why)

    def _change(self, now_s: float, rate_tps: float, why: str) -> None:
        new_tps = min(rate_tps, self._limit)
        if new_tps != self._rate:
            self._changes.append(RateChange(at_s=now_s, old_tps=self._rate, new_tps=new_tps, reason=why))
            self._rate = new_tps


def _likely_quota(accepted_tps: float, uncertain_tps: float) -> float:
    """Quotas are whole numbers: take the nearest where counting could not have told the difference."""
    nearest = float(round(accepted_tps))
    return nearest if nearest >= 1 and abs(nearest - accepted_tps) <= uncertain_tps else accepted_tps


def _slot_after(now_s: float) -> float:
    return math.ceil(now_s * SLOTS_PER_S) / SLOTS_PER_S
