"""DetectCustomLabels: a response's boxes as a detection, and the detector that reads it.

The service returns one entry per box. Here the entries of one name become one label with an instance per box; its
confidence is the highest of theirs. So rules about counts and areas mean the same for both detectors. ``extra`` (see
``overlay``) refers to that form: a polygon belongs to its instance.
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
    """The detection in a DetectCustomLabels response, labels in order of descending confidence.

    Raises:
        msgspec.DecodeError: The body is not such a response.
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
    """The fields of one label's entries that the model has no place for.

    They belong to the instance where an entry has a box, otherwise to the label itself.
    """
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
    """``Detector`` over DetectCustomLabels, by S3 reference or by the image's bytes.

    Args:
        call: The detect call of either client.
        diagnosis: Finds out why Rekognition could not read an object; None where images are not objects in S3.
        model: ARN of the model's version.
    """

    def __init__(self, call: DetectCall, diagnosis: Diagnosis | None, *, model: str) -> None:
        super().__init__(call, diagnosis, model=model, read=read_custom_labels)
