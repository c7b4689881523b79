"""The engine's detector and preparation, carried out by a crew.

Invariant: the attempt at an image that a worker holds is made by that worker; where it is gone, the image is prepared
elsewhere first, at no cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence

from asyncfilter.errors import LostError, NotSentError
from asyncfilter.fleet.crew import Crew
from asyncfilter.fleet.link import Link
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.ports.examine import Prepared

MOST_LOSSES = 3
"""An image that was under way on so many lost workers is tried once more, alone."""


class LossCounts:
    """How often each image was under way when its worker was lost."""

    def __init__(self) -> None:
        self._lost: Counter[int] = Counter()

    def must_be_alone(self, image: ObjectRef) -> bool:
        """Whether an image may end the workers, so that it must not take neighbours with it."""
        return self._lost[image.seq] >= MOST_LOSSES if self._lost else False

    def over(self, image: ObjectRef) -> None:
        """Forget an image that has an outcome."""
        if self._lost:
            self._lost.pop(image.seq, None)

    def weighed(self, image: ObjectRef, error: LostError) -> LostError:
        """Count a loss; the error to raise, final after too many."""
        was_last = self.must_be_alone(image)
        self._lost[image.seq] += 1
        if was_last or (error.was_alone and self._lost[image.seq] >= MOST_LOSSES) or error.is_final:
            times = self._lost.pop(image.seq)
            why = f"{image.uri}: {times} processes that examined it were lost ({error.message})"
            return LostError(why, may_be_billed=error.may_be_billed, is_final=True)
        return error


class FleetDetector:
    """``Detector`` that asks the least loaded worker.

    Args:
        crew: The workers.
        losses: Shared with the preparation.
        lane: Name of the lane at which workers make the attempts; empty without lanes.
    """

    def __init__(self, crew: Crew, losses: LossCounts, lane: str = "") -> None:
        self._crew = crew
        self._losses = losses
        self.lane = lane

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``.

        Raises:
            NotSentError: No worker has room, or the turn came too late.
            LostError: The worker was lost with it.
        """
        if self._losses.must_be_alone(image):
            return await self.detect_alone(image)
        link = self._crew.least_loaded()
        if link is None:
            raise NotSentError("no worker has room")
        return await self.attempt(image, link.examine(image, lane=self.lane))

    async def attempt(self, image: ObjectRef, examined: Awaitable[Detection]) -> Detection:
        """The result of one attempt; a loss is counted."""
        try:
            found = await examined
        except LostError as error:
            raise self._losses.weighed(image, error) from error
        self._losses.over(image)
        return found

    async def detect_alone(self, image: ObjectRef, *, at: Link | None = None, held: int | None = None) -> Detection:
        """As ``detect``, at a worker that does nothing else.

        Args:
            image: Examined.
            at: The worker that it must be; None for any.
            held: The id under which that worker holds it.
        """
        found = await self._crew.alone(image.seq, at=at)
        if found is None:
            raise NotSentError("no worker can be asked")
        link, has_waited = found
        if has_waited:
            # The turn is old by now; the worker stays reserved.
            raise NotSentError("a worker was waited for")
        try:
            return await self.attempt(image, link.examine(image, lane=self.lane, held=held))
        finally:
            self._crew.not_alone(image.seq)


class FleetPreparation:
    """``Preparation`` by workers, which hold what they have prepared.

    Args:
        crew: The workers.
        losses: Shared with the detector.
        detectors: Make attempts, one for each lane.

    Attributes:
        losses: As given.
    """

    def __init__(self, crew: Crew, losses: LossCounts, detectors: Sequence[FleetDetector]) -> None:
        self._crew = crew
        self.losses = losses
        self._detectors = detectors

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """Make one attempt, at no cost; see ``Preparation``."""
        held = await self.held(image)
        if held is None:
            return None
        examined = _HeldImage(self, self._detectors, held)
        at_lane = examined.at if self._detectors[0].lane else None
        return Prepared(detector=examined.at(self._detectors[0].lane), at_lane=at_lane, let_go=examined.let_go)

    async def held(self, image: ObjectRef) -> tuple[Link, int] | None:
        """Prepare an image on some worker: where it is held, or None where it needs not be held."""
        if self.losses.must_be_alone(image):
            return await self._held_alone(image)
        link = await self._crew.preparing_link()
        if link is None:
            raise NotSentError("the run drains")
        return await self._on(link, image)

    async def _held_alone(self, image: ObjectRef) -> tuple[Link, int] | None:
        found = await self._crew.alone(image.seq)
        if found is None:
            raise NotSentError("the run drains")
        try:
            return await self._on(found[0], image)
        finally:
            self._crew.not_alone(image.seq)

    async def _on(self, link: Link, image: ObjectRef) -> tuple[Link, int] | None:
        try:
            id_ = await link.prepare(image)
        except LostError as error:
            raise self.losses.weighed(image, error) from error
        return None if id_ is None else (link, id_)


class _HeldImage:
    """Where an image is held; None once the worker needs not hold it."""

    def __init__(
        self, preparation: FleetPreparation, detectors: Sequence[FleetDetector], held: tuple[Link, int]
    ) -> None:
        self._preparation = preparation
        self._detectors = {one.lane: one for one in detectors}
        self.held: tuple[Link, int] | None = held

    def at(self, lane: str) -> _HeldDetector:
        """The detector that makes its attempts at a lane."""
        return _HeldDetector(self, self._detectors[lane])

    async def found(self, image: ObjectRef) -> tuple[Link, int] | None:
        """Where it is held, if it is still there.

        Raises:
            NotSentError: It was not there any more, and was prepared again.
        """
        if self.held is None:
            return None
        link, id_ = self.held
        if id_ in link.held and link.can_be_asked:
            return self.held
        link.let_go(id_)
        self.held = await self._preparation.held(image)
        raise NotSentError("the image was prepared again on another worker")

    def must_be_alone(self, image: ObjectRef) -> bool:
        """See ``LossCounts``."""
        return self._preparation.losses.must_be_alone(image)

    def let_go(self) -> None:
        """The image is over: its worker needs not hold it any more."""
        if self.held is not None:
            link, id_ = self.held
            link.let_go(id_)
            self.held = None


class _HeldDetector:
    """``Detector`` of one image that a worker holds, at one lane."""

    def __init__(self, image: _HeldImage, detector: FleetDetector) -> None:
        self._image = image
        self._detector = detector

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``."""
        held = await self._image.found(image)
        if held is None:
            return await self._detector.detect(image)
        link, id_ = held
        if self._image.must_be_alone(image):
            return await self._detector.detect_alone(image, at=link, held=id_)
        if link.is_reserved:
            raise NotSentError(f"{link.name} examines an image alone")
        return await self._detector.attempt(image, link.examine(image, lane=self._detector.lane, held=id_))
