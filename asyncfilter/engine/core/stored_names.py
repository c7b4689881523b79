"""The names of labels that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asyncfilter.job.spec import Job
from asyncfilter.model import Label
from asyncfilter.policy.cautions.label_names import KnownNames, known_names, uses_boxes
from asyncfilter.records.images import StoredReference


class NameStore(Protocol):
    """The two methods of ``LabelStore`` that are needed."""

    async def labels(self, *, boxes: bool = False) -> Sequence[Label]:
        """See ``LabelStore``."""
        ...

    async def references(self) -> Sequence[StoredReference]:
        """See ``LabelStore``."""
        ...


async def stored_names(store: NameStore, job: Job, *, answers: int, is_own: bool) -> KnownNames:
    """The names in all stored answers, those of reference images among them.

    Args:
        store: The checkpoint.
        job: Its rules say whether boxes count.
        answers: The number of images with an answer.
        is_own: See ``KnownNames``.
    """
    of_references = [label for one in await store.references() for label in one.detection.labels]
    return known_names([*await store.labels(boxes=uses_boxes(job)), *of_references], answers=answers, is_own=is_own)
