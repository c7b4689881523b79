"""Labels from an image classifier in ONNX format (extra ``onnx``).

The model takes one RGB picture, uint8 [1, height, width, 3], and returns one score per line of the label file. Scores
that do not add up to one go through a softmax. In a line such as ``tench, Tinca tinca`` the first name is the label and
the others are its aliases; in ``Aramus guarauna (Limpkin)`` the name in parentheses is the label.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncfilter.sandbox.answers.source import Label, LabelSet, Name, Picture, encode_label
from asyncfilter.sandbox.answers.taxonomy import category_of, label_name, parents_of
from asyncfilter.sandbox.message import ServiceError

if TYPE_CHECKING:
    import numpy as np

TOP: Final = 20
MIN_PCT: Final = 0.5
_KEPT: Final = 10_000
_COMMON_NAME: Final = re.compile(r"(?P<latin>.+) \((?P<common>.+)\)")


class OnnxAnswers:
    """An ``AnswerSource``: classifies pictures and caches up to 10,000 answers by ETag. Thread-safe.

    Raises:
        ValueError: If the extra is not installed, or the numbers of labels and of the model's scores differ.
    """

    slow = True

    def __init__(self, model: str, labels: str) -> None:
        try:
            import numpy  # noqa: ICN001, PLC0415 - part of the extra
            import onnxruntime  # noqa: PLC0415 - part of the extra
        except ImportError as exc:
            raise ValueError(
                f"labels 'onnx' need the extra onnx ({exc.name} is missing): pip install 'asyncfilter[onnx]'"
            ) from exc
        self._numpy: Any = numpy
        self._names = [read_names(line) for line in Path(labels).read_text("utf-8").splitlines()]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        except Exception as exc:
            raise ValueError(f"{model}: not a model that onnxruntime can use: {exc}") from exc
        taken = self._session.get_inputs()[0]
        if taken.type != "tensor(uint8)" or len(taken.shape) != 4 or taken.shape[3] != 3:
            raise ValueError(f"{model}: takes {taken.type} {taken.shape}, not one uint8 picture [1, height, width, 3]")
        self._input, self._height, self._width = taken.name, int(taken.shape[1]), int(taken.shape[2])
        given = self._session.get_outputs()[0].shape[-1]
        if given != len(self._names):
            raise ValueError(f"{labels}: has {len(self._names)} labels; {model} gives {given} scores")
        # Pillow warns of malformed EXIF blocks; the service accepts them without a warning.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        self._known: dict[str, LabelSet] = {}
        self._lock = threading.Lock()

    def labels(self, picture: Picture) -> LabelSet:
        """See ``AnswerSource``; raises ``InvalidImageFormatException`` for a picture that cannot be decoded."""
        known = self._known.get(picture.etag)
        if known is None:
            known = self._classify(picture)
            with self._lock:
                if len(self._known) < _KEPT:
                    self._known[picture.etag] = known
        return known

    def _classify(self, picture: Picture) -> LabelSet:
        scores = self._session.run(None, {self._input: self._pixels(picture.body)})[0].reshape(-1).astype("float64")
        shares = scores if abs(float(scores.sum()) - 1) < 0.1 and float(scores.min()) >= 0 else self._softmax(scores)
        best = shares.argsort()[::-1][:TOP]
        found = [self._label(int(index), 100 * float(shares[index])) for index in best]
        kept = tuple(encode_label(label) for label in found if label.confidence >= MIN_PCT)
        return LabelSet(kept, picture.etag, b'{"LabelModelVersion":"onnx"}')

    def _pixels(self, body: bytes) -> np.ndarray[Any, Any]:
        from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - slow to import, rarely needed

        try:
            with Image.open(io.BytesIO(body), formats=("JPEG", "PNG")) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
            raise ServiceError("InvalidImageFormatException", "Invalid image encoding") from exc
        resized = upright.resize((self._width, self._height), Image.Resampling.BILINEAR)
        pixels: np.ndarray[Any, Any] = self._numpy.asarray(resized, dtype="uint8")[None]
        return pixels

    def _softmax(self, scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        powers: np.ndarray[Any, Any] = self._numpy.exp(scores - scores.max())
        shares: np.ndarray[Any, Any] = powers / powers.sum()
        return shares

    def _label(self, index: int, confidence_pct: float) -> Label:
        name, aliases = self._names[index]
        category = category_of(name)
        return Label(
            name=name,
            confidence=min(confidence_pct, 100.0),
            parents=[Name(parent) for parent in parents_of(name)],
            aliases=[Name(alias) for alias in aliases],
            categories=[Name(category)] if category else [],
        )


def read_names(line: str) -> tuple[str, tuple[str, ...]]:
    """A label and its aliases from a line of a label file."""
    named = _COMMON_NAME.fullmatch(line.strip())
    names = [named["common"], named["latin"]] if named else [part.strip() for part in line.split(",")]
    return label_name(names[0]), tuple(label_name(name) for name in names[1:])
