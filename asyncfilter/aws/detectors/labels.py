"""DetectLabels: a response's labels as a detection.

Decoding is typed and rejects unknown fields. A response with unknown fields is decoded a second time, without types,
and the fields that ``Detection`` does not model are kept in ``Detection.extra`` (see ``overlay``). So the usual
response costs microseconds, and no response loses content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from asyncfilter.aws.detectors.overlay import encode_extra, left_over, modelled
from asyncfilter.model import Box, Detection, Instance, Label


class _Payload(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """Base of the decoded structures, with AWS's field names; unknown fields are left to the untyped decoding."""


class PayloadBox(_Payload, forbid_unknown_fields=True, frozen=True):
    """``BoundingBox``."""

    width: float = 0.0
    height: float = 0.0
    left: float = 0.0
    top: float = 0.0

    def box(self) -> Box:
        """The box with its fields in the order of ``Box``."""
        return Box(self.left, self.top, self.width, self.height)


class _PayloadInstance(_Payload, forbid_unknown_fields=True, frozen=True):
    bounding_box: PayloadBox = PayloadBox()
    confidence: float = 0.0


class _PayloadName(_Payload, forbid_unknown_fields=True, frozen=True):
    name: str = ""


class _PayloadLabel(_Payload, forbid_unknown_fields=True, frozen=True):
    name: str
    confidence: float = 0.0
    instances: tuple[_PayloadInstance, ...] = ()
    parents: tuple[_PayloadName, ...] = ()
    aliases: tuple[_PayloadName, ...] = ()
    categories: tuple[_PayloadName, ...] = ()


class _PayloadLabels(_Payload, forbid_unknown_fields=True, frozen=True):
    labels: tuple[_PayloadLabel, ...] | None = None
    label_model_version: str = ""
    orientation_correction: None = None


_STRICT = msgspec.json.Decoder(_PayloadLabels)
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
"""Fields that ``Detection`` models; all others go to ``extra``."""


def read_labels(body: bytes) -> Detection:
    """The detection in a DetectLabels response.

    Raises:
        msgspec.DecodeError: The body is not such a response.
    """
    try:
        return _detection(_STRICT.decode(body), b"")
    except msgspec.ValidationError:
        whole = msgspec.json.decode(body, type=dict[str, Any])
        rest = left_over(whole, _MODELLED)
        return _detection(msgspec.convert(modelled(whole, _MODELLED), _PayloadLabels), encode_extra(rest))


def _detection(payload: _PayloadLabels, extra: bytes) -> Detection:
    if payload.labels is None and not extra:
        raise msgspec.ValidationError("neither labels nor anything else")
    return Detection(tuple([_label(label) for label in payload.labels or ()]), payload.label_model_version, extra)


def _label(payload: _PayloadLabel) -> Label:
    return Label(
        payload.name,
        payload.confidence,
        tuple([Instance(one.bounding_box.box(), one.confidence) for one in payload.instances])
        if payload.instances
        else (),
        _names(payload.parents),
        _names(payload.aliases),
        _names(payload.categories),
    )


def _names(payloads: tuple[_PayloadName, ...]) -> tuple[str, ...]:
    return tuple([payload.name for payload in payloads]) if payloads else ()
