"""The probe of ``bench``: records the result, the time and the duration of every attempt, and the attempts in flight.

It wraps the detector, so it measures when attempts are sent and when responses arrive. Its memory grows with the number
of seconds, not with the number of attempts.
"""

from __future__ import annotations

from enum import Enum, auto

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import AccessError, ImageError, ThrottledError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.policy.throughput import Samples
from asyncfilter.ports.examine import Detector, Preparation, Prepared


class _AttemptOutcome(Enum):
    """The result of an attempt."""

    EXAMINED = auto()
    REFUSED = auto()
    """The service accepted the attempt and rejected the image, or the access to it."""
    THROTTLED = auto()
    LOST = auto()
    """Anything else: a time-out, a broken connection, an error of the service, a cancellation."""


class Probe:
    """Measures the attempts of one run.

    Args:
        clock: Time.

    Attributes:
        samples: What was measured so far.
        begun: Set with the first attempt.
    """

    def __init__(self, clock: Clock) -> None:
        self.samples = Samples()
        self.begun = anyio.Event()
        self._clock = clock
        self._first_s: float | None = None
        self._in_flight = 0
        self._counted_to_s = 0.0

    def wrap(self, inputs: RunInputs) -> RunInputs:
        """The same inputs, with detectors whose attempts are measured."""
        preparation = None if inputs.preparation is None else _Preparation(inputs.preparation, self)
        backends = tuple(
            msgspec.structs.replace(backend, detector=_Detector(backend.detector, self)) for backend in inputs.backends
        )
        return msgspec.structs.replace(inputs, backends=backends, preparation=preparation)

    async def attempt(self, detector: Detector, image: ObjectRef) -> Detection:
        """Make one attempt and measure it; result and errors are the detector's."""
        sent_s, outcome = self._sent(), _AttemptOutcome.LOST
        try:
            detection = await detector.detect(image)
            outcome = _AttemptOutcome.EXAMINED
        except ThrottledError:
            outcome = _AttemptOutcome.THROTTLED
            raise
        except (ImageError, AccessError):
            outcome = _AttemptOutcome.REFUSED
            raise
        else:
            return detection
        finally:
            self._completed(sent_s, outcome, image)

    def _sent(self) -> float:
        """Count an attempt that is sent now, and return the time."""
        now_s = self._now_s()
        self.samples.second(now_s).attempts += 1
        self._in_flight += 1
        self.samples.peak_in_flight = max(self.samples.peak_in_flight, self._in_flight)
        self.begun.set()
        return now_s

    def _completed(self, sent_s: float, outcome: _AttemptOutcome, image: ObjectRef) -> None:
        """Count the result of the attempt sent at ``sent_s``, in the second in which it was sent."""
        now_s = self._now_s()
        self._in_flight -= 1
        second = self.samples.second(sent_s)
        second.throttled += outcome is _AttemptOutcome.THROTTLED
        second.accepted += outcome in (_AttemptOutcome.EXAMINED, _AttemptOutcome.REFUSED)
        self.samples.refused += outcome is _AttemptOutcome.REFUSED
        if outcome is _AttemptOutcome.EXAMINED:
            self.samples.time(now_s - sent_s, image.size_bytes)

    def _now_s(self) -> float:
        """Seconds since the first attempt.

        The call also adds the attempts in flight since the last call to ``busy_s`` of each second.
        """
        now_s = self._clock.monotonic()
        if self._first_s is None:
            self._first_s = now_s
        since_s = now_s - self._first_s
        while self._counted_to_s < since_s:
            until_s = min(since_s, float(int(self._counted_to_s) + 1))
            self.samples.second(self._counted_to_s).busy_s += self._in_flight * (until_s - self._counted_to_s)
            self._counted_to_s = until_s
        return since_s


class _Detector:
    """``Detector`` whose attempts are measured."""

    def __init__(self, detector: Detector, probe: Probe) -> None:
        self._detector = detector
        self._probe = probe

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        return await self._probe.attempt(self._detector, image)


class _Preparation:
    """``Preparation`` that returns detectors whose attempts are measured."""

    def __init__(self, preparation: Preparation, probe: Probe) -> None:
        self._preparation = preparation
        self._probe = probe

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        found = await self._preparation.prepare(image)
        if found is None:
            return None
        at_lane = found.at_lane
        return msgspec.structs.replace(
            found,
            detector=_Detector(found.detector, self._probe),
            at_lane=None if at_lane is None else lambda lane: _Detector(at_lane(lane), self._probe),
        )
