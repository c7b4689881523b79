"""Trained models as DetectCustomLabels and the test use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncfilter.sandbox.answers.source import Picture
from asyncfilter.sandbox.custom_labels.learning.box_model import BoxModel
from asyncfilter.sandbox.custom_labels.learning.examples import RatioBox
from asyncfilter.sandbox.custom_labels.learning.features import UndecodableError, channels_of
from asyncfilter.sandbox.custom_labels.learning.image_model import ImageModel
from asyncfilter.sandbox.message import ServiceError


class Trained:
    """A ``Model``: what was learned, and the assumed threshold of each label, from 0 to 1."""

    def __init__(self, model: ImageModel | BoxModel, thresholds: Mapping[str, float]) -> None:
        self._model = model
        self._thresholds = thresholds

    def assumed_pct(self, label: str) -> float:
        """See ``Model``."""
        return self._thresholds[label] * 100

    def detect(self, picture: Picture) -> list[dict[str, Any]]:
        """See ``Model``."""
        try:
            channels = channels_of(picture.body)
        except UndecodableError as error:
            raise ServiceError("InvalidImageFormatException", "Request has invalid image format") from error
        if isinstance(self._model, ImageModel):
            named = zip(self._model.labels, self._model.confidences(channels), strict=True)
            rows: list[dict[str, Any]] = [{"Name": label, "Confidence": found * 100} for label, found in named]
        else:
            rows = [
                {"Name": found.box.label, "Confidence": found.confidence * 100, "Geometry": _geometry(found.box)}
                for found in self._model.find(channels)
            ]
        return sorted(rows, key=lambda row: -row["Confidence"])


def _geometry(box: RatioBox) -> dict[str, Any]:
    right, bottom = box.left + box.width, box.top + box.height
    corners = ((box.left, box.top), (right, box.top), (right, bottom), (box.left, bottom))
    return {
        "BoundingBox": {"Width": box.width, "Height": box.height, "Left": box.left, "Top": box.top},
        "Polygon": [{"X": x, "Y": y} for x, y in corners],
    }
