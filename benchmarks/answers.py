"""The answers that everything is measured with: recorded ones of the real service, else the sandbox's own.

What is kept is chosen so that about one image in seven is copied.
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
"""Keys of a usual length, in a folder the sandbox has labels for."""
KEPT_SHARE = 0.14
_DRAWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers and what is looked for in them.

    Attributes:
        name: ``recorded`` or ``drawn``.
        detections: Each as often as it comes.
        label, confidence_pct: What an image must show to be kept.
        sandbox: Options that make a sandbox give them.
    """

    name: str
    detections: Sequence[Detection]
    label: str
    confidence_pct: float
    sandbox: dict[str, Any]

    @classmethod
    def of(cls, recorded: Path | None) -> Self:
        """Those of a file of recorded answers, or the sandbox's own."""
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
        # Confidence is drawn evenly from 88 to 99.9, so that this bound keeps what it should.
        return cls(name="drawn", detections=drawn, label="Jay", confidence_pct=98.0, sandbox={})


def usual_label(detections: Sequence[Detection]) -> str:
    """The label whose share of the answers is nearest to that of the images kept."""
    names = {label.name for detection in detections for label in detection.labels}

    def distance(name: str) -> float:
        shown = sum(any(label.name == name for label in detection.labels) for detection in detections)
        return abs(shown / len(detections) - KEPT_SHARE)

    return min(sorted(names), key=distance)


def _body(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}
