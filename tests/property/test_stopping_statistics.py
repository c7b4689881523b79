"""The statistical stop rules: what they promise holds however often they are asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job.spec import MAX_WINDOW, ErrorShare, HitRate, Limits, Stop
from asyncfilter.model import StopReason, Verdict
from asyncfilter.policy.recent import Recent
from asyncfilter.policy.sequential import is_surely_below, log_evidence
from asyncfilter.policy.stopping import stop_cause, stop_due
from asyncfilter.policy.tally import Tally

PATHS = 2000


def most_hits_that_stop(below: float, confidence: float, horizon: int) -> list[int]:
    """By number of images: the most hits with which the rule says stop; -1 where none does."""
    most, found = -1, []
    for trials in range(horizon + 1):
        while is_surely_below(below, confidence, hits=most + 1, trials=trials):
            most += 1
        found.append(most)
    return found


def bernoulli(rng: random.Random, rate: float, horizon: int) -> Iterator[bool]:
    """Images of which each is a hit with the probability ``rate``."""
    return (rng.random() < rate for _ in range(horizon))


def is_stopped(images: Iterator[bool], most: list[int]) -> bool:
    """Whether the rule, asked after every image, ever stops."""
    hits = 0
    for trials, is_hit in enumerate(images, 1):
        hits += is_hit
        if hits <= most[trials]:
            return True
    return False


@pytest.mark.parametrize(("below", "confidence"), [(0.02, 0.95), (0.2, 0.9), (0.5, 0.8)])
def test_false_stops_stay_rare_under_peeking(below: float, confidence: float) -> None:
    """Asked after every image, of a source just rich enough the rule says stop at most once in 1 / (1 - confidence)."""
    horizon, rng = 2000, random.Random(7)
    most = most_hits_that_stop(below, confidence, horizon)
    stopped = sum(is_stopped(bernoulli(rng, below, horizon), most) for _ in range(PATHS))
    allowed = 1 - confidence
    assert stopped / PATHS <= allowed + 3 * (allowed * confidence / PATHS) ** 0.5
    assert stopped > 0, "a rule that never stops a borderline source is no test of the bound"


def test_false_stops_stay_rare_without_replacement() -> None:
    """The same for ``order: random``, which draws from one bucket without putting anything back, to its very end."""
    below, confidence, size = 0.1, 0.9, 1000
    population = [True] * int(below * size) + [False] * int((1 - below) * size)
    most, rng = most_hits_that_stop(below, confidence, size), random.Random(11)
    stopped = 0
    for _ in range(PATHS):
        rng.shuffle(population)
        stopped += is_stopped(iter(population), most)
    assert 0 < stopped / PATHS <= 1 - confidence + 3 * (0.1 * 0.9 / PATHS) ** 0.5


def test_one_look_interval_would_not_do() -> None:
    """The simulation can tell: the usual one-look bound, asked after every image, stops falsely far more often."""
    below, horizon, rng = 0.2, 2000, random.Random(7)

    def normal(hits: int, trials: int) -> bool:
        share = hits / trials
        return trials >= 30 and share + 1.645 * (share * (1 - share) / trials) ** 0.5 < below

    stopped = 0
    for _ in range(300):
        hits = 0
        for trials, is_hit in enumerate(bernoulli(rng, below, horizon), 1):
            hits += is_hit
            if normal(hits, trials):
                stopped += 1
                break
    assert stopped / 300 > 0.15


def test_an_empty_source_is_left_soon() -> None:
    """Without any hit the default question (2 % at 95 %) is settled after about two hundred images, not thousands."""
    first = next(n for n in range(1, 1000) if is_surely_below(0.02, 0.95, hits=0, trials=n))
    assert 148 < first < 220  # 148 is what a single look would need: 0.98 ** 148 <= 0.05


@given(
    below=st.floats(0.001, 0.999),
    confidence=st.floats(0.5, 0.9999),
    trials=st.integers(0, 5000),
    hits=st.integers(0, 5000),
)
def test_more_hits_only_delay(below: float, confidence: float, trials: int, hits: int) -> None:
    """What stops with some hits stops with fewer, and never at or above the bound."""
    hits = min(hits, trials)
    if is_surely_below(below, confidence, hits=hits, trials=trials):
        assert hits / trials < below
        assert hits == 0 or is_surely_below(below, confidence, hits=hits - 1, trials=trials)


@given(rate=st.floats(0.01, 0.99), hits=st.integers(0, 300), misses=st.integers(0, 300), mean=st.floats(0.01, 0.99))
def test_evidence_is_a_martingale(rate: float, hits: int, misses: int, mean: float) -> None:
    """At the true rate the next image leaves the evidence as it is on average, whatever was seen before."""
    from math import exp

    trials = hits + misses
    now = log_evidence(rate, hits, trials, mean=mean)
    after_hit = log_evidence(rate, hits + 1, trials + 1, mean=mean)
    after_miss = log_evidence(rate, hits, trials + 1, mean=mean)
    assert rate * exp(after_hit - now) + (1 - rate) * exp(after_miss - now) == pytest.approx(1, rel=1e-6)


@given(outcomes=st.lists(st.booleans(), max_size=80), window=st.integers(1, 30))
def test_recent_failures_as_counted_by_hand(outcomes: list[bool], window: int) -> None:
    """The memory gives the failures of the last images, and survives the checkpoint's JSON."""
    recent = Recent()
    for is_failure in outcomes:
        if is_failure:
            recent.count_failure()
        else:
            recent.count()
        recent = msgspec.json.decode(msgspec.json.encode(recent), type=Recent)
    assert recent.failures(window) == (sum(outcomes[-window:]) if len(outcomes) >= window else None)


def test_recent_stays_small() -> None:
    """However many images fail, no more than the longest window is kept."""
    recent = Recent()
    for _ in range(3 * MAX_WINDOW):
        recent.count_failure()
    assert recent.failures(MAX_WINDOW) == len(recent.failed_at) == MAX_WINDOW
    copy = recent.copy()
    copy.count_failure()
    assert (recent.outcomes, len(recent.failed_at)) == (3 * MAX_WINDOW, MAX_WINDOW)


def tally_of(*, keep: int = 0, reject: int = 0, failed: int = 0, code: str = "unavailable") -> Tally:
    """A tally of so many outcomes, the failures last."""
    tally = Tally()
    for verdict, times in ((Verdict.KEEP, keep), (Verdict.REJECT, reject)):
        for _ in range(times):
            tally.count_verdict(verdict)
    for _ in range(failed):
        tally.count_failure(code)
    return tally


def test_the_first_reason_in_the_contracts_order_is_named() -> None:
    """When all stop rules hold, the first in the contract's order is named, and each next one without those before."""
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
    """The share that is named is enough, one failure less is not, whatever floating point makes of the product."""
    enough = round(rate * window)
    stop = Stop(errors=ErrorShare(rate=rate, window=window))
    assert stop_due(tally_of(reject=window - enough, failed=enough), stop, Limits()) is StopReason.ERRORS
    assert stop_due(tally_of(reject=window - enough + 1, failed=enough - 1), stop, Limits()) is None


@pytest.mark.parametrize(("code", "exit_code"), [("access_denied", 4), ("kms_denied", 4), ("unavailable", 70)])
def test_errors_name_their_cause(code: str, exit_code: int) -> None:
    """The message has the most frequent cause; where that is access, the error is one of access."""
    tally = tally_of(reject=6, failed=4, code=code)
    cause = stop_cause(StopReason.ERRORS, tally, Stop(errors=ErrorShare(rate=0.4, window=10)))
    assert cause is not None
    assert cause.exit_code == exit_code
    assert "4 of the last 10" in cause.message
    assert code in cause.message


def test_a_failed_action_leaves_the_stop_rules_alone() -> None:
    """Copies fail whenever S3 answers: the rules count verdicts, so that a resumed run stops where any other does."""
    tally = tally_of(keep=2, reject=3)
    before = (tally.matches, tally.judged, tally.recent.failures(5))
    tally.count_failed_action(Verdict.KEEP, "unavailable")
    assert (tally.matches, tally.judged, tally.recent.failures(5)) == before
