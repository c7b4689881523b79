"""Small pictures as the bytes of an image file."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

from PIL import Image


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The file of ``picture``; ``options`` are those of ``Image.save``."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def plain(kind: str = "JPEG", width: int = 200, height: int = 100, colour: str = "black", mode: str = "RGB") -> bytes:
    """A picture of one colour."""
    return encoded(Image.new(mode, (width, height), colour), kind)


def write_distinct(folder: Path, count: int) -> None:
    """``count`` pictures of nothing, all different, as ``000.png`` and so on in a new folder."""
    folder.mkdir()
    for number in range(count):
        noise = random.Random(number).randbytes(81)
        Image.frombytes("L", (9, 9), noise).resize((90, 90)).save(folder / f"{number:03}.png")


def noise(kind: str = "JPEG", width: int = 200, height: int = 100, sigma: int = 99) -> bytes:
    """A picture of noise, which no format compresses well."""
    return encoded(Image.effect_noise((width, height), sigma).convert("RGB"), kind)
