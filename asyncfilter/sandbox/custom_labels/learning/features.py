"""Images as numbers: colours and gradients, pooled over the cells of grids or over windows."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[np.float64]
SIDE_PX: Final = 72
"""Every image is scaled to a square of this side; boxes are ratios, so that they scale with it."""
HUES: Final = 8
ORIENTATIONS: Final = 9
CHANNELS: Final = 3 + HUES + 3 + ORIENTATIONS
WINDOW_CELLS: Final = 3
_DARK: Final = 0.05
"""Gradients of this strength are as good as none."""
_SHARES: Final = (0.5, 0.9, 0.97, 0.99)
"""What is brightest, reddest, ... in an image is often the object: these shares of its pixels are below."""


class UndecodableError(Exception):
    """An image that Pillow cannot decode."""


def channels_of(body: bytes) -> Array:
    """The channels of the upright image, each from about 0 to 1: an array of side, side and ``CHANNELS``.

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
    colours = np.asarray(scaled, dtype=np.float64) / 255
    hsv = np.asarray(scaled.convert("HSV"), dtype=np.float64) / 255
    return np.concatenate([colours, _hues(hsv), _gradients(colours)], axis=2)


def mirrored(channels: Array) -> Array:
    """The channels of the image seen in a mirror."""
    seen = channels[:, ::-1].copy()
    seen[..., -ORIENTATIONS:] = np.roll(seen[..., -ORIENTATIONS:][..., ::-1], 1, axis=-1)
    return seen


def image_blocks(channels: Array) -> list[tuple[float, Array]]:
    """What describes a whole image, in blocks of equal kind, each with its weight."""
    colours, gradients = channels[..., :-ORIENTATIONS], channels[..., -ORIENTATIONS:]
    fine = _cells(gradients, 8)
    ordered = np.sort(colours[::3, ::3].reshape(-1, CHANNELS - ORIENTATIONS), axis=0)
    return [
        (1.0, _cells(colours, 1).ravel()),
        (0.5, _cells(colours, 2).ravel()),
        (0.5, _cells(colours, 4).ravel()),
        (1.0, _normed_blocks(_cells(gradients, 4)).ravel()),
        (1.5, _normed_blocks(_cells(gradients, 8)).ravel()),
        (2.5, np.sqrt(fine / (np.linalg.norm(fine) + _DARK)).ravel()),
        (1.0, channels.reshape(-1, CHANNELS).std(axis=0)),
        (1.5, ordered[[int(len(ordered) * share) for share in _SHARES]].ravel()),
    ]


def image_vector(channels: Array) -> Array:
    """The blocks of an image as one vector."""
    return np.concatenate([block for _, block in image_blocks(channels)])


def image_scales(channels: Array) -> Array:
    """The weight of each number of such a vector: a block weighs the same whatever its length."""
    blocks = image_blocks(channels)
    return np.concatenate([np.full(len(block), weight / len(block) ** 0.5) for weight, block in blocks])


def window_vectors(channels: Array, windows: Array) -> Array:
    """One vector of each window: means of the channels in its cells, and its size.

    Args:
        channels: Of the image.
        windows: Left, top, width and height of each, as ratios.
    """
    sums = np.zeros((SIDE_PX + 1, SIDE_PX + 1, CHANNELS))
    sums[1:, 1:] = channels.cumsum(axis=0).cumsum(axis=1)
    steps = np.arange(WINDOW_CELLS + 1) / WINDOW_CELLS
    across = _edges(windows[:, 0:1] + windows[:, 2:3] * steps)
    down = _edges(windows[:, 1:2] + windows[:, 3:4] * steps)
    corners = sums[down[:, :, None], across[:, None, :]]
    cells = corners[:, 1:, 1:] - corners[:, :-1, 1:] - corners[:, 1:, :-1] + corners[:, :-1, :-1]
    areas = np.diff(down, axis=1)[:, :, None] * np.diff(across, axis=1)[:, None, :]
    means = cells / np.maximum(areas, 1)[..., None]
    means[..., -ORIENTATIONS:] = _normed(means[..., -ORIENTATIONS:])
    return np.concatenate([means.reshape(len(windows), WINDOW_CELLS**2 * CHANNELS), windows[:, 2:]], axis=1)


def _edges(ratios: Array) -> NDArray[np.int64]:
    """Ratios as pixels, each at least one after the one before where there is room."""
    edges = np.clip(np.rint(ratios * SIDE_PX).astype(np.int64), 0, SIDE_PX)
    return np.minimum(np.maximum.accumulate(edges, axis=1), SIDE_PX)


def _hues(hsv: Array) -> Array:
    """The hue in bins, as strong as the colour is, and three bins of grey."""
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    strength = saturation * value
    levels = np.array([0.0, 0.5, 1.0])
    grey = np.clip(1 - 2 * np.abs(value[..., None] - levels), 0, 1) * (1 - strength[..., None])
    return np.concatenate([_in_bins(hue * HUES, HUES) * strength[..., None], grey], axis=2)


def _gradients(colours: Array) -> Array:
    """The strength of gradients by orientation, without direction: at each pixel of the colour that changes most."""
    down, right = np.gradient(colours, axis=(0, 1))
    most = np.hypot(down, right).argmax(axis=2)[..., None]
    down, right = (np.take_along_axis(each, most, axis=2)[..., 0] for each in (down, right))
    turn = np.arctan2(down, right) % np.pi / np.pi * ORIENTATIONS
    strength: Array = 4 * np.hypot(down, right)
    return _in_bins(turn, ORIENTATIONS) * strength[..., None]


def _in_bins(place: Array, bins: int) -> Array:
    """Places on a circle as shares of the two nearest of its bins."""
    distance = np.abs((place[..., None] - np.arange(bins) + bins / 2) % bins - bins / 2)
    shares: Array = np.clip(1 - distance, 0, 1)
    return shares


def _cells(channels: Array, grid: int) -> Array:
    """The means of the cells of a grid."""
    side = SIDE_PX // grid
    means: Array = channels.reshape(grid, side, grid, side, -1).mean(axis=(1, 3))
    return means


def _normed(gradients: Array) -> Array:
    """Gradients without their strength, so that light does not matter."""
    normed: Array = gradients / (np.linalg.norm(gradients, axis=-1, keepdims=True) + _DARK)
    return normed


def _normed_blocks(cells: Array) -> Array:
    """Gradients of cells by their strength in the blocks of 2 x 2 cells around them (Dalal and Triggs 2005)."""
    rows, columns = cells.shape[:2]
    energy = np.pad((cells**2).sum(axis=2), 1, mode="edge")
    blocks = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]
    parts = [
        np.minimum(cells / (np.sqrt(blocks[down : down + rows, right : right + columns])[..., None] + _DARK), 0.4)
        for down in (0, 1)
        for right in (0, 1)
    ]
    normed: Array = np.mean(parts, axis=0)
    return normed
