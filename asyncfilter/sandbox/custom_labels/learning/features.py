"""Images as numbers: colours and gradients, pooled over the cells of a grid or over windows."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[np.float32]
SIDE_PX: Final = 64
"""Every image is scaled to a square of this side; boxes are ratios, so that they scale with it."""
HUES: Final = 8
ORIENTATIONS: Final = 6
CHANNELS: Final = 3 + HUES + 3 + ORIENTATIONS
_GRIDS: Final = (1, 2, 4)
_GRADIENT_GRID: Final = 8


class UndecodableError(Exception):
    """An image that Pillow cannot decode."""


def channels_of(body: bytes) -> Array:
    """The channels of an upright image: ``[SIDE_PX, SIDE_PX, CHANNELS]``, each from about 0 to 1.

    Raises:
        UndecodableError: If the bytes are no image that can be decoded.
    """
    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and more
        raise UndecodableError(str(error)) from error
    scaled = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    colours = np.asarray(scaled, dtype=np.float32) / 255
    hsv = np.asarray(scaled.convert("HSV"), dtype=np.float32) / 255
    return np.concatenate([colours, _hues(hsv), _gradients(colours.mean(axis=2))], axis=2)


def _hues(hsv: Array) -> Array:
    """The hue in bins, as strong as the colour is, and three bins of grey."""
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    strength = saturation * value
    place = hue * HUES
    bins = np.arange(HUES, dtype=np.float32)
    distance = np.abs((place[..., None] - bins + HUES / 2) % HUES - HUES / 2)
    coloured = np.clip(1 - distance, 0, 1) * strength[..., None]
    levels = np.array([0.0, 0.5, 1.0], dtype=np.float32)
    grey = np.clip(1 - 2 * np.abs(value[..., None] - levels), 0, 1) * (1 - strength[..., None])
    return np.concatenate([coloured, grey], axis=2).astype(np.float32)


def _gradients(lightness: Array) -> Array:
    """The strength of gradients by orientation, without direction."""
    down, right = np.gradient(lightness)
    strength = np.hypot(down, right) * 4
    turn = np.arctan2(down, right) % np.pi / np.pi * ORIENTATIONS
    bins = np.arange(ORIENTATIONS, dtype=np.float32)
    distance = np.abs((turn[..., None] - bins + ORIENTATIONS / 2) % ORIENTATIONS - ORIENTATIONS / 2)
    return (np.clip(1 - distance, 0, 1) * strength[..., None]).astype(np.float32)


def image_vector(channels: Array) -> Array:
    """One vector of an image: means of the cells of grids from coarse to fine, and deviations of all."""
    parts = [_cells(channels, grid) for grid in _GRIDS]
    gradients = _cells(channels[..., -ORIENTATIONS:], _GRADIENT_GRID)
    norms = np.linalg.norm(gradients.reshape(-1, ORIENTATIONS), axis=1, keepdims=True) + 0.05
    parts.append((gradients.reshape(-1, ORIENTATIONS) / norms).ravel() * 0.5)
    parts.append(channels.reshape(-1, CHANNELS).std(axis=0))
    return np.concatenate(parts).astype(np.float32)


def _cells(channels: Array, grid: int) -> Array:
    side = SIDE_PX // grid
    means: Any = channels.reshape(grid, side, grid, side, -1).mean(axis=(1, 3))
    vector: Array = means.ravel()
    return vector
