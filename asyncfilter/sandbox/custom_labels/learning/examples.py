"""What models are learned from and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from asyncfilter.sandbox.custom_labels.learning.features import Array

T = TypeVar("T")
MOST_IMAGES: Final = 1000
"""Most images that a model is learned from; of more, evenly spread ones are taken."""


class RatioBox(NamedTuple):
    """A box in ratios of the image."""

    label: str
    left: float
    top: float
    width: float
    height: float


class Example(NamedTuple):
    """One image with its truth.

    Attributes:
        channels: Of the image.
        labels: Those of the image as a whole.
        boxes: Its boxes.
    """

    channels: Array
    labels: frozenset[str]
    boxes: tuple[RatioBox, ...]


def spread(examples: Sequence[T], most: int = MOST_IMAGES) -> Sequence[T]:
    """At most ``most`` of the examples, evenly spread over all."""
    if len(examples) <= most:
        return examples
    return [examples[place * len(examples) // most] for place in range(most)]
