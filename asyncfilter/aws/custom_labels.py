"""DetectCustomLabels: answers to detections, and what a model's version says of itself.

The service answers with one entry per box; here the entries of one name become one label whose confidence is the
highest of them, with an instance per box, so that rules about counts and areas mean the same for both detectors.
``extra`` (see ``rekognition``) is laid over that form: polygons stand at their instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec

from asyncfilter.aws.answers import AnsweredError, Operation
from asyncfilter.aws.calls import DetectCall
from asyncfilter.aws.diagnosis import Diagnosis
from asyncfilter.aws.errors import classify
from asyncfilter.aws.failures import vendor_translated
from asyncfilter.aws.rekognition import RekognitionDetector, WireBox, encode_extra, left_over
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import AccessError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.model import Detection, Instance, Label


class _Geometry(msgspec.Struct, rename="pascal", gc=False):
    bounding_box: WireBox | None = None


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


# -- The model ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model as DescribeProjectVersions shows it.

    Attributes:
        status: ``RUNNING``, ``STOPPED``, ``TRAINING_COMPLETED`` and so on.
        inference_units: Units it runs with at least, each billed by the hour; 0 when it does not run.
        max_inference_units: Units it may scale up to; the same as ``inference_units`` without auto-scaling.
    """

    arn: str
    status: str
    inference_units: int
    max_inference_units: int


async def describe_model(session: AwsSession, arn: str) -> ModelState:
    """Ask what a model is doing.

    Raises:
        PermissionDeniedError: ``rekognition:DescribeProjects`` or ``DescribeProjectVersions`` is not allowed.
        AccessError: There is no such model.
        TransientError: No answer.
    """
    parts = ModelArn.parse(arn)
    client = await session.client("rekognition", parts.region)
    try:
        with vendor_translated(Operation.DESCRIBE_PROJECT_VERSIONS, arn), anyio.fail_after(session.timeout_s):
            projects = await client.describe_projects(ProjectNames=[parts.project])
            # A project's own ARN ends in its own time stamp, which the version's does not tell.
            versions = [
                version
                for project in projects["ProjectDescriptions"]
                for version in (
                    await client.describe_project_versions(
                        ProjectArn=project["ProjectArn"], VersionNames=[parts.version]
                    )
                )["ProjectVersionDescriptions"]
            ]
    except AnsweredError as exc:
        raise classify(exc.answer) from exc
    for version in versions:
        if version["ProjectVersionArn"] == arn:
            units = int(version.get("MinInferenceUnits") or 0)
            return ModelState(arn, version["Status"], units, int(version.get("MaxInferenceUnits") or units))
    raise AccessError(f"There is no model {arn}", hint="Set detector.model to the ARN of a trained version.")
