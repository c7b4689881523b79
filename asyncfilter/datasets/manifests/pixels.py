"""Boxes in whole pixels.

Edges are rounded, not widths: a box never leaves the frame, and boxes that touch still touch.
"""

from __future__ import annotations

from math import floor

from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.model import Box

SERVICE_SIDE_PX = 1280
"""Longer side to which the service scales larger images before it looks at boxes.

Source: Custom Labels guide, ERROR_BOUNDING_BOX_TOO_SMALL.
"""


def rounded(edge: float) -> int:
    """The whole pixel next to an edge; halves go up."""
    return floor(edge + 0.5)


def box_of_ratios(label: str, box: Box, size: ImageSize, confidence: float) -> PixelBox:
    """A box in fractions of the image in whole pixels, cut at the frame."""
    left, right = _edges(box.left, box.width, size.width)
    top, bottom = _edges(box.top, box.height, size.height)
    return PixelBox(label, left, top, right - left, bottom - top, confidence)


def box_of_edges(
    label: str, size: ImageSize, *, left: float, top: float, right: float, bottom: float, confidence: float = 1
) -> PixelBox:
    """A box from its edges in pixels, in whole pixels and cut at the frame; right of left and below top stay so."""
    whole_left, whole_right = (min(max(rounded(edge), 0), size.width) for edge in (left, right))
    whole_top, whole_bottom = (min(max(rounded(edge), 0), size.height) for edge in (top, bottom))
    return PixelBox(label, whole_left, whole_top, whole_right - whole_left, whole_bottom - whole_top, confidence)


def is_outside(size: ImageSize, *, left: float, top: float, right: float, bottom: float) -> bool:
    """Whether a box is partly or wholly outside of the frame."""
    return left < 0 or top < 0 or right > size.width or bottom > size.height


def is_too_small(width: float, height: float, size: ImageSize) -> bool:
    """Whether the service refuses a box: a side must have more than one pixel once the image is scaled."""
    longer = max(size.width, size.height)
    return min(width, height) * min(SERVICE_SIDE_PX, longer) <= longer


def _edges(start: float, length: float, side_px: int) -> tuple[int, int]:
    first, last = (min(max(edge, 0.0), 1.0) * side_px for edge in (start, start + length))
    return rounded(first), rounded(last)
