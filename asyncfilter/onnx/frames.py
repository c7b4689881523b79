"""From a picture to the pixels that a model takes: resized and cropped, as image processors of Hugging Face do.

They resize with Pillow, round the sides of a picture down, and fill what a crop lacks with black
(``transformers/image_transforms.py``); so does this module, on a picture that is open, upright and in RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from PIL import Image

MAX_SIDE = 4096
"""Longest side of what a model takes, in pixels."""

CHANNELS = 3
_STORED_BYTES = 4
"""Bytes of a pixel in RGB as Pillow stores it."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a picture becomes the pixels of a model; sizes are (width, height).

    Attributes:
        size: What the picture is stretched to; None to keep its shape.
        shortest: What its shorter side becomes, in its shape; None without.
        crop: What is cut out of its middle; None for all of it.
        resample: Pillow's number of the filter.
    """

    size: tuple[int, int] | None = None
    shortest: int | None = None
    crop: tuple[int, int] | None = None
    resample: int = 2

    @property
    def pixels(self) -> tuple[int, int] | None:
        """The size of the result; None where it depends on the picture."""
        return self.crop or self.size

    @property
    def pixel_bytes(self) -> int:
        """The bytes of the result."""
        width, height = self.pixels or (0, 0)
        return CHANNELS * width * height

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture after it was resized."""
        if self.size is not None:
            return self.size
        if self.shortest is None:
            return width, height
        if width <= height:
            return self.shortest, int(self.shortest * height / width)
        return int(self.shortest * width / height), self.shortest

    def needed_bytes(self, width: int, height: int) -> int:
        """Most bytes that it takes beside the picture: a copy in its new width, the resized one, and the result."""
        resized = self.resized(width, height)
        copies = resized[0] * (height + resized[1]) if resized != (width, height) else 0
        return _STORED_BYTES * copies + (_STORED_BYTES + CHANNELS + 1) * self.pixel_bytes // CHANNELS

    def of(self, picture: Image.Image) -> bytes:
        """The pixels of a picture that is upright and in RGB: rows from the top, three bytes a pixel."""
        resized = self.resized(*picture.size)
        if resized != picture.size:
            picture = picture.resize(resized, self.resample)
        if self.crop is not None and self.crop != picture.size:
            left, top = ((own - wanted) // 2 for own, wanted in zip(picture.size, self.crop, strict=True))
            picture = picture.crop((left, top, left + self.crop[0], top + self.crop[1]))
        return picture.tobytes()
