"""Boxes of files as fractions of the upright picture: percents and pixels, rotated or not."""

from __future__ import annotations

from math import cos, radians, sin
from typing import NamedTuple


class Fractions(NamedTuple):
    """A box in fractions of the picture, which may reach beyond it."""

    left: float
    top: float
    width: float
    height: float


def envelope(box: Fractions, rotation_deg: float, *, width_px: float, height_px: float) -> Fractions:
    """The smallest upright box around a rotated one.

    Args:
        box: As it was before it was rotated.
        rotation_deg: Clockwise about its left top corner, as it is seen in pixels.
        width_px: Of the picture, above 0.
        height_px: Likewise.
    """
    across, down = box.width * width_px, box.height * height_px
    sine, cosine = sin(radians(rotation_deg)), cos(radians(rotation_deg))
    corners = [(0.0, 0.0), (across, 0.0), (0.0, down), (across, down)]
    xs = [x * cosine - y * sine for x, y in corners]
    ys = [x * sine + y * cosine for x, y in corners]
    return Fractions(
        left=box.left + min(xs) / width_px,
        top=box.top + min(ys) / height_px,
        width=(max(xs) - min(xs)) / width_px,
        height=(max(ys) - min(ys)) / height_px,
    )
