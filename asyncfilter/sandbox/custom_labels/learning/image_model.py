"""A model of image-level labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asyncfilter.sandbox.custom_labels.learning.examples import Example
from asyncfilter.sandbox.custom_labels.learning.features import Array, image_scales, image_vector, mirrored
from asyncfilter.sandbox.custom_labels.learning.ridge import Ridge


class ImageModel:
    """Gives each image a confidence for every label.

    Args:
        examples: Images with labels.
        labels: All labels, in the order of the confidences.
    """

    def __init__(self, examples: Sequence[Example], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        vectors = [
            image_vector(seen) for example in examples for seen in (example.channels, mirrored(example.channels))
        ]
        truth = np.array([[label in example.labels for label in labels] for example in examples])
        groups = np.repeat(np.arange(len(examples)), 2)
        self._ridge = Ridge(
            np.array(vectors), truth.repeat(2, axis=0), groups, scales=image_scales(examples[0].channels)
        )

    def confidences(self, channels: Array) -> list[float]:
        """The confidence of each label, from 0 to 1."""
        found = self._ridge.confidences(image_vector(channels)[None])[0]
        return [round(float(confidence), 6) for confidence in found]
