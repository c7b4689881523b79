"""Rate control: how fast attempts may be made, by ramp, cut, measure and probe; every change has a reason.

The input of the controller is the result of each attempt and the time it was sent. Four phases:

- Ramp: the rate doubles every second up to shortly below the target, and goes to the target three seconds later. A
  throttle cuts the rate by the share of throttles; many throttles start a measurement.
- Measure: at a rate just lowered, the accepted attempts of one second (or a few) are counted. Still throttled: the rate
  becomes the rate accepted. No longer throttled: the rate goes halfway back to the former one.
- Hold: the rate stays; a throttle starts a measurement.
- Probe: below the limit and undisturbed for 10, 20, 40 s (and 200 attempts), the rate rises by 1 %, then by 2, 4 and 8
  %. A throttle ends it halfway to the last rate without one. Without any, a ramp follows, so that a quota that was
  restored is used again within 30 s; it is slower, since the stored tokens of a bucket may have hidden the quota from
  the probe.

Invariants:

- The rate never exceeds the limit. A throttle lowers it at once, but only once for all attempts sent up to a second
  after the cut: a service that counts by the second still counts the attempts before it.
- Throttles that do not become fewer when the rate falls (injected, or caused by another client) do not keep it low.
- No state grows. Times are parameters, seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from asyncfilter.errors import ThrottleCause
from asyncfilter.model import RateChange
from asyncfilter.policy.sliding_window import OVER, UNWELL, SlidingCount, WindowCounts, slot_from

START_TPS = 5.0
"""Where the ramp starts: the smallest quota that AWS gives DetectLabels in any region."""

HIGHEST_TPS = 20_000.0
"""The limit used while none is known."""

LOWEST_TPS = 1.0
"""No cut goes below this, or half the limit if that is lower: without attempts, recovery could not be detected."""

_STEP_S = 1.0
"""Length of a step; also the time over which services count their quotas."""
_REVIEW_S = 0.05
_DOUBLE = 2.0
_LAST_STEP = 0.05
"""The last step of a ramp, as a fraction of the target. While calls in flight double, attempts wait for new connections
and arrive late, together with later ones; the step leaves room for these."""
_LAST_STEP_S = 3.0
"""Time before that step, seconds: the slowest calls in flight have come to their number."""
_CROWD_TPS = 100
"""The rate from which that step is more than a few attempts; below it, there is no last step."""
_SLOWER = 1.4
"""Growth of a ramp after a probe, and after a throttle for too sudden an increase."""
_MANY = 0.15
"""Share of throttles that ends a ramp."""
_SAMPLE = 50
"""The fewest attempts from which a share of throttles is computed."""
_EVIDENCE = 5
"""The fewest throttles from which their share counts as measured, and the fewest attempts whose acceptance does."""
_COUNTED = 100
"""The fewest accepted attempts from which their rate counts as measured."""
_LONGEST_MEASURE_S = 5
_NEAR = 0.01
"""A share of the rate that no further measurement is made for; the next probe covers it."""
_FINE = 0.005
"""The same at the limit: few throttles there come from elsewhere, and the next probe is ten seconds away."""
_PROBES = (0.01, 0.02, 0.04, 0.08)
_PROBE_ATTEMPTS = 10
"""The fewest attempts in a step of a probe: fewer would not exceed a quota by so small a step."""
_PATIENCE_S = (10.0, 20.0, 40.0)
_APART_ATTEMPTS = 200
"""The fewest attempts between probes: the one attempt that a probe loses is then half a percent of them."""
_FORGET_S = 30.0
"""How long throttles count as independent of the rate before that is tested again."""


@dataclass(slots=True)
class _Ramp:
    stepped_s: float
    growth: float = _DOUBLE
    follows_probe: bool = False


@dataclass(slots=True)
class _Hold:
    since_s: float


@dataclass(slots=True)
class _Measure:
    since_s: float
    above_tps: float
    """The rate that was throttled."""
    origin: tuple[float, float]
    """Rate and target before the first of these measurements."""
    share: float = 0.0
    """The share of throttles that caused this repeated measurement; 0 in the first one."""
    known: bool = False
    """True when that share was measured on enough throttles (``_EVIDENCE``)."""
    span_s: int = 1


@dataclass(slots=True)
class _Probe:
    base_tps: float
    """The rate before it."""
    accepted_tps: float
    """The highest rate that was accepted for certain."""
    stepped_s: float
    step: int = 0

    @property
    def kept_tps(self) -> float:
        """The rate to keep where the next step is refused: stored tokens of a bucket may have let the last one pass."""
        return (self.base_tps + self.accepted_tps) / 2


class RateController:
    """Decides the rate of attempts from their results.

    Args:
        limit_tps: Quota times share, above 0; None when it is not known.
        start_tps: Where the ramp starts, if that is below the limit.

    Attributes:
        limit_tps: As given.

    Raises:
        ValueError: ``limit_tps`` is not above 0.
    """

    def __init__(self, limit_tps: float | None = None, *, start_tps: float = START_TPS) -> None:
        if limit_tps is not None and not limit_tps > 0:
            raise ValueError(f"limit must be above 0 attempts a second, not {limit_tps}")
        self.limit_tps = limit_tps
        self._limit = HIGHEST_TPS if limit_tps is None else min(limit_tps, HIGHEST_TPS)
        self._rate = min(start_tps, self._limit)
        self._target = self._limit  # where a ramp ends: the highest rate that seems possible
        self._proven = 0.0  # the highest rate that was accepted for certain
        # The first step is timed from the first review, not from the creation of the controller.
        self._phase: _Ramp | _Hold | _Measure | _Probe = _Ramp(math.inf)
        self._tally = SlidingCount()
        self._changes: deque[RateChange] = deque(maxlen=1000)
        self._lag_s = 0.3  # from attempt to answer, moving mean
        self._reviewed_s = -math.inf
        self._cut_s = -math.inf
        self._throttled_s = -math.inf
        self._refused_since_s: float | None = None
        self._refusals = 0  # of probes, in a row
        self._background = 0.0  # share of throttles that does not depend on the rate
        self._background_s = -math.inf

    def rate_tps(self, now_s: float) -> float:
        """The rate to keep from now on, attempts a second; to be read often, because it rises with time."""
        if now_s - self._reviewed_s >= _REVIEW_S:
            self._reviewed_s = now_s
            self._review(now_s)
        return self._rate

    def accepted(self, now_s: float, sent_s: float) -> None:
        """Count an attempt sent at ``sent_s`` that the service did not throttle, whatever its response."""
        self._refused_since_s = None
        # 0.02: a mean over some 50 attempts, so that one slow response hardly moves it.
        self._lag_s += (now_s - sent_s - self._lag_s) * 0.02
        # By the time of sending: services count attempts when these arrive, not when they are answered.
        self._tally.add(sent_s)

    def throttled(self, now_s: float, cause: ThrottleCause, sent_s: float) -> None:
        """Count an attempt sent at ``sent_s`` that the service throttled, and lower the rate where that follows."""
        over = cause in (ThrottleCause.RATE, ThrottleCause.S3_READ)
        self._tally.add(sent_s, OVER if over else UNWELL)
        if not self._background:
            # Throttles that do not depend on the rate do not end a quiet time: with them no probe would ever begin.
            self._throttled_s = now_s
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        # Sent before the cut, or counted by the service together with attempts before it: no evidence about the new
        # rate.
        if sent_s < self._cut_s + _STEP_S:
            return
        match cause:
            case ThrottleCause.RATE:
                self._over(now_s, "over the quota")
            case ThrottleCause.S3_READ:
                self._over(now_s, "Rekognition reads from S3 faster than it may")
            case ThrottleCause.RAMP:
                self._back_off(now_s, 2.0, "too sudden an increase: a slower ramp", _SLOWER)
            case ThrottleCause.SERVER:
                self._back_off(now_s, 1.0, "the service is short of capacity", _DOUBLE)

    def unbroken_throttling_s(self, now_s: float) -> float:
        """For how long attempts have been throttled without a single one accepted, seconds; 0 when they are not."""
        return 0.0 if self._refused_since_s is None else now_s - self._refused_since_s

    def stood_still(self, delay_s: float) -> None:
        """Leave the last ``delay_s`` out of ``unbroken_throttling_s``, because no attempt could be made."""
        if self._refused_since_s is not None:
            self._refused_since_s += delay_s

    def changes(self) -> list[RateChange]:
        """The changes since the last call, oldest first; at most the last thousand are kept."""
        drained = list(self._changes)
        self._changes.clear()
        return drained

    def _over(self, now_s: float, why: str) -> None:
        """The rate is above the quota: cut it at once, then measure how far."""
        if isinstance(self._phase, _Measure) or self._is_background(now_s):
            return
        above_tps = self._rate
        if isinstance(self._phase, _Probe):
            self._refusals += 1
            self._cut(now_s, self._phase.kept_tps, f"{why}: the probe is refused")
            self._phase = _Hold(now_s)
            return
        self._cut(now_s, above_tps * (1 - self._recent_share(now_s)), why)
        # A ramp goes on with the lowered rate; `_ramp` starts the measurement when there are many throttles.
        if isinstance(self._phase, _Hold):
            self._phase = _Measure(slot_from(now_s), above_tps, (above_tps, self._target))

    def _back_off(self, now_s: float, weight: float, why: str, growth: float) -> None:
        """The rate is within the quota but not possible now: cut it, and let the ramp raise it again."""
        if not isinstance(self._phase, _Measure):
            self._cut(now_s, self._rate * (1 - weight * self._recent_share(now_s)), why)
            self._phase = _Ramp(self._phase.stepped_s if isinstance(self._phase, _Ramp) else now_s, growth)

    def _recent_share(self, now_s: float) -> float:
        """The size of a cut: the share of throttles in the last second, or in the last ``_SAMPLE`` attempts."""
        # One slot more: `between` leaves out the current slot, which may hold the throttle that causes this cut.
        seen = self._tally.between(now_s - max(_STEP_S, _SAMPLE / self._rate), now_s + 1 / 10)
        return min(0.25, max(0.005, seen.refused / max(seen.total, _SAMPLE)))

    def _review(self, now_s: float) -> None:
        if self._is_outage(now_s):
            self._cut(now_s, self._rate / 2, "nothing is accepted")
            self._phase = _Ramp(now_s)
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
        ramp.stepped_s = min(ramp.stepped_s, now_s)
        if self._rate >= self._target:
            self._phase = _Hold(now_s)
            return
        # Where there is no last step, every rate is below this one.
        shy_tps = self._target * (1 - _LAST_STEP) if self._target >= _CROWD_TPS else math.inf
        if now_s - ramp.stepped_s < (_STEP_S if self._rate < shy_tps else _LAST_STEP_S):
            return
        seen = self._tally.between(max(ramp.stepped_s, now_s - _STEP_S - 2 * self._lag_s), now_s)
        # At least 20: three throttles or fewer never end a ramp.
        few = max(seen.total, 20) * _MANY
        if seen.over > few and seen.accepted:
            self._refusals += ramp.follows_probe
            self._phase = _Measure(slot_from(now_s), self._rate, (self._rate, self._target))
        elif self._in_use(now_s) and seen.refused <= few:
            # Steps keep their times when a review is late; after a pause the next step is half a second away at least.
            ramp.stepped_s = max(ramp.stepped_s + _STEP_S, now_s - _STEP_S / 2)
            top_tps = min(shy_tps, self._target) if self._rate < shy_tps else self._target
            self._change(now_s, min(self._rate * ramp.growth, top_tps), "ramp")

    def _hold(self, now_s: float, hold: _Hold) -> None:
        quiet_s = now_s - max(hold.since_s, self._throttled_s)
        if now_s - self._background_s > _FORGET_S:
            self._background = 0.0
        if quiet_s > _STEP_S:
            # A token bucket of the service, of up to one second, may have contributed to what was accepted.
            self._proven = max(self._proven, self._rate * (1 - _STEP_S / quiet_s))
        # Far below what was accepted before: the shortest patience, so that a restored quota is in use within 30 s.
        fallen = self._rate < 0.9 * self._proven
        patience_s = _PATIENCE_S[0]
        if not fallen:
            patience_s = max(_PATIENCE_S[min(self._refusals, len(_PATIENCE_S) - 1)], _APART_ATTEMPTS / self._rate)
        if self._rate < self._limit and quiet_s >= patience_s:
            self._phase = _Probe(self._rate, self._rate, now_s)
            self._change(now_s, self._rate * (1 + _PROBES[0]), "probe for more")

    def _climb(self, now_s: float, probe: _Probe) -> None:
        step_s = max(_STEP_S, _PROBE_ATTEMPTS / self._rate) + self._lag_s
        if now_s - probe.stepped_s < step_s or not self._in_use(now_s):
            return
        # Fewer attempts beyond the last such rate could all have been within the quota by chance.
        if (self._rate - probe.accepted_tps) * (now_s - probe.stepped_s) >= _EVIDENCE:
            probe.accepted_tps = self._rate
        probe.stepped_s = now_s
        probe.step += 1
        if probe.step < len(_PROBES):
            self._change(now_s, self._rate * (1 + _PROBES[probe.step]), "probe for more")
        else:
            self._target = self._limit
            # Dated back by a step, so that the ramp rises at the next review.
            self._phase = _Ramp(now_s - _STEP_S, _SLOWER, follows_probe=True)

    def _measure(self, now_s: float, measure: _Measure) -> None:
        if now_s < measure.since_s + measure.span_s + 3 * self._lag_s:  # nearly all responses have arrived
            return
        seen = self._tally.between(measure.since_s, measure.since_s + measure.span_s)
        if not seen.accepted:
            measure.since_s = slot_from(now_s)
        elif measure.span_s < _LONGEST_MEASURE_S and not self._conclusive(seen, measure):
            measure.span_s += 1
        elif self._tolerated(seen):
            self._undisturbed(now_s, measure)
        elif seen.over >= seen.total * measure.share / 2 > 0:
            self._unmoved(now_s, measure)
        else:
            self._settle(now_s, measure, seen)

    def _conclusive(self, seen: WindowCounts, measure: _Measure) -> bool:
        if measure.share:
            return seen.total * measure.share >= _EVIDENCE
        return self._tolerated(seen) or (seen.over >= _EVIDENCE and seen.accepted >= _COUNTED)

    def _settle(self, now_s: float, measure: _Measure, seen: WindowCounts) -> None:
        """Lower the rate to what was accepted or, where the rate was not used up, by the share of throttles."""
        share = seen.over / seen.total
        excess = max(share - self._background, 0.0)
        measured_tps = _likely_quota(seen.accepted / (1 - self._background), measure.span_s)
        above_tps = self._rate
        possible_tps = max(measured_tps, above_tps * (1 - 2 * excess))
        known = seen.over >= _EVIDENCE
        self._cut(now_s, min(possible_tps, above_tps * (1 - excess / 2)), "what is accepted was measured")
        self._target = self._rate if known else above_tps
        # A second later: the service may still count attempts from before this cut.
        self._phase = _Measure(slot_from(now_s + _STEP_S), above_tps, measure.origin, share, known)

    def _undisturbed(self, now_s: float, measure: _Measure) -> None:
        """Keep the lowered rate or, if a higher one may be possible, go halfway back."""
        gap_tps = measure.above_tps - self._rate
        if not measure.known and measure.above_tps < self._target:
            self._phase = _Ramp(now_s - _STEP_S)
        elif measure.known or gap_tps <= (_FINE if measure.above_tps >= self._limit else _NEAR) * self._rate:
            self._target = self._rate
            self._phase = _Hold(now_s)
        else:
            self._change(now_s, self._rate + gap_tps / 2, "undisturbed: halfway back")
            self._phase = _Measure(slot_from(now_s), measure.above_tps, measure.origin)

    def _unmoved(self, now_s: float, measure: _Measure) -> None:
        """The cut changed nothing, so the rate is not the cause: restore it, and record the share as background."""
        self._background, self._background_s = measure.share, now_s
        rate_tps, self._target = measure.origin
        self._change(now_s, rate_tps, "the throttles do not depend on the rate")
        self._phase = _Ramp(now_s)

    def _is_outage(self, now_s: float) -> bool:
        """Whether nothing was accepted for so long, at this rate, that the cause is an outage and not the quota."""
        if self._refused_since_s is None:
            return False
        since_s = max(self._refused_since_s, self._cut_s)
        return now_s - since_s >= max(_STEP_S, 3 / self._rate) + 2 * self._lag_s

    def _is_background(self, now_s: float) -> bool:
        if not self._background:
            return False
        # Up to here nearly all responses have arrived, as in `_measure`; later attempts would be counted in part.
        until_s = now_s - 3 * self._lag_s
        return self._tolerated(self._tally.between(until_s - max(_STEP_S, _SAMPLE / self._rate), until_s))

    def _tolerated(self, seen: WindowCounts) -> bool:
        """Whether the known background share explains these throttles, within three standard deviations."""
        expected = self._background * seen.total
        return seen.over <= expected + 3 * math.sqrt(expected)

    def _in_use(self, now_s: float) -> bool:
        """Whether the rate is used to at least a quarter; otherwise nothing follows from missing throttles."""
        seen = self._tally.between(now_s - self._lag_s - _STEP_S, now_s - self._lag_s)
        return seen.accepted >= 0.25 * self._rate

    def _cut(self, now_s: float, rate_tps: float, why: str) -> None:
        self._cut_s = now_s
        self._change(now_s, max(rate_tps, min(self._limit / 2, LOWEST_TPS)), why)

    def _change(self, now_s: float, rate_tps: float, why: str) -> None:
        new_tps = min(rate_tps, self._limit)
        if new_tps != self._rate:
            self._changes.append(RateChange(at_s=now_s, old_tps=self._rate, new_tps=new_tps, reason=why))
            self._rate = new_tps


def _likely_quota(accepted: float, span_s: int) -> float:
    """The nearest whole number, as quotas are, where it is within the error of the count; else the rate counted."""
    counted_tps = (accepted + 0.5) / span_s
    nearest = float(round(counted_tps))
    return nearest if nearest >= 1 and abs(nearest - counted_tps) <= 1 / span_s else counted_tps
