"""The files of a training that tell how good its model is: summary and snapshots.

Forms: Custom Labels guide, *Summary file*, *Evaluation manifest snapshot*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asyncfilter.sandbox.custom_labels.judgement import JudgedLine
from asyncfilter.sandbox.custom_labels.material import UseCase
from asyncfilter.sandbox.custom_labels.metrics import LabelMetrics, means
from asyncfilter.sandbox.custom_labels.pairs import BOX_TYPE, IMAGE_TYPE, Box
from asyncfilter.sandbox.custom_labels.testing import Prediction, TestResult
from asyncfilter.sandbox.custom_labels.validation_files import json_lines, pretty

TRUTH: Final = "rekognition-custom-labels-training"
FOUND: Final = "rekognition-custom-labels-evaluation"
DETAILS: Final = "rekognition-custom-labels-evaluation-details"


def evaluation_summary(
    arn: str, result: TestResult, *, training_images: int, ended_s: float, use_case: UseCase, is_nested: bool
) -> bytes:
    """The summary of a test.

    Args:
        arn: Of the version.
        result: Of the test.
        training_images: How many images the model was trained with.
        ended_s: Unix seconds.
        use_case: What it is trained for.
        is_nested: Whether the figures of the model stand in ``Metrics``, as in the guide's reference.
    """
    figures = means(result.labels)
    aggregated: dict[str, Any] = {"Precision": figures.precision, "Recall": figures.recall, "F1Score": figures.f1}
    if use_case is UseCase.BOXES:
        aggregated |= {"AveragePrecision": figures.average_precision, "AverageRecall": figures.average_recall}
    else:
        aggregated["ConfusionMatrix"] = [
            {"GroundTruthLabel": truth, "PredictedLabel": found, "Value": share}
            for truth, found, share in result.confusion
        ]
    return pretty(
        {
            "Version": 1,
            "EvaluationDetails": {
                "ProjectVersionArn": arn,
                "EvaluationEndTimestamp": _moment(ended_s),
                "Labels": sorted(result.thresholds),
                "NumberOfTrainingImages": training_images,
                "NumberOfTestingImages": len(result.lines),
            },
            "AggregatedEvaluationResults": {"Metrics": aggregated} if is_nested else aggregated,
            "LabelEvaluationResults": [_label_row(label) for label in result.labels],
        }
    )


def training_snapshot(lines: Sequence[JudgedLine], use_case: UseCase, ended_s: float) -> bytes:
    """The images that the model was trained with."""
    made = _moment(ended_s)
    return json_lines([{"source-ref": line.ref, **_truth(line, use_case, made)} for line in lines])


def test_snapshot(result: TestResult, use_case: UseCase, ended_s: float) -> bytes:
    """The images of the test, with truth and predictions."""
    made, thresholds = _moment(ended_s), result.thresholds
    is_boxes = use_case is UseCase.BOXES
    found: Callable[..., dict[str, Any]] = _boxes_found if is_boxes else _labels_found
    return json_lines(
        [
            {"source-ref": line.ref, **_truth(line, use_case, made), **found(line, predictions, thresholds, made)}
            for line, predictions in result.lines
        ]
    )


def _label_row(label: LabelMetrics) -> dict[str, Any]:
    metrics = {
        "Precision": label.precision,
        "Recall": label.recall,
        "F1Score": label.f1,
        "Threshold": label.threshold,
    }
    return {"Label": label.label, "NumberOfTestingImages": label.images, "Metrics": metrics}


def _truth(line: JudgedLine, use_case: UseCase, made: str) -> dict[str, Any]:
    """The truth of an image, in attributes of the service's own names."""
    job = {"job-name": f"{TRUTH}-job", "human-annotated": "yes", "creation-date": made}
    members: dict[str, Any] = {}
    if use_case is UseCase.IMAGE:
        for number, label in enumerate(dict.fromkeys(line.labels)):
            members[f"{TRUTH}-{number}"] = 1
            members[f"{TRUTH}-{number}-metadata"] = {"confidence": 1.0, "class-name": label, "type": IMAGE_TYPE, **job}
        return members
    boxes = [(box, {"confidence": 1.0}) for box in line.boxes]
    return _boxes(f"{TRUTH}-0", line, boxes, job)


def _labels_found(
    line: JudgedLine, predictions: list[Prediction], thresholds: dict[str, float], made: str
) -> dict[str, Any]:
    del line
    job = {"job-name": f"{FOUND}-job", "human-annotated": "no", "creation-date": made, "type": IMAGE_TYPE}
    members: dict[str, Any] = {}
    for number, found in enumerate(predictions):
        details = {DETAILS: found.details(thresholds)}
        metadata = {"confidence": found.confidence, "class-name": found.label, **job, **details}
        members |= {f"{FOUND}-{number}": 1, f"{FOUND}-{number}-metadata": metadata}
    return members


def _boxes_found(
    line: JudgedLine, predictions: list[Prediction], thresholds: dict[str, float], made: str
) -> dict[str, Any]:
    job = {"job-name": f"{FOUND}-job", "human-annotated": "no", "creation-date": made}
    boxes = [
        (_in_pixels(line, found), {"confidence": found.confidence, DETAILS: found.details(thresholds)})
        for found in predictions
    ]
    return _boxes(FOUND, line, boxes, job)


def _boxes(name: str, line: JudgedLine, boxes: list[tuple[Box, dict[str, Any]]], job: dict[str, Any]) -> dict[str, Any]:
    """An attribute of boxes with its metadata; each box has its object."""
    width, height = line.size or (0, 0)
    numbers = {label: number for number, label in enumerate(sorted({box.label for box, _ in boxes}))}
    annotations = [
        {"class_id": numbers[box.label], "left": box.left, "top": box.top, "width": box.width, "height": box.height}
        for box, _ in boxes
    ]
    return {
        name: {"image_size": [{"width": width, "height": height, "depth": 3}], "annotations": annotations},
        f"{name}-metadata": {
            "objects": [found for _, found in boxes],
            "class-map": {str(number): label for label, number in numbers.items()},
            "type": BOX_TYPE,
            **job,
        },
    }


def _in_pixels(line: JudgedLine, found: Prediction) -> Box:
    width, height = line.size or (0, 0)
    assert found.box is not None  # noqa: S101 - predictions of a model of boxes
    left, top = round(found.box.left * width), round(found.box.top * height)
    right, bottom = (
        round((found.box.left + found.box.width) * width),
        round((found.box.top + found.box.height) * height),
    )
    return Box(found.label, left, top, right - left, bottom - top, 0)


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
