"""``GET /api/near``: the images that are compared, read when they are asked for and kept for a while."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence

import anyio
import anyio.to_thread

from asyncfilter.policy.provenance import provenance_of
from asyncfilter.review.near import MOST_COMPARED, LabelVectors, nearest_looks
from asyncfilter.review.pictures import PictureFacts, Renditions
from asyncfilter.review.review import Review
from asyncfilter.review.rows import CardRow

KEPT_S = 60.0
_BATCH = 1000
_UNSIGNED = (1 << 64) - 1


class AlikeImages:
    """Finds images that are like another one.

    Args:
        review: The images.
        pictures: Know how pictures look.
    """

    def __init__(self, review: Review, pictures: Renditions) -> None:
        self._review, self._pictures = review, pictures
        self._reading = anyio.Lock()
        self._vectors = LabelVectors({})
        self._looks: dict[int, int] = {}
        self._ids: frozenset[int] = frozenset()
        self._read_s = -KEPT_S
        pictures.listen(self._note)

    def _note(self, row: CardRow, facts: PictureFacts) -> None:
        """Note how a picture looks that was just decoded."""
        if facts.look is not None and (row.id in self._ids or len(self._looks) < MOST_COMPARED):
            self._looks[row.id] = facts.look & _UNSIGNED

    async def near(self, id_: int, *, by_look: bool, limit: int) -> list[int]:
        """The images that are like one, the most like first; only those in the index."""
        rows = await self._review.card_rows([id_])
        if not rows:
            return []
        await self._refresh()
        if not by_look:
            found = await anyio.to_thread.run_sync(self._vectors.nearest, id_, _labels(rows[0]), limit)
        else:
            await self._note_looks(rows)
            look = self._looks.get(id_)
            others = {other: value for other, value in self._looks.items() if other != id_}
            found = [] if look is None else nearest_looks(look, others, limit)
        return [other for other in found if other in self._review.index]

    async def _refresh(self) -> None:
        """Read the images that are compared, when those that are known are old."""
        async with self._reading:
            if time.monotonic() - self._read_s < KEPT_S:
                return
            ids = list(itertools.islice(self._review.index.waiting(), MOST_COMPARED))
            labels: dict[int, Mapping[str, float]] = {}
            for at in range(0, len(ids), _BATCH):
                rows = await self._review.card_rows(ids[at : at + _BATCH])
                labels.update((row.id, _labels(row)) for row in rows)
                await self._note_looks(rows)
            self._vectors = await anyio.to_thread.run_sync(LabelVectors, labels)
            self._ids = frozenset(labels)
            self._looks = {other: look for other, look in self._looks.items() if other in self._ids}
            self._read_s = time.monotonic()

    async def _note_looks(self, rows: Sequence[CardRow]) -> None:
        """Note how pictures look: as the run has it, or as it was found when they were decoded."""
        facts = await self._pictures.facts([row.subject for row in rows])
        for row, fact in zip(rows, facts, strict=True):
            known = provenance_of(row.detection).perceptual_hash
            look = int(known, 16) if known is not None else None if fact is None else fact.look
            if look is not None:
                self._looks[row.id] = look & _UNSIGNED


def _labels(row: CardRow) -> Mapping[str, float]:
    return {} if row.detection is None else {label.name: label.confidence_pct for label in row.detection.labels}
