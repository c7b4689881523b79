"""Evaluation summaries and test snapshots, as Custom Labels writes them, in all their published variants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.kit.manifests import D, box, size

ENDED = "2026-11-27T12:30:00.123456"
_MADE = "2026-11-27T11:00:00.488243"


def arn(project: str = "birds", version: str = "birds.2026-11-27T10.00.00") -> str:
    """The ARN of a version."""
    return f"arn:aws:rekognition:eu-west-1:123456789012:project/{project}/version/{version}/1764244800000"


class Judged(NamedTuple):
    """A prediction: a label, a confidence, an outcome (``tp``, ``fp``, ``fn``, ``tn``), and a box or None."""

    label: str
    confidence: float
    outcome: str
    frame: Sequence[float] | None = None


def details(outcome: str) -> D:
    """The service's judgement of a prediction."""
    names = {"tp": "true-positive", "tn": "true-negative", "fp": "false-positive", "fn": "false-negative"}
    return {
        "version": 1,
        "ground-truth-labelling-jobs": ["rekognition-custom-labels-training-job"],
        **{f"is-{name}": known == outcome for known, name in names.items()},
        "is-present-in-ground-truth": outcome in {"tp", "fn"},
    }


def _metadata(kind: str, **more: Any) -> D:
    return {
        "job-name": f"rekognition-custom-labels-{kind}-job",
        "human-annotated": "yes" if kind == "training" else "no",
        "creation-date": _MADE,
        **more,
    }


def image_line(ref: str, truths: Iterable[str], predictions: Iterable[Judged], *, numbered: bool = True) -> D:
    """A line with labels of the whole image; without numbers it has at most one of each kind."""
    line: D = {"source-ref": ref}
    for kind, entries in (("training", [Judged(name, 1, "") for name in truths]), ("evaluation", list(predictions))):
        for number, one in enumerate(entries):
            name = f"rekognition-custom-labels-{kind}{f'-{number}' if numbered else ''}"
            extra = {"rekognition-custom-labels-evaluation-details": details(one.outcome)} if one.outcome else {}
            line[name] = 1
            line[f"{name}-metadata"] = _metadata(
                kind,
                confidence=one.confidence,
                type="groundtruth/image-classification",
                **{"class-name": one.label},
                **extra,
            )
    return line


def box_line(
    ref: str,
    truths: Iterable[tuple[str, Sequence[float]]],
    predictions: Iterable[Judged],
    *,
    width: int = 640,
    height: int = 480,
    in_metadata: bool = False,
) -> D:
    """A line with boxes; the prediction has no number, as seen in the wild."""
    found = [*predictions]
    given = [Judged(label, 1, "", frame) for label, frame in truths]
    names = list(dict.fromkeys(one.label for one in (*given, *found)))
    line: D = {"source-ref": ref, "rekognition-custom-labels-object-id": 7, "line-idx": 3}
    for kind, entries, name in (
        ("training", given, "rekognition-custom-labels-training-0"),
        ("evaluation", found, "rekognition-custom-labels-evaluation"),
    ):
        line[name] = {
            "image_size": size(width, height),
            "annotations": [_annotation(one, names) for one in entries],
        }
        line[f"{name}-metadata"] = _metadata(
            kind,
            type="groundtruth/object-detection",
            objects=[_object(one, in_metadata=in_metadata) for one in entries],
            **{"class-map": {str(number): label for number, label in enumerate(names)}},
        )
        if in_metadata and entries and entries[0].outcome:
            line[f"{name}-metadata"] |= {
                "confidence": entries[0].confidence,
                "rekognition-custom-labels-evaluation-details": details(entries[0].outcome),
            }
    return line


def _annotation(one: Judged, names: list[str]) -> D:
    left, top, width, height = one.frame or (0, 0, 1, 1)
    return box(left, top, width, height, names.index(one.label))


def _object(one: Judged, *, in_metadata: bool) -> D:
    if not one.outcome:
        return {"confidence": 1}
    if in_metadata:
        return {}
    return {"confidence": one.confidence, "rekognition-custom-labels-evaluation-details": details(one.outcome)}


def summary(
    labels: Mapping[str, Sequence[float]],
    *,
    nested: bool = True,
    figures: Sequence[float] = (0.9, 0.8, 0.847),
    confusion: Iterable[tuple[str, str, float]] = (),
    averages: Sequence[float] = (),
    images: Sequence[int] = (56, 14),
    version: str = "birds.2026-11-27T10.00.00",
) -> D:
    """A summary.

    Args:
        labels: Precision, recall, F1, threshold and test images of each label.
        nested: The aggregates stand in ``Metrics``, as in the reference; else as in the worked example.
        figures: Precision, recall and F1 of all labels.
        confusion: Truth, prediction, share.
        averages: Average precision and recall, for boxes.
        images: Trained with, tested with.
        version: Its name.
    """
    precision, recall, f1 = figures
    aggregates: D = {"Precision": precision, "Recall": recall, "F1Score": f1}
    if averages:
        aggregates |= {"AveragePrecision": averages[0], "AverageRecall": averages[1]}
    else:
        aggregates["ConfusionMatrix"] = [
            {"GroundTruthLabel": truth, "PredictedLabel": predicted, "Value": share}
            for truth, predicted, share in confusion
        ]
    return {
        "Version": 1,
        "AggregatedEvaluationResults": {"Metrics": aggregates} if nested else aggregates,
        "EvaluationDetails": {
            "EvaluationEndTimestamp": ENDED,
            "Labels": list(labels),
            "NumberOfTestingImages": images[1],
            "NumberOfTrainingImages": images[0],
            "ProjectVersionArn": arn(version=version),
        },
        "LabelEvaluationResults": [
            {
                "Label": label,
                "Metrics": {"Precision": row[0], "Recall": row[1], "F1Score": row[2], "Threshold": row[3]},
                "NumberOfTestingImages": row[4],
            }
            for label, row in labels.items()
        ],
    }


def lines(documents: Iterable[object]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in documents)


def walkthrough() -> tuple[D, list[D]]:
    """A model that finds one logo, with the figures of a published walkthrough: 13 right, 7 wrong, 4 missed.

    The service's figures are precision .60, recall .70 and F1 .646, and its own details come to .65, .765 and .703.
    """
    frame, other = (100, 100, 50, 40), (300, 200, 60, 60)
    document = summary(
        {"Swoosh": (0.6, 0.7, 0.6461539, 0.258, 14)},
        figures=(0.6, 0.7, 0.6461539),
        averages=(0.609, 0.941),
        nested=False,
        version="swoosh_detector.2020-12-13T22.50.45",
    )
    judged = [
        [("tp", 0.96415)],
        [("fn", 0.00914), ("fp", 0.29019)],
        [("tp", 0.32331), ("tp", 0.31989)],
        [("tp", 0.88223)],
        [("tp", 0.97086), ("fn", 0.01341)],
        [("fp", 0.28191), ("fp", 0.56933), ("tp", 0.71), ("fp", 0.6015)],
        [("tp", 0.9)],
        [("tp", 0.8), ("fp", 0.42785)],
        [("fn", 0.2)],
        [("tp", 0.77)],
        [("tp", 0.6)],
        [("tp", 0.55), ("fp", 0.39023)],
        [("fn", 0.1), ("tp", 0.5)],
        [("tp", 0.99), ("fp", 0.83339)],
    ]
    found = []
    for number, entries in enumerate(judged):
        predictions = [
            Judged("Swoosh", share, outcome, frame if outcome != "fp" else other) for outcome, share in entries
        ]
        truths = [("Swoosh", frame) for outcome, _ in entries if outcome != "fp"]
        found.append(box_line(f"s3://logos/set/{number:02}.jpg", truths, predictions))
    return document, found
