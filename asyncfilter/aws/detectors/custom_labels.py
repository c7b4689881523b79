"""DetectCustomLabels: a response's boxes as a detection, and the detector that reads it.

The service answers with one entry per box; here the entries of one name become one label whose confidence is the
highest of them, with an instance per box, so that rules about counts and areas mean the same for both detectors.
``extra`` (see ``overlay``) is laid over that form: polygons stand at their instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from asyncfilter.aws.clients.protocols import DetectCall
from asyncfilter.aws.detectors.base import RekognitionDetector
from asyncfilter.aws.detectors.labels import PayloadBox
from asyncfilter.aws.detectors.overlay import encode_extra, left_over
from asyncfilter.aws.s3.diagnosis import Diagnosis
from asyncfilter.model import Detection, Instance, Label


class _Geometry(msgspec.Struct, rename="pascal", gc=False):
    bounding_box: PayloadBox | None = None


class _CustomLabel(msgspec.Struct, rename="pascal", gc=False):
    name: str
    confidence: float = 0.0
    geometry: _Geometry | None = None


class _CustomLabels(msgspec.Struct, rename="pascal", gc=False):
    custom_labels: list[dict[str, Any]]


_BOX = dict.fromkeys(("Width", "Height", "Left", "Top"))
_MODELLED: Mapping[str, Any] = {"Name": None, "Confidence": None, "Geometry": {"BoundingBox": _BOX}}


def read_custom_labels(body: bytes) -> Detection:
    """The detection in a DetectCustomLabels answer, labels by falling confidence.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    whole = msgspec.json.decode(body, type=dict[str, Any])
    entries: dict[str, list[tuple[_CustomLabel, dict[str, Any]]]] = {}
    for raw in msgspec.convert(whole, _CustomLabels).custom_labels:
        entry = msgspec.convert(raw, _CustomLabel)
        entries.setdefault(entry.name, []).append((entry, left_over(raw, _MODELLED)))
    ranked = sorted(entries.items(), key=lambda item: -max(entry.confidence for entry, _ in item[1]))
    extra = {name: value for name, value in whole.items() if name != "CustomLabels" and value not in (None, [], {})}
    over_labels = {str(index): over for index, (_, group) in enumerate(ranked) if (over := _overlay(group))}
    if over_labels:
        extra["Labels"] = over_labels
    return Detection(tuple([_label(name, group) for name, group in ranked]), "", encode_extra(extra))


def _label(name: str, group: list[tuple[_CustomLabel, dict[str, Any]]]) -> Label:
    boxed = [(entry.geometry.bounding_box, entry) for entry, _ in group if entry.geometry]
    return Label(
        name,
        max(entry.confidence for entry, _ in group),
        tuple([Instance(box.box(), entry.confidence) for box, entry in boxed if box]),
    )


def _overlay(group: list[tuple[_CustomLabel, dict[str, Any]]]) -> dict[str, Any]:
    """What is left of one label's entries: at their instance where they have a box, else at the label itself."""
    overlay: dict[str, Any] = {}
    instances: dict[str, Any] = {}
    boxes = 0
    for entry, rest in group:
        if entry.geometry and entry.geometry.bounding_box:
            if rest:
                instances[str(boxes)] = {**rest.pop("Geometry", {}), **rest}
            boxes += 1
        else:
            overlay.update(rest)
    return {**overlay, "Instances": instances} if instances else overlay


class CustomLabelsDetector(RekognitionDetector):
    """``Detector`` over DetectCustomLabels, by S3 reference or of bytes at hand.

    Args:
        call: Either client's call.
        diagnosis: Looks into objects that Rekognition could not read.
        model: ARN of the model's version.
    """

    def __init__(self, call: DetectCall, diagnosis: Diagnosis | None, *, model: str) -> None:
        super().__init__(call, diagnosis, model=model, read=read_custom_labels)
