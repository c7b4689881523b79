"""DetectLabels: answers to detections, and the detector that both kinds share.

Decoding is typed and refuses unknown fields; an answer that has some is read a second time, without types, and what the
model has no place for is kept in ``Detection.extra``. So the usual answer costs microseconds and none loses a byte of
meaning.

``extra`` is JSON laid over the detection's own form: an object for an object, and for a list an object from index to
what is left of that element. ``{"Labels": {"0": {"Instances": {"1": {"DominantColors": […]}}}}}``
says that the second instance of the first label had dominant colours. Nulls and empty lists are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import DetectCall
from asyncfilter.aws.diagnosis import OPAQUE, Diagnosis
from asyncfilter.aws.errors import classify
from asyncfilter.aws.failures import undecodable
from asyncfilter.model import Box, Detection, Instance, Label, ObjectRef

Json: TypeAlias = Any
"""Anything that JSON can hold."""


class _Wire(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """Base of what is decoded: AWS's own names; unknown fields are left to the untyped reading."""


class WireBox(_Wire, forbid_unknown_fields=True, frozen=True):
    """``BoundingBox``."""

    width: float = 0.0
    height: float = 0.0
    left: float = 0.0
    top: float = 0.0

    def box(self) -> Box:
        """The box in the model's order."""
        return Box(self.left, self.top, self.width, self.height)


class _WireInstance(_Wire, forbid_unknown_fields=True, frozen=True):
    bounding_box: WireBox = WireBox()
    confidence: float = 0.0


class _WireName(_Wire, forbid_unknown_fields=True, frozen=True):
    name: str = ""


class _WireLabel(_Wire, forbid_unknown_fields=True, frozen=True):
    name: str
    confidence: float = 0.0
    instances: tuple[_WireInstance, ...] = ()
    parents: tuple[_WireName, ...] = ()
    aliases: tuple[_WireName, ...] = ()
    categories: tuple[_WireName, ...] = ()


class _WireLabels(_Wire, forbid_unknown_fields=True, frozen=True):
    labels: tuple[_WireLabel, ...] | None = None
    label_model_version: str = ""
    orientation_correction: None = None


_STRICT = msgspec.json.Decoder(_WireLabels)
_NAMES = {"Name": None}
_MODELLED: Mapping[str, Any] = {
    "Labels": {
        "Name": None,
        "Confidence": None,
        "Instances": {"BoundingBox": dict.fromkeys(("Width", "Height", "Left", "Top")), "Confidence": None},
        "Parents": _NAMES,
        "Aliases": _NAMES,
        "Categories": _NAMES,
    },
    "LabelModelVersion": None,
}
"""Fields that ``Detection`` has a place for; what is beside them goes to ``extra``."""


def read_labels(body: bytes) -> Detection:
    """The detection in a DetectLabels answer.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    try:
        return _detection(_STRICT.decode(body), b"")
    except msgspec.ValidationError:
        whole = msgspec.json.decode(body, type=dict[str, Any])
        rest = left_over(whole, _MODELLED)
        return _detection(msgspec.convert(modelled(whole, _MODELLED), _WireLabels), encode_extra(rest))


def _detection(wire: _WireLabels, extra: bytes) -> Detection:
    if wire.labels is None and not extra:
        raise msgspec.ValidationError("neither labels nor anything else")
    return Detection(tuple([_label(label) for label in wire.labels or ()]), wire.label_model_version, extra)


def _label(wire: _WireLabel) -> Label:
    return Label(
        wire.name,
        wire.confidence,
        tuple([Instance(one.bounding_box.box(), one.confidence) for one in wire.instances]) if wire.instances else (),
        _names(wire.parents),
        _names(wire.aliases),
        _names(wire.categories),
    )


def _names(wires: tuple[_WireName, ...]) -> tuple[str, ...]:
    return tuple([wire.name for wire in wires]) if wires else ()


# -- What the model has no place for -----------------------------------------------------------------------------------


def modelled(value: Json, known: Mapping[str, Json] | None) -> Json:
    """``value`` reduced to the known fields; nulls are left out."""
    if known is None:
        return value
    if isinstance(value, list):
        return [modelled(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: modelled(value[name], known[name]) for name in known if value.get(name) is not None}


def left_over(value: Json, known: Mapping[str, Json] | None) -> Json:
    """What ``modelled`` leaves out, as an overlay; empty when that is nothing."""
    if known is None:
        return {}
    if isinstance(value, list):
        rests = {str(index): left_over(item, known) for index, item in enumerate(value)}
        return {index: rest for index, rest in rests.items() if rest}
    if not isinstance(value, dict):
        return {}
    overlay = {}
    for name, item in value.items():
        rest = left_over(item, known[name]) if name in known else item
        if rest not in (None, [], {}):
            overlay[name] = rest
    return overlay


def encode_extra(overlay: Mapping[str, Any]) -> bytes:
    """JSON of an overlay; empty for an empty one."""
    return msgspec.json.encode(overlay) if overlay else b""


# -- The detector ------------------------------------------------------------------------------------------------------

_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError)
_OF_THE_MODEL = frozenset({"ResourceNotFoundException", "ResourceNotReadyException"})


class RekognitionDetector:
    """``Detector`` over DetectLabels, by S3 reference or of bytes at hand; base of the Custom Labels one.

    Args:
        call: Either client's call.
        diagnosis: Looks into objects that Rekognition could not read; None where images are no objects of S3.
        model: ARN of the Custom Labels model, where there is one.
        read: Makes a detection of an answer's body; raises ``msgspec.DecodeError`` when it is none.
    """

    def __init__(
        self,
        call: DetectCall,
        diagnosis: Diagnosis | None,
        *,
        model: str | None = None,
        read: Callable[[bytes], Detection] = read_labels,
    ) -> None:
        self._call = call
        self._diagnosis = diagnosis
        self._model = model
        self._read = read

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``.

        An object that Rekognition cannot read is looked into before its error is raised. One that was replaced between
        listing and call is examined as it is now; the ETag condition of its action finds that out.
        """
        try:
            return self._read(await self._call(image.bucket, image.key))
        except (AnsweredError, *_NOT_DECODED) as exc:
            raise await self._meaning(image, exc) from exc

    async def detect_content(self, image: ObjectRef, content: bytes) -> Detection:
        """Make one paid attempt at ``content``, a picture made of ``image``; raises as ``detect`` does."""
        try:
            return self._read(await self._call.content(image.uri, content))
        except (AnsweredError, *_NOT_DECODED) as exc:
            raise await self._meaning(image, exc) from exc

    async def _meaning(self, image: ObjectRef, exc: Exception) -> Exception:
        if not isinstance(exc, AnsweredError):
            return undecodable(f"labels of {image.uri}", exc)
        answer = exc.answer
        if answer.code == OPAQUE and self._diagnosis is not None:
            return await self._diagnosis.cause(image, answer)
        if answer.code in _OF_THE_MODEL and self._model:
            answer = replace(answer, where=self._model)
        return classify(answer)
