"""Ports that pay only while this process owns the state in S3.

The last look is right before the bytes of an attempt are written: a turn that was given before a standstill is
returned.
"""

from __future__ import annotations

import msgspec

from asyncfilter.aws.clients.http.gate import sent_only_if
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import NotSentError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.ports.examine import BoundedPreparation, Detector, Memory, Preparation, Prepared, References
from asyncfilter.ports.keeping import KeptState


def paid_while_owned(inputs: RunInputs, state: KeptState) -> RunInputs:
    """The inputs with detectors that send nothing unless this process may pay at that moment."""
    backends = tuple(
        msgspec.structs.replace(backend, detector=_OwnedDetector(backend.detector, state))
        for backend in inputs.backends
    )
    preparation = None if inputs.preparation is None else _owned(inputs.preparation, state)
    return msgspec.structs.replace(inputs, backends=backends, preparation=preparation)


def _owned(preparation: Preparation, state: KeptState) -> Preparation:
    if isinstance(preparation, BoundedPreparation):
        return _OwnedBoundedPreparation(preparation, state)
    return _OwnedPreparation(preparation, state)


class _OwnedDetector:
    """A detector that is asked only while this process owns the state."""

    def __init__(self, detector: Detector, state: KeptState) -> None:
        self._detector, self._state = detector, state

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        if not self._state.may_pay():
            await self._state.wait_may_pay()
            raise NotSentError("the state in S3 could not be written in time")
        with sent_only_if(self._state.may_pay):
            return await self._detector.detect(image)


class OwnedReferences(_OwnedDetector):
    """References that are examined only while this process owns the state."""

    def __init__(self, references: References, state: KeptState) -> None:
        super().__init__(references, state)
        self.head = references.head


class _OwnedPreparation:
    """A preparation whose detectors, those at lanes among them, are asked only while this process owns the state."""

    def __init__(self, preparation: Preparation, state: KeptState) -> None:
        self._preparation, self._state = preparation, state

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        prepared = await self._preparation.prepare(image)
        if prepared is None:
            return None
        owned = msgspec.structs.replace(prepared, detector=_OwnedDetector(prepared.detector, self._state))
        at_lane = prepared.at_lane
        if at_lane is None:
            return owned
        return msgspec.structs.replace(owned, at_lane=lambda name: _OwnedDetector(at_lane(name), self._state))


class _OwnedBoundedPreparation(_OwnedPreparation):
    """The same, for a preparation that counts the bytes it reads."""

    def __init__(self, preparation: BoundedPreparation, state: KeptState) -> None:
        super().__init__(preparation, state)
        self._bounded = preparation

    def bound_by(self, memory: Memory) -> None:
        """See ``BoundedPreparation``."""
        self._bounded.bound_by(memory)
