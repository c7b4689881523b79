"""Labels and boxes of one image, as lines of a manifest hold them."""

from __future__ import annotations

from typing import Any

import msgspec

IMAGE_TYPE = "groundtruth/image-classification"
"""``type`` of an image-level label."""
BOX_TYPE = "groundtruth/object-detection"
"""``type`` of a set of boxes."""
MULTI_LABEL_TYPE = "groundtruth/image-classification-multilabel"
"""``type`` of SageMaker's own lines with several labels, which Custom Labels does not take."""

METADATA = "-metadata"
"""What the name of an attribute's metadata ends in."""

SOURCE_REF = "source-ref"

SERVICE_KEYS = frozenset(
    {"errors", "warnings", "cl-errors", "cl-metadata", "rekognition-custom-labels-object-id", "line-idx"}
)
"""Keys that the service itself puts into lines."""

MAX_LABEL_CHARS = 255
"""Longest label (API reference, *DatasetLabel*; the guide says 256)."""


class ImageSize(msgspec.Struct, frozen=True, gc=False):
    """Size of the upright image in pixels; ``depth`` is the number of channels."""

    width: int
    height: int
    depth: int = 3


class PixelBox(msgspec.Struct, frozen=True, gc=False):
    """One box in pixels from the top left of the upright image.

    Attributes:
        label: The name of its class.
        confidence: 0 to 1; 1 where a person drew it.
    """

    label: str
    left: float
    top: float
    width: float
    height: float
    confidence: float = 1


class ImageLabel(msgspec.Struct, frozen=True, kw_only=True):
    """One image-level label of a line.

    Attributes:
        attribute: Name of the attribute, such as ``label0``.
        name: The label: ``class-name``.
        value: The attribute's number.
        confidence: 0 to 1.
        metadata: All of the metadata, as read.
    """

    attribute: str
    name: str
    value: int
    confidence: float
    metadata: dict[str, Any]


class BoxAttribute(msgspec.Struct, frozen=True, kw_only=True):
    """The boxes of one attribute of a line.

    Attributes:
        attribute: Name of the attribute, such as ``boxes``.
        size: Of the image, as the line has it.
        boxes: Those that can be used.
        metadata: All of the metadata, as read.
    """

    attribute: str
    size: ImageSize
    boxes: tuple[PixelBox, ...]
    metadata: dict[str, Any]
