"""One image with its boxes, as another program's format has it."""

from __future__ import annotations

from typing import NamedTuple

from asyncfilter.datasets.manifests.model import ImageSize


class Edges(NamedTuple):
    """One box by its edges, in pixels that need not be whole.

    Attributes:
        label: The name of its class.
        confidence: 0 to 1; None where the format says nothing, which means that a person drew it.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    confidence: float | None = None


class BoxedImage(NamedTuple):
    """One image.

    Attributes:
        place: Where it stands, for messages.
        name: Its file name as the format has it, or its whole address.
        size: Of the upright image; None when the format does not say it.
        boxes: All that can be read.
    """

    place: str
    name: str
    size: ImageSize | None
    boxes: list[Edges]
