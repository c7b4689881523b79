"""globox, which knows the coordinates of COCO, VOC and YOLO: a part of the extra ``datasets``, imported when used."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from asyncfilter.datasets.exchange.boxed_image import Edges
from asyncfilter.datasets.manifests.line_form import confidence_number
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.errors import UsageError


def globox() -> ModuleType:
    """The library.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import globox as found  # noqa: PLC0415  part of an extra
    except ImportError as error:
        raise UsageError(
            f"COCO, VOC and YOLO need globox, which cannot be imported: {error}",
            hint="Install the extra: pip install 'asyncfilter[datasets]'",
        ) from error
    module: ModuleType = found
    return module


def annotation_of(name: str, size: ImageSize, boxes: Iterable[PixelBox], *, with_confidence: bool) -> Any:  # noqa: ANN401
    """The boxes of one image as an object of globox, which is untyped.

    Args:
        name: The file name of the image.
        size: Of the image.
        boxes: In pixels.
        with_confidence: Whether a confidence below 1 is carried over; 1 is that of a person, and all that is more.
    """
    library = globox()
    scores = ((box, confidence_number(box.confidence)) for box in boxes)
    return library.Annotation(
        image_id=name,
        image_size=(size.width, size.height),
        boxes=[
            library.BoundingBox.create(
                label=box.label,
                coords=(box.left, box.top, box.width, box.height),
                confidence=score if with_confidence and score != 1 else None,
                box_format=library.BoxFormat.LTWH,
            )
            for box, score in scores
        ],
    )


def edges_of(box: Any, label: str | None = None) -> Edges:  # noqa: ANN401
    """A box of globox, which is untyped, with another label where its own is only a number."""
    left, top, right, bottom = box.ltrb
    return Edges(box.label if label is None else label, left, top, right, bottom, box.confidence)
