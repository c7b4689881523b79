"""What the scores of a model of one's own are, decided at home before workers classify.

Each worker would decide by its own first image otherwise, and answers would depend on who gave them.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from functools import partial
from random import Random

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import ImageError, TransientError
from asyncfilter.job.spec import Job
from asyncfilter.model import ListedObject, ObjectRef
from asyncfilter.onnx.scores import Scores
from asyncfilter.wiring.model_memory import ModelMemory

_TRIED = 1000
"""Images that are tried at the most, of which the first ones may not be readable."""


async def with_decided_scores(job: Job, inputs: RunInputs, memory: ModelMemory) -> Job:
    """The job as workers get it: with what its scores are in place of ``auto``.

    Where that is not known yet, the first image of the source that can be classified decides. It is durable then, and
    the image is examined again in its turn.

    Args:
        job: Any job; those without a model of their own are returned as they are.
        inputs: Of this process, with its own detector.
        memory: Knows what was decided before, and keeps what is decided now.

    Raises:
        AccessError: No image can be listed or read.
    """
    own = job.detector.own
    if own is None or own.scores != Scores.AUTO:
        return job
    if not memory.known.scores:
        await _decide(job, inputs, memory)
    found = dataclasses.replace(own, scores=memory.known.scores or own.scores)
    return dataclasses.replace(job, detector=dataclasses.replace(job.detector, own=found))


async def _decide(job: Job, inputs: RunInputs, memory: ModelMemory) -> None:
    """Classify images from the start of the source until one has decided."""
    repeat = Repeater(max_attempts=job.limits.max_attempts, pause=full_pause(SystemClock()), rng=Random())
    tried, after = 0, None
    while tried < _TRIED:
        page = await repeat(partial(inputs.source.page, after))
        for listed in (one for one in page.objects if inputs.check(one) is None):
            tried += 1
            # What fails here fails again in its turn, and is recorded then.
            with suppress(ImageError, TransientError):
                await repeat(partial(_classify, _reference(job, listed), inputs))
            if memory.known.scores:
                return
        if page.is_last or not page.objects:
            return
        after = page.objects[-1].key


async def _classify(image: ObjectRef, inputs: RunInputs) -> None:
    prepared = None if inputs.preparation is None else await inputs.preparation.prepare(image)
    detector = inputs.primary.detector if prepared is None else prepared.detector
    await detector.detect(image)


def _reference(job: Job, listed: ListedObject) -> ObjectRef:
    return ObjectRef(bucket=job.source.bucket, key=listed.key, size_bytes=listed.size_bytes, etag=listed.etag, seq=0)
