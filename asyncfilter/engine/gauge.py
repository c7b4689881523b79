"""A gauge on the way to the detector: what became of every attempt and when, how long it took, how many were in flight.

It stands where attempts leave the engine and where answers come in, so it sees what the service sees. Memory grows with
the seconds that it looks on, not with the attempts.
"""

from __future__ import annotations

from enum import Enum, auto

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.way import Way
from asyncfilter.errors import AccessError, ImageError, ThrottledError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.policy.capacity import Reading
from asyncfilter.ports import Detector, Preparation, Prepared


class _Fate(Enum):
    """What became of an attempt."""

    EXAMINED = auto()
    REFUSED = auto()
    """The service took the attempt and would not have the image."""
    THROTTLED = auto()
    LOST = auto()


class Gauge:
    """Measures the attempts of one run.

    Args:
        clock: Time.

    Attributes:
        reading: What was measured so far.
        begun: Set with the first attempt.
    """

    def __init__(self, clock: Clock) -> None:
        self.reading = Reading()
        self.begun = anyio.Event()
        self._clock = clock
        self._first_s: float | None = None
        self._in_flight = 0
        self._counted_to_s = 0.0

    def over(self, way: Way) -> Way:
        """The same way, measured."""
        preparation = None if way.preparation is None else _Preparation(way.preparation, self)
        backends = tuple(
            msgspec.structs.replace(backend, detector=_Detector(backend.detector, self)) for backend in way.backends
        )
        return msgspec.structs.replace(way, backends=backends, preparation=preparation)

    async def attempt(self, detector: Detector, image: ObjectRef) -> Detection:
        """Make one attempt; result and errors are the detector's."""
        sent_s, fate = self._sent(), _Fate.LOST
        try:
            detection = await detector.detect(image)
            fate = _Fate.EXAMINED
        except ThrottledError:
            fate = _Fate.THROTTLED
            raise
        except (ImageError, AccessError):
            fate = _Fate.REFUSED
            raise
        else:
            return detection
        finally:
            self._answered(sent_s, fate, image)

    def _sent(self) -> float:
        """Count an attempt that leaves now; its time."""
        now_s = self._now_s()
        self.reading.second(now_s).attempts += 1
        self._in_flight += 1
        self.reading.peak_in_flight = max(self.reading.peak_in_flight, self._in_flight)
        self.begun.set()
        return now_s

    def _answered(self, sent_s: float, fate: _Fate, image: ObjectRef) -> None:
        """Count what became of the attempt that left at ``sent_s``, in the second in which it did."""
        now_s = self._now_s()
        self._in_flight -= 1
        second = self.reading.second(sent_s)
        second.throttled += fate is _Fate.THROTTLED
        second.accepted += fate in (_Fate.EXAMINED, _Fate.REFUSED)
        self.reading.refused += fate is _Fate.REFUSED
        if fate is _Fate.EXAMINED:
            self.reading.time(now_s - sent_s, image.size_bytes)

    def _now_s(self) -> float:
        """Seconds since the first attempt; what was in flight until now is put down on the way."""
        now_s = self._clock.monotonic()
        if self._first_s is None:
            self._first_s = now_s
        since_s = now_s - self._first_s
        while self._counted_to_s < since_s:
            until_s = min(since_s, float(int(self._counted_to_s) + 1))
            self.reading.second(self._counted_to_s).busy_s += self._in_flight * (until_s - self._counted_to_s)
            self._counted_to_s = until_s
        return since_s


class _Detector:
    """``Detector`` whose attempts are measured."""

    def __init__(self, detector: Detector, gauge: Gauge) -> None:
        self._detector = detector
        self._gauge = gauge

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        return await self._gauge.attempt(self._detector, image)


class _Preparation:
    """``Preparation`` that hands out detectors whose attempts are measured."""

    def __init__(self, preparation: Preparation, gauge: Gauge) -> None:
        self._preparation = preparation
        self._gauge = gauge

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        found = await self._preparation.prepare(image)
        if found is None:
            return None
        return msgspec.structs.replace(found, detector=_Detector(found.detector, self._gauge))
