"""The statistical stop rules: their error bound holds for any number of checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job.spec import MAX_WINDOW, ErrorShare, HitRate, Limits, Stop
from asyncfilter.model import StopReason, Verdict
from asyncfilter.policy.sequential import is_surely_below, log_evidence
from asyncfilter.policy.stopping import stop_cause, stop_due
from asyncfilter.records.error_window import ErrorWindow
from asyncfilter.records.tally import Tally

Stops = Callable[[int, int], bool]
"""Whether a rule stops, for the hits and images so far."""


def stop_probability(stops: Stops, images: int, chance: Callable[[int, int], float]) -> float:
    """The probability that a rule that is checked after every image ever stops, computed exactly over all sequences.

    Args:
        stops: The rule.
        images: The number of images.
        chance: The probability that the next image is a hit, for the hits and images so far.
    """
    going, stopped = {0: 1.0}, 0.0
    for seen in range(images):
        following: dict[int, float] = {}
        for hits, probability in going.items():
            hit = chance(hits, seen)
            for more, part in ((1, hit), (0, 1 - hit)):
                following[hits + more] = following.get(hits + more, 0.0) + probability * part
        going = {}
        for hits, probability in following.items():
            if stops(hits, seen + 1):
                stopped += probability
            elif probability > 1e-15:
                going[hits] = probability
    return stopped


@pytest.mark.parametrize(("below", "confidence"), [(0.02, 0.95), (0.05, 0.99), (0.2, 0.9)])
def test_false_stops_stay_rare_under_peeking(below: float, confidence: float) -> None:
    """Checked after each of 2,000 images, the rule stops a source at the bound no more often than stated."""

    def stops(hits: int, seen: int) -> bool:
        return is_surely_below(below, confidence, hits=hits, trials=seen)

    probability = stop_probability(stops, 2000, lambda _hits, _seen: below)
    assert (1 - confidence) / 4 < probability <= 1 - confidence


@pytest.mark.parametrize(("size", "total"), [(100, 5), (1000, 100), (1000, 101), (1500, 30)])
def test_false_stops_stay_rare_without_replacement(size: int, total: int) -> None:
    """The same for ``order: random``, which draws from one bucket without replacement, to its end."""
    below, confidence = min(total / size, 0.1), 0.9

    def stops(hits: int, seen: int) -> bool:
        return is_surely_below(below, confidence, hits=hits, trials=seen)

    assert stop_probability(stops, size, lambda hits, seen: (total - hits) / (size - seen)) <= 1 - confidence


def test_an_interval_for_a_single_check_is_not_enough() -> None:
    """The usual 95 % bound for a single check, checked after every image, stops falsely more than once in seven."""

    def stops(hits: int, seen: int) -> bool:
        share = hits / seen
        return seen >= 30 and share + 1.645 * (share * (1 - share) / seen) ** 0.5 < 0.2

    assert stop_probability(stops, 2000, lambda _hits, _seen: 0.2) > 1 / 7


def test_an_empty_source_is_left_soon() -> None:
    """Without any hit the default rule (2 % at 95 %) stops after about two hundred images, not thousands."""
    first = next(n for n in range(1, 1000) if is_surely_below(0.02, 0.95, hits=0, trials=n))
    assert 148 < first < 220  # a single check would need 148: 0.98 ** 148 <= 0.05


@given(
    below=st.floats(0.001, 0.999),
    confidence=st.floats(0.5, 0.9999),
    trials=st.integers(0, 5000),
    hits=st.integers(0, 5000),
)
def test_more_hits_only_delay(below: float, confidence: float, trials: int, hits: int) -> None:
    """A rule that stops with some hits stops with fewer, and never at or above the bound."""
    hits = min(hits, trials)
    if is_surely_below(below, confidence, hits=hits, trials=trials):
        assert hits / trials < below
        assert hits == 0 or is_surely_below(below, confidence, hits=hits - 1, trials=trials)


@given(rate=st.floats(0.01, 0.99), hits=st.integers(0, 300), misses=st.integers(0, 300), mean=st.floats(0.01, 0.99))
def test_evidence_is_a_martingale(rate: float, hits: int, misses: int, mean: float) -> None:
    """At the true rate the next image does not change the evidence on average, after any sequence (a martingale)."""
    from math import exp

    trials = hits + misses
    now = log_evidence(rate, hits, trials, mean=mean)
    after_hit = log_evidence(rate, hits + 1, trials + 1, mean=mean)
    after_miss = log_evidence(rate, hits, trials + 1, mean=mean)
    assert rate * exp(after_hit - now) + (1 - rate) * exp(after_miss - now) == pytest.approx(1, rel=1e-6)


@given(outcomes=st.lists(st.booleans(), max_size=80), window=st.integers(1, 30))
def test_error_window_as_counted_by_hand(outcomes: list[bool], window: int) -> None:
    """The window has the failures of the last images, and survives the checkpoint's JSON."""
    recent = ErrorWindow()
    for is_failure in outcomes:
        if is_failure:
            recent.count_failure()
        else:
            recent.count()
        recent = msgspec.json.decode(msgspec.json.encode(recent), type=ErrorWindow)
    assert recent.failures(window) == (sum(outcomes[-window:]) if len(outcomes) >= window else None)


def test_error_window_stays_small() -> None:
    """With any number of failures no more than the longest window is kept."""
    recent = ErrorWindow()
    for _ in range(3 * MAX_WINDOW):
        recent.count_failure()
    assert recent.failures(MAX_WINDOW) == len(recent.failed_at) == MAX_WINDOW
    copy = recent.copy()
    copy.count_failure()
    assert (recent.outcomes, len(recent.failed_at)) == (3 * MAX_WINDOW, MAX_WINDOW)


def tally_of(*, keep: int = 0, reject: int = 0, failed: int = 0, code: str = "unavailable") -> Tally:
    """A tally of these numbers of outcomes, the failures last."""
    tally = Tally()
    for verdict, times in ((Verdict.KEEP, keep), (Verdict.REJECT, reject)):
        for _ in range(times):
            tally.count_verdict(verdict)
    for _ in range(failed):
        tally.count_failure(code)
    return tally


def test_the_first_reason_in_order_is_named() -> None:
    """When all stop rules hold, the first in order is named; without it the next, and so on.

    See docs/guarantees.md, *Stop rules*.
    """
    tally = tally_of(keep=1, reject=300, failed=5)
    rules: dict[str, Any] = {
        "matches": 1,
        "misses_in_a_row": 3,
        "hit_rate": HitRate(below=0.5),
        "errors": ErrorShare(rate=0.5, window=5),
    }
    limits, named = Limits(max_images=3), []
    while rules:
        named.append(stop_due(tally, Stop(**rules), limits))
        del rules[next(iter(rules))]
    assert [*named, stop_due(tally, Stop(), limits)] == [
        StopReason.MATCHES,
        StopReason.MISSES_IN_A_ROW,
        StopReason.HIT_RATE,
        StopReason.ERRORS,
        StopReason.MAX_IMAGES,
    ]


@pytest.mark.parametrize(("rate", "window"), [(0.1, 30), (0.3, 10), (0.7, 10), (1.0, 7)])
def test_errors_stop_at_the_share_itself(rate: float, window: int) -> None:
    """The stated share stops, one failure less does not, independent of floating-point rounding."""
    enough = round(rate * window)
    stop = Stop(errors=ErrorShare(rate=rate, window=window))
    assert stop_due(tally_of(reject=window - enough, failed=enough), stop, Limits()) is StopReason.ERRORS
    assert stop_due(tally_of(reject=window - enough + 1, failed=enough - 1), stop, Limits()) is None


@pytest.mark.parametrize(("code", "exit_code"), [("access_denied", 4), ("kms_denied", 4), ("unavailable", 70)])
def test_errors_name_their_cause(code: str, exit_code: int) -> None:
    """The message has the most frequent cause; if that is access, the error is an access error."""
    tally = tally_of(reject=6, failed=4, code=code)
    cause = stop_cause(StopReason.ERRORS, tally, Stop(errors=ErrorShare(rate=0.4, window=10)))
    assert cause is not None
    assert cause.exit_code == exit_code
    assert "4 of the last 10" in cause.message
    assert code in cause.message


def test_a_failed_action_does_not_change_the_stop_rules() -> None:
    """Failed copies do not count: the rules count verdicts, so that a resumed run stops at the same image."""
    tally = tally_of(keep=2, reject=3)
    before = (tally.matches, tally.judged, tally.recent.failures(5))
    tally.count_failed_action(Verdict.KEEP, "unavailable")
    assert (tally.matches, tally.judged, tally.recent.failures(5)) == before
