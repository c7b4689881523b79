"""Labels from an image classifier in ONNX format (extra ``onnx``), by the runner that jobs use.

The model takes RGB pictures, of uint8 or as a ``preprocessor_config.json`` says, and returns one score per line of the
label file. Parents and categories are those of the sandbox's small taxonomy.
"""

from __future__ import annotations

import io
import threading
import warnings
from typing import Final

import msgspec

from asyncfilter.onnx.errors import NoScoresError, OwnModelError
from asyncfilter.onnx.model import ModelSettings, open_classifier
from asyncfilter.onnx.preprocessing import read_preprocess_file
from asyncfilter.onnx.runner import Runner
from asyncfilter.onnx.scores import ScoredLabel, Scores
from asyncfilter.sandbox.answers.source import Label, LabelSet, Name, Picture, encode_label
from asyncfilter.sandbox.answers.taxonomy import category_of, parents_of
from asyncfilter.sandbox.message import ServiceError

_KEPT: Final = 10_000


class OnnxAnswers:
    """An ``AnswerSource``: classifies pictures and caches up to 10,000 answers by ETag. Thread-safe.

    Raises:
        ValueError: If the extra is not installed, or the numbers of labels and of the model's scores differ.
    """

    slow = True

    def __init__(self, model: str, labels: str, preprocess: str | None = None) -> None:
        try:
            wanted = None if preprocess is None else read_preprocess_file(preprocess)[0]
            settings = ModelSettings(model=model, labels=labels, preprocess=wanted)
            self._runner = Runner(open_classifier(settings), Scores.AUTO)
        except OwnModelError as exc:
            option = f"--onnx-{exc.key}: " if exc.key in {"model", "labels", "preprocess"} else ""
            raise ValueError(f"{option}{exc.message}") from exc
        self._rest = msgspec.json.encode({"LabelModelVersion": self._runner.classifier.version})
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
        try:
            found = self._runner.classify_now(self._pixels(picture.body))
        except NoScoresError as exc:
            raise ServiceError("InvalidImageFormatException", str(exc)) from exc
        return LabelSet(tuple(encode_label(_label(one)) for one in found), picture.etag, self._rest)

    def _pixels(self, body: bytes) -> bytes:
        from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - slow to import, rarely needed

        try:
            with Image.open(io.BytesIO(body), formats=("JPEG", "PNG")) as opened:
                return self._runner.classifier.frame.of(ImageOps.exif_transpose(opened).convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
            raise ServiceError("InvalidImageFormatException", "Invalid image encoding") from exc


def _label(found: ScoredLabel) -> Label:
    category = category_of(found.name)
    return Label(
        name=found.name,
        confidence=found.confidence_pct,
        parents=[Name(parent) for parent in parents_of(found.name)],
        aliases=[Name(alias) for alias in found.aliases],
        categories=[Name(category)] if category else [],
    )
