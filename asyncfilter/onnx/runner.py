"""The runner: pixels of one image in, its labels out; batches are formed inside.

The scores of a model whose ``scores`` is ``auto`` are decided by its first image, once: until that is durable, no other
image is classified.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from asyncfilter.onnx.batching import Batcher
from asyncfilter.onnx.errors import NoScoresError
from asyncfilter.onnx.model import Classifier
from asyncfilter.onnx.scores import ScoredLabel, Scores, decided

if TYPE_CHECKING:
    from asyncfilter.onnx.scores import Rows

OnDecided = Callable[[Scores], Awaitable[None]]
"""Called once, when ``auto`` is decided, before the first image has its labels; makes it durable."""


async def _forget(_scores: Scores) -> None:
    """Keep a decision nowhere."""


class Runner:
    """Classifies images, for an event loop or, by ``classify_now``, for any thread; ``close`` ends its threads.

    Args:
        classifier: The model.
        scores: What its scores are, by the job; or what was decided before.
        on_decided: See ``OnDecided``.
    """

    def __init__(self, classifier: Classifier, scores: Scores, *, on_decided: OnDecided = _forget) -> None:
        self.classifier = classifier
        self.scores = scores
        self._on_decided = on_decided
        self._deciding = asyncio.Lock()
        self._batches: Batcher[bytes, list[ScoredLabel]] = Batcher(
            self._classify, most=classifier.batch, at_once=classifier.at_once
        )

    async def classify(self, pixels: bytes) -> list[ScoredLabel]:
        """The labels of one image, by falling confidence.

        Args:
            pixels: As ``classifier.frame`` makes them.

        Raises:
            NoScoresError: The model gives no scores for this image.
        """
        if self.scores is Scores.AUTO:
            async with self._deciding:
                if self.scores is Scores.AUTO:
                    await self._decide(pixels)
        return await self._batches.submit(pixels)

    def classify_now(self, pixels: bytes) -> list[ScoredLabel]:
        """As ``classify``, alone and in this thread."""
        if self.scores is Scores.AUTO:
            self.scores = self._decided(pixels)
        (found,) = self._classify([pixels])
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Classify no more."""
        self._batches.close()

    async def _decide(self, pixels: bytes) -> None:
        scores = await asyncio.to_thread(self._decided, pixels)
        await self._on_decided(scores)
        self.scores = scores

    def _decided(self, pixels: bytes) -> Scores:
        import numpy as np  # noqa: PLC0415  part of the extra

        (row,) = self._scores([pixels])
        if not np.isfinite(row).all():
            raise NoScoresError("its scores are no numbers")
        return decided(row)

    def _classify(self, images: Sequence[bytes]) -> Sequence[list[ScoredLabel] | Exception]:
        """The labels of a batch; where it fails, each of its images is tried alone."""
        try:
            return self.classifier.labels(self._scores(images), self.scores)
        except NoScoresError as error:
            if len(images) == 1:
                return [error]
            return [one for image in images for one in self._classify([image])]

    def _scores(self, images: Sequence[bytes]) -> Rows:
        try:
            return self.classifier.scores(images)
        except Exception as exc:  # onnxruntime raises exceptions of any type
            raise NoScoresError(f"the model fails: {exc}"[:500]) from exc
