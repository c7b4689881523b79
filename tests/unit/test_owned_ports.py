"""Nothing is sent by whoever does not own the state in S3, wherever the attempt would have been made."""

from __future__ import annotations

import pytest

from asyncfilter.aws.clients.http.gate import check_may_send
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import NotSentError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.ports.examine import BoundedPreparation, Detector, Memory, Prepared
from asyncfilter.testing import MemoryReferences, MemorySource
from asyncfilter.wiring.owned_ports import OwnedReferences, paid_while_owned

IMAGE = ObjectRef(bucket="raw", key="a.jpg", size_bytes=1, etag="e", seq=1)


class Asked:
    """A detector that counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        self.calls += 1
        return Detection(())


class Lost:
    """A state that another process owns; as far as these ports use one."""

    def may_pay(self) -> bool:
        """Not now."""
        return False

    async def wait_may_pay(self) -> None:
        """Returns after a while."""


class Preparing:
    """Prepares for a detector, and for one at each lane."""

    def __init__(self, detector: Detector, *, at_lanes: bool) -> None:
        self._detector = detector
        self._at_lanes = at_lanes
        self.memory: Memory | None = None

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        return Prepared(detector=self._detector, at_lane=(lambda _: self._detector) if self._at_lanes else None)


class Bounded(Preparing):
    """The same, which counts bytes."""

    def bound_by(self, memory: Memory) -> None:
        """See ``BoundedPreparation``."""
        self.memory = memory


class Unlimited:
    """Memory without a limit."""

    async def hold(self, image: ObjectRef, size_bytes: int) -> None:
        """See ``Memory``."""


def inputs(detector: Detector, preparation: Preparing) -> RunInputs:
    """Inputs with one backend."""
    backend = DetectorBackend(detector=detector, limit_tps=None, tps_origin="", price_micros=lambda _: 1000)
    return RunInputs(
        source=MemorySource([]), check=lambda _: None, backends=(backend,), concurrency=1, preparation=preparation
    )


@pytest.mark.parametrize("at_lanes", [False, True])
async def test_nothing_is_sent_without_the_state(at_lanes: bool) -> None:
    """Neither by the backend, nor for a prepared image, nor for one at a lane."""
    asked = Asked()
    owned = paid_while_owned(inputs(asked, Bounded(asked, at_lanes=at_lanes)), Lost())  # type: ignore[arg-type]
    assert owned.preparation is not None
    prepared = await owned.preparation.prepare(IMAGE)
    assert prepared is not None
    detectors = [owned.primary.detector, prepared.detector]
    if at_lanes:
        assert prepared.at_lane is not None
        detectors.append(prepared.at_lane("west"))
    for detector in detectors:
        with pytest.raises(NotSentError):
            await detector.detect(IMAGE)
    assert asked.calls == 0


def test_memory_stays_bounded() -> None:
    """A preparation that counts bytes is one still; one that does not is none."""
    bounded, memory = Bounded(Asked(), at_lanes=False), Unlimited()
    owned = paid_while_owned(inputs(Asked(), bounded), Lost())  # type: ignore[arg-type]
    assert isinstance(owned.preparation, BoundedPreparation)
    owned.preparation.bound_by(memory)
    assert bounded.memory is memory
    other = paid_while_owned(inputs(Asked(), Preparing(Asked(), at_lanes=False)), Lost())  # type: ignore[arg-type]
    assert not isinstance(other.preparation, BoundedPreparation)


async def test_no_reference_is_paid_for_without_the_state() -> None:
    """They are looked at, since that costs nothing, and not examined."""
    references = MemoryReferences({"s3://refs/a.jpg": Detection(())})
    owned = OwnedReferences(references, Lost())  # type: ignore[arg-type]
    listed = await owned.head("s3://refs/a.jpg")
    with pytest.raises(NotSentError):
        await owned.detect(ObjectRef(bucket="", key=listed.key, size_bytes=1, etag=listed.etag, seq=1))
    assert not references.attempts


async def test_the_last_look_is_when_the_request_is_sent() -> None:
    """A process that stood still between its turn and the first byte may have lost the state meanwhile."""
    may = [True]

    class Owned(Lost):
        def may_pay(self) -> bool:
            return may[0]

    class Sending(Asked):
        async def detect(self, image: ObjectRef) -> Detection:
            check_may_send()
            may[0] = False
            check_may_send()
            return await super().detect(image)

    detector = Sending()
    owned = paid_while_owned(inputs(detector, Preparing(detector, at_lanes=False)), Owned()).backends[0].detector  # type: ignore[arg-type]
    with pytest.raises(NotSentError):
        await owned.detect(IMAGE)
    assert detector.calls == 0
    check_may_send()
