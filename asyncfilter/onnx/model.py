"""A classifier: a model, its labels and its settings, opened, checked, and ready for pixels.

Thread-safe: several threads may classify at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any

from asyncfilter.onnx.errors import NoScoresError
from asyncfilter.onnx.files import ModelContent, read_model
from asyncfilter.onnx.frames import Frame
from asyncfilter.onnx.label_names import LabelFile, check_count, read_label_file
from asyncfilter.onnx.preprocessing import Preprocess, steps_for
from asyncfilter.onnx.scores import ScoredLabel, Scores, is_alike, labels_of, shares_of
from asyncfilter.onnx.session import (
    ModelInput,
    device_of,
    explained,
    import_runtime,
    input_of,
    open_session,
    output_of,
    run,
)
from asyncfilter.onnx.tensors import Tensors

if TYPE_CHECKING:
    from asyncfilter.onnx.scores import Rows

MODEL_VERSION = "onnx:"
"""Beginning of ``LabelModelVersion``; 12 hex digits of the SHA-256 of the model follow."""

BATCH_BYTES = 256 * 2**20
"""Most bytes that the images of one call take as numbers; of large ones a call takes fewer than ``batch``."""

_FLOAT_BYTES = 4

_OF_THE_BATCH = "DynamicQuantize"
"""Beginning of operators whose rounding depends on all numbers that they are given, and so on the other images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What a model is opened with.

    Attributes:
        model: Path of the model; ``labels``: of its label file.
        preprocess: How images become its input; None where the job says nothing.
        output: Name of the output with the scores; None for the only one.
        batch: Most images a call.
        threads: Threads within one call.
        device: ``cpu``, ``cuda`` or ``auto``.
        least_pct: The least confidence of a label that is kept, percent.
        most_labels: Most labels of an image.
        cores: Cores that calls may use; None for all that this process may.
    """

    model: str
    labels: str
    preprocess: Preprocess | None = None
    output: str | None = None
    batch: int = 32
    threads: int = 1
    device: str = "cpu"
    least_pct: float = 0.5
    most_labels: int = 20
    cores: int | None = None


class Classifier:
    """A model that can be used; made by ``open_classifier``.

    Args:
        settings: What it was opened with.
        content: The model.
        labels: Its labels.
        taken: What the model takes.
        output: Name of the output with the scores.

    Attributes:
        names: Of its scores, in their order.
        version: ``LabelModelVersion``.
        digest: SHA-256 of the model with its files of weights, in hex digits; ``labels_digest``: of the label file.
        frame: From a picture to the pixels that ``scores`` takes.
        batch: Most images a call.
        at_once: Calls that may run at the same time.
        cautions: What the check has shown, one sentence each.
    """

    def __init__(
        self, settings: ModelSettings, content: ModelContent, labels: LabelFile, taken: ModelInput, output: str
    ) -> None:
        steps = steps_for(settings.preprocess, taken.tensor)
        self.names = labels.names
        self.version = f"{MODEL_VERSION}{content.digest[:12]}"
        self.digest = content.digest
        self.labels_digest = labels.digest
        self.frame = steps.frame
        self.batch = _most_images(settings, taken, steps.frame)
        self.at_once = 0
        self.cautions: tuple[str, ...] = ()
        self._operators = content.operators
        self._settings = settings
        self._input = taken
        self._output = output
        self._tensors = Tensors(steps, taken.dtype, is_channels_first=taken.is_channels_first)
        self._sessions: SimpleQueue[Any] = SimpleQueue()

    def add_session(self, session: Any) -> None:  # noqa: ANN401  no types
        """Let one more call run at the same time, by ``session``."""
        self.at_once += 1
        self._sessions.put(session)

    def check(self) -> None:
        """Classify a black image and a grainy one, alone and together.

        A model whose scores depend on the rest of the batch gets one image a call from then on, and so does one that
        takes one image though it leaves their number open.

        Raises:
            OwnModelError: It fails, or gives another number of scores than it has names.
        """
        images = [bytes(self.frame.pixel_bytes), Random(0).randbytes(self.frame.pixel_bytes)]
        try:
            alone = [self.scores([image]) for image in images]
        except Exception as exc:  # onnxruntime raises exceptions of any type
            raise explained(exc, self._settings.model) from exc
        settings = self._settings
        check_count(self.names, alone[0].shape[1], labels=settings.labels, model=settings.model)
        if self.batch > 1 and not self._takes_several(images, alone):
            self.batch = 1
            self.cautions = (f"{settings.model}: takes one image a call, since its scores depend on what is beside it",)

    def _takes_several(self, images: Sequence[bytes], alone: Sequence[Rows]) -> bool:
        """Whether images have the same scores together as alone."""
        if any(name.startswith(_OF_THE_BATCH) for name in self._operators):
            return False
        try:
            together = self.scores(images)
        except Exception:  # noqa: BLE001  onnxruntime raises exceptions of any type; alone they have scores
            return False
        return all(is_alike(row, own[0]) for row, own in zip(together, alone, strict=True))

    def scores(self, images: Sequence[bytes]) -> Rows:
        """The scores of some images, given as the pixels that ``frame`` makes; a row each.

        Raises:
            Exception: Whatever onnxruntime raises.
        """
        session = self._sessions.get()
        try:
            return run(session, self._input, self._output, self._tensors.of(images))
        finally:
            self._sessions.put(session)

    def labels(self, rows: Rows, scores: Scores) -> list[list[ScoredLabel] | NoScoresError]:
        """The labels of some images by their scores; an error for an image whose scores are no numbers."""
        import numpy as np  # noqa: PLC0415  part of the extra

        shares = shares_of(np.nan_to_num(rows), scores)
        return [
            self._found(shares[at]) if np.isfinite(row).all() else NoScoresError("its scores are no numbers")
            for at, row in enumerate(rows)
        ]

    def _found(self, shares: Rows) -> list[ScoredLabel]:
        settings = self._settings
        return labels_of(shares, self.names, least_pct=settings.least_pct, most=settings.most_labels)


def open_classifier(settings: ModelSettings) -> Classifier:
    """Open a model and check that it can be used with its settings; nothing is classified but black images.

    Raises:
        OwnModelError: It cannot.
    """
    import_runtime()
    device = device_of(settings.device)
    labels = read_label_file(settings.labels)
    content = read_model(settings.model)
    opened = partial(open_session, content, settings.model, threads=settings.threads, device=device)
    session = opened()
    taken = input_of(session, settings.model)
    classifier = Classifier(settings, content, labels, taken, output_of(session, settings.output, settings.model))
    classifier.add_session(session)
    classifier.check()
    for _ in range(1, _sessions_at_once(settings, device)):
        # With one thread a session runs in the thread that calls it: all calls can share its memory.
        classifier.add_session(session if settings.threads == 1 else opened())
    return classifier


def _most_images(settings: ModelSettings, taken: ModelInput, frame: Frame) -> int:
    fitting = BATCH_BYTES // max(1, frame.pixel_bytes * _FLOAT_BYTES)
    return 1 if taken.takes_one else max(1, min(settings.batch, fitting))


def _sessions_at_once(settings: ModelSettings, device: str) -> int:
    return 1 if device == "cuda" else max(1, (settings.cores or _own_cores()) // settings.threads)


def _own_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
