"""The detector responses of all workloads: recorded ones of the real service, or else those that the sandbox generates.

The job's label is chosen so that about one image in seven is copied.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asyncfilter.aws.detectors.labels import read_labels
from asyncfilter.model import Detection
from asyncfilter.sandbox import LabelSource
from asyncfilter.sandbox.answers.folder import FolderAnswers
from asyncfilter.sandbox.answers.source import Picture
from asyncfilter.sandbox.synthetic import SyntheticKeys

RAW, CLEAN = "raw-images", "clean-images"
PATTERN = "archive/2026/camera-07/jay/{n}.jpg"
"""Keys of a usual length, in a folder for which the sandbox has labels."""
KEPT_SHARE = 0.14
_DRAWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Detector responses, and the label that selects images.

    Attributes:
        name: ``recorded`` or ``drawn``.
        detections: The responses, each as often as it occurs.
        label, confidence_pct: The label, and its least confidence, of an image that is kept.
        sandbox: Options with which a sandbox returns these responses.
    """

    name: str
    detections: Sequence[Detection]
    label: str
    confidence_pct: float
    sandbox: dict[str, Any]

    @classmethod
    def of(cls, recorded: Path | None) -> Self:
        """The responses in a file of recorded ones; those that the sandbox generates if ``recorded`` is None."""
        if recorded is not None:
            lines = recorded.read_text(encoding="utf-8").splitlines()
            detections = [read_labels(json.dumps(_body(json.loads(line)["response"])).encode()) for line in lines]
            options = {"labels": LabelSource.RECORDED, "recorded": str(recorded.resolve())}
            label = usual_label(detections)
            return cls(name="recorded", detections=detections, label=label, confidence_pct=55.0, sandbox=options)
        source = FolderAnswers()
        pictures = [Picture(RAW, key, b"", "") for key in SyntheticKeys(_DRAWN, PATTERN)]
        bodies = [b'{"Labels":[%b]}' % b",".join(label.json for label in source.labels(one).labels) for one in pictures]
        drawn = [read_labels(body) for body in bodies]
        # Confidence is uniform from 88 to 99.9; this bound keeps about one image in seven.
        return cls(name="drawn", detections=drawn, label="Jay", confidence_pct=98.0, sandbox={})


def usual_label(detections: Sequence[Detection]) -> str:
    """The label whose share of the responses is nearest to ``KEPT_SHARE``."""
    names = {label.name for detection in detections for label in detection.labels}

    def distance(name: str) -> float:
        shown = sum(any(label.name == name for label in detection.labels) for detection in detections)
        return abs(shown / len(detections) - KEPT_SHARE)

    return min(sorted(names), key=distance)


def _body(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}
