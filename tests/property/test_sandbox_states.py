"""States of the sandbox's Custom Labels: a function of time, whoever has looked at them before."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.sandbox.custom_labels.states import Clock, State
from asyncfilter.sandbox.custom_labels.versions import TrainingOutcome, Version

ARN = "arn:aws:rekognition:us-east-1:123456789012:project/birds/version/v1/1"


class FakeTime:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        """The present time."""
        return self.seconds


def done(result: Any) -> Future[Any]:
    """Work that is finished."""
    future: Future[Any] = Future()
    future.set_result(result)
    return future


@given(speed=st.sampled_from([0.5, 1.0, 60.0, 3600.0]), looks=st.lists(st.floats(0, 4000), max_size=12))
def test_a_training_ends_at_its_time(speed: float, looks: list[float]) -> None:
    """Its state at each look is that of the time, and the end on record is the planned one."""
    time = FakeTime()
    version = Version(ARN, Clock(speed, time))
    began_s = time.seconds
    version.train(done(TrainingOutcome()), lambda bucket, files: None)
    for after_s in sorted(looks):
        time.seconds = began_s + after_s
        expected = "TRAINING_IN_PROGRESS" if time.seconds < began_s + 1800 / speed else "TRAINING_COMPLETED"
        assert version.state.status == expected
    time.seconds = began_s + 1e6
    description = version.description()
    assert description["Status"] == "TRAINING_COMPLETED"
    assert description["TrainingEndTimestamp"] == began_s + 1800 / speed


@given(st.lists(st.floats(0, 2000), max_size=8), st.floats(0, 2000))
def test_earlier_looks_change_nothing(earlier: list[float], at_s: float) -> None:
    """A start and its stop, looked at once or often."""
    states = []
    for looks in (earlier, []):
        time = FakeTime()
        version = Version(ARN, Clock(1, time), status="TRAINING_COMPLETED")
        began_s = time.seconds
        version.start(1, None)
        for after_s in sorted(look for look in looks if look <= at_s):
            time.seconds = began_s + after_s
            assert version.state.status in {"STARTING", "RUNNING"}
        time.seconds = began_s + at_s
        seen = version.state.status
        version.stop()
        time.seconds += 120
        states.append((seen, version.state.status))
    assert states[0] == states[1]
    assert states[0][1] == "STOPPED"


def test_a_change_waits_for_its_work() -> None:
    """Work that is not done keeps the change open; the end is that of the work."""
    time = FakeTime()
    state = State(Clock(1, time), "OLD")
    work: Future[None] = Future()
    ends: list[float] = []

    def then(ended_s: float) -> None:
        ends.append(ended_s)
        state.settle("NEW")

    state.begin("CHANGING", lasts_s=10, then=then, work=work)
    time.seconds += 50
    assert (state.status, state.is_changing) == ("CHANGING", True)
    work.set_result(None)
    ended_s = time.seconds
    time.seconds += 50
    assert (state.status, state.is_changing, ends) == ("NEW", False, [ended_s])


@pytest.mark.parametrize("speed", [0, -1, 1e10, float("nan")])
def test_a_speed_is_positive(speed: float) -> None:
    """Other speeds are refused, and so is time that goes back."""
    with pytest.raises(ValueError, match="speed"):
        Clock(speed)
    with pytest.raises(ValueError, match="back"):
        Clock().advance(-1)
