"""From pixels to the numbers that a model takes: rescaled, normalised, in its order of channels and axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncfilter.onnx.frames import CHANNELS
from asyncfilter.onnx.preprocessing import Steps

if TYPE_CHECKING:
    import numpy as np


class Tensors:
    """Makes the input of a model.

    Args:
        steps: What happens to each picture.
        dtype: Numpy's name of the type that the model takes.
        is_channels_first: [N, 3, H, W] and not [N, H, W, 3].
    """

    def __init__(self, steps: Steps, dtype: str, *, is_channels_first: bool) -> None:
        self._size = steps.frame.pixels or (0, 0)
        self._is_bgr = steps.is_bgr
        self._is_channels_first = is_channels_first
        self._table = None if dtype == "uint8" else _table(steps, dtype)

    def of(self, images: Sequence[bytes]) -> np.ndarray[Any, Any]:
        """The input for some images, given as the pixels of the frame."""
        import numpy as np  # noqa: PLC0415  part of the extra

        (width, height), table = self._size, self._table
        pixels = np.frombuffer(b"".join(images), np.uint8).reshape(len(images), height, width, CHANNELS)
        if self._is_bgr:
            pixels = pixels[..., ::-1]
        if table is None:
            return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if self._is_channels_first else pixels)
        shape = (CHANNELS, height, width) if self._is_channels_first else (height, width, CHANNELS)
        out = np.empty((len(images), *shape), table.dtype)
        for channel in range(CHANNELS):
            target = out[:, channel] if self._is_channels_first else out[..., channel]
            target[...] = table[channel][pixels[..., channel]]
        return out


def _table(steps: Steps, dtype: str) -> np.ndarray[Any, Any]:
    """What each value of a pixel becomes, by channel.

    Computed in the types that Hugging Face computes in: the product in float64, the rest in float32.
    """
    import numpy as np  # noqa: PLC0415  part of the extra

    values = np.arange(256, dtype=np.float64) * (1 if steps.factor is None else steps.factor)
    table = np.tile(values.astype(np.float32), (CHANNELS, 1))
    if steps.mean is not None and steps.std is not None:
        table = (table - np.array(steps.mean, np.float32)[:, None]) / np.array(steps.std, np.float32)[:, None]
    return table.astype(dtype)
