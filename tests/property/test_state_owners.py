"""Two owners of one state: whatever is lost, late or stands still, no two pay in one moment, and no commit is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.state.tenure import (
    COMMIT_BYTES,
    COMMIT_EVERY_S,
    GIVES_UP_AFTER_S,
    PAYS_FOR_S,
    UNCHANGED_FOR_S,
    CommitPace,
    HeadWatch,
    TakeDecision,
    Tenure,
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "b", "b"]),
        st.sampled_from(["rewrite", "never arrives", "look", "look", "stand still"]),
        st.sampled_from([0.0, 0.5, 1.0, 4.0, 5.0, 9.9, 10.0]),
    ),
    max_size=40,
)


class Machine:
    """One machine: it owns the state, or looks whether it may take it."""

    def __init__(self) -> None:
        self.tenure: Tenure | None = None
        self.watch = HeadWatch()
        self.etag = -1


@settings(max_examples=500, deadline=None)
@given(STEPS, st.booleans())
def test_two_machines_never_pay_in_one_moment(steps: list[tuple[str, str, float]], is_slow: bool) -> None:
    """A model of the head in S3: rewrites with If-Match, answers that are lost, machines that stand still.

    ``is_slow``: a rewrite arrives some time after it was sent.
    """
    now_s, head = 0.0, 0
    machines = {"a": Machine(), "b": Machine()}
    machines["a"].tenure, machines["a"].etag = Tenure(now_s), head
    for name, step, wait_s in steps:
        now_s += wait_s
        machine = machines[name]
        sent_s = now_s
        if step == "stand still":
            now_s += wait_s * 4
        elif machine.tenure is not None and not machine.tenure.is_lost and step != "look":
            now_s += wait_s if is_slow else 0.0
            if step == "never arrives":
                continue
            if machine.etag != head:
                machine.tenure.lose()
                machine.watch = HeadWatch()
            else:
                head += 1
                machine.etag = head
                # An answer that was lost is found out later by the nonce, with the time of this sending.
                machine.tenure.rewritten(sent_s)
        elif machine.tenure is None or machine.tenure.is_lost:
            if machine.watch.look(str(head), now_s) is TakeDecision.TAKE:
                head += 1
                machine.tenure, machine.etag = Tenure(now_s), head
            elif machine.watch.look(str(head), now_s) is TakeDecision.HELD:
                machine.watch = HeadWatch()
        paying = [one for one in machines.values() if one.tenure is not None and one.tenure.may_pay(now_s)]
        assert len(paying) <= 1, f"both pay at {now_s}"


def test_an_owner_pays_for_ten_seconds_from_the_sending_of_its_last_rewrite() -> None:
    """Not from its answer; a lost state is never paid for again."""
    tenure = Tenure(100.0)
    assert tenure.may_pay(100.0 + PAYS_FOR_S - 0.1)
    assert not tenure.may_pay(100.0 + PAYS_FOR_S)
    tenure.rewritten(109.0)
    assert tenure.may_pay(118.9)
    tenure.rewritten(105.0)  # an answer that came late
    assert not tenure.may_pay(119.0)
    assert (tenure.is_unreachable(168.9), tenure.is_unreachable(169.0)) == (False, True)
    tenure.lose()
    tenure.rewritten(200.0)
    assert not tenure.may_pay(200.0)


def test_a_state_is_taken_once_its_head_was_unchanged_for_fifteen_seconds() -> None:
    """And given up when it still changes after thirty."""
    watch = HeadWatch()
    assert watch.look("1", 0.0) is TakeDecision.WAIT
    assert watch.look("1", UNCHANGED_FOR_S - 0.1) is TakeDecision.WAIT
    assert watch.look("1", UNCHANGED_FOR_S) is TakeDecision.TAKE
    moving = HeadWatch()
    seen = [moving.look(str(at // 5), float(at)) for at in range(int(GIVES_UP_AFTER_S) + 1)]
    assert seen[-1] is TakeDecision.HELD
    assert set(seen[:-1]) == {TakeDecision.WAIT}


def test_a_commit_is_due_after_five_seconds_at_four_megabytes_or_when_something_waits() -> None:
    """The first one at once."""
    pace = CommitPace(0.0)
    assert pace.left_s(0.0, waiting_bytes=0, is_wanted=False) == 0.0
    pace.begun(0.0)
    assert pace.left_s(1.0, waiting_bytes=0, is_wanted=False) == COMMIT_EVERY_S - 1
    assert pace.left_s(1.0, waiting_bytes=COMMIT_BYTES, is_wanted=False) == 0.0
    assert pace.left_s(1.0, waiting_bytes=0, is_wanted=True) == 0.0
    assert pace.left_s(5.0, waiting_bytes=0, is_wanted=False) == 0.0
