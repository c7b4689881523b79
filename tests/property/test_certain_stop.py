"""A stop is certain exactly when no outcome of the images that are missing could prevent it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job.spec import Limits, Stop
from asyncfilter.model import Decision, Verdict
from asyncfilter.policy.certain_stop import CertainStop
from asyncfilter.policy.stopping import stop_due
from asyncfilter.records.tally import Tally

OUTCOMES = st.sampled_from([Verdict.KEEP, Verdict.REVIEW, Verdict.REJECT, Verdict.REJECT, Verdict.REJECT, None])
Outcomes = list[Verdict | None]


def position(outcomes: Outcomes, stop: Stop, tally: Tally) -> int | None:
    """The position, from 1, after which a stop rule holds, one image after the other."""
    tally = tally.copy()
    for index, outcome in enumerate(outcomes, 1):
        if outcome is None:
            tally.count_failure("unavailable")
        else:
            tally.count_verdict(outcome)
        if stop_due(tally, stop, Limits()) is not None:
            return index
    return None


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=40),
    stop=st.builds(Stop, matches=st.none() | st.integers(1, 8), misses_in_a_row=st.none() | st.integers(1, 8)),
    counted=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    first_seq=st.integers(0, 5),
    data=st.data(),
)
def test_a_stop_is_certain_exactly_when_nothing_can_prevent_it(
    outcomes: Outcomes, stop: Stop, counted: tuple[int, int], first_seq: int, data: st.DataObject
) -> None:
    """In every order of arrival: certain as soon as each rule, with its worst case for what is missing, holds."""
    tally = Tally(matches=counted[0], misses_in_a_row=counted[1])
    if stop_due(tally, stop, Limits()) is not None:
        return  # no image is admitted
    certain = CertainStop(stop)
    certain.start_at(first_seq, tally)
    decided: dict[int, Verdict | None] = {}
    for index in data.draw(st.permutations(range(len(outcomes)))):
        decided[index] = outcomes[index]
        certain.decide(first_seq + 1 + index, outcomes[index])
        # Missing images are failures for `matches` and keeps for `misses_in_a_row`: the worst case for each.
        few: Outcomes = [decided.get(at) for at in range(len(outcomes))]
        many: Outcomes = [decided.get(at, Verdict.KEEP) for at in range(len(outcomes))]
        by_matches = position(few, Stop(matches=stop.matches), tally)
        by_misses = position(many, Stop(misses_in_a_row=stop.misses_in_a_row), tally)
        assert (certain.last_seq is not None) == (by_matches is not None or by_misses is not None)
        if certain.last_seq is not None:
            assert min(at for at in (by_matches, by_misses) if at is not None) + first_seq <= certain.last_seq
            assert not certain.is_behind(certain.last_seq)
            assert certain.is_behind(certain.last_seq + 1)


@given(outcomes=st.lists(OUTCOMES, max_size=60), data=st.data())
def test_memory_is_bounded_by_the_gaps(outcomes: Outcomes, data: st.DataObject) -> None:
    """What is kept are the stretches between images without an outcome, not the images."""
    certain = CertainStop(Stop(misses_in_a_row=1000))
    certain.start_at(0, Tally())
    missing = set(range(1, len(outcomes) + 1))
    for index in data.draw(st.permutations(range(len(outcomes)))):
        missing.discard(index + 1)
        certain.decide(index + 1, outcomes[index])
        assert certain.stretches <= len(missing) + 1


def test_a_replaced_keep_is_one_match_less() -> None:
    """An image that takes the place of a keep removes that match, whatever its own outcome."""
    certain = CertainStop(Stop(matches=3))
    certain.start_at(10, Tally(matches=2))
    certain.replace(Decision(Verdict.KEEP))
    certain.replace(Decision(Verdict.REJECT))
    certain.replace(None)
    certain.decide(12, Verdict.KEEP)
    assert certain.last_seq is None
    certain.decide(11, Verdict.KEEP)
    assert certain.last_seq == 12


def test_a_new_start_forgets_what_was_decided() -> None:
    """After a redecision the counts begin anew at the position whose counts were made again."""
    certain = CertainStop(Stop(matches=1, misses_in_a_row=2))
    certain.start_at(0, Tally())
    certain.decide(1, Verdict.KEEP)
    certain.start_at(7, Tally(misses_in_a_row=1))
    assert certain.last_seq is None
    certain.decide(8, Verdict.REJECT)
    assert certain.last_seq == 8
