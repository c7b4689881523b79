"""The queues of images: what waits, what audits ask about, and what people could not agree on or tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from asyncfilter.records.answers import CurrentVerdict
from asyncfilter.review.book import ImageState
from asyncfilter.review.requests import unfit
from asyncfilter.review.review import Review

_OF_OTHERS = frozenset({"second", "disagreements", "unsure"})
"""Queues of images that others answered, which is why they are in them."""
_FOLDED: Mapping[str, CurrentVerdict] = {
    "disagreements": CurrentVerdict.UNRESOLVED,
    "unsure": CurrentVerdict.UNSURE,
}


class Queues:
    """The queues of a review.

    Args:
        review: The state.
    """

    def __init__(self, review: Review) -> None:
        self._review = review

    def page(self, name: str, reviewer: str, after: int | None, limit: int) -> tuple[list[int], int]:
        """A page of a queue, and how many are behind it."""
        index = self._review.index
        if name == "waiting":
            ids = list(itertools.islice(index.waiting(after), limit))
            rest = index.waiting_behind(ids[-1]) if ids else 0
            return ids, rest
        if name == "all":
            every = index.all_ids()
            start = index.place_behind(after)
            return list(every[start : start + limit]), max(0, len(every) - start - limit)
        whole = list(self._whole(name, reviewer))
        start = whole.index(after) + 1 if after in whole else 0
        return whole[start : start + limit], max(0, len(whole) - start - limit)

    def _whole(self, name: str, reviewer: str) -> Iterable[int]:
        """The ids of a queue.

        Raises:
            Refusal: There is no such queue.
        """
        index = self._review.index
        if name == "waiting":
            return index.waiting()
        if name == "all":
            return index.all_ids()
        if name == "audit":
            return [id_ for id_ in self._review.asked.audit() if id_ in index and not _is_answered(index.state(id_))]
        if name == "second":
            return [id_ for id_ in self._review.asked.second(reviewer) if id_ in index]
        if name in _FOLDED:
            return index.with_verdict(_FOLDED[name])
        raise unfit("name: expected waiting, audit, second, disagreements, unsure or all")

    async def refresh(self, queue: str) -> None:
        """Bring a queue of an audit up to date: its next images follow from the last answers."""
        if queue in {"audit", "second"}:
            await self._review.take_answers()
            await self._review.refresh_asked()

    def _not_answered(self, ids: Iterable[int], reviewer: str) -> Iterator[int]:
        """Those of some ids that no other person answered."""
        for id_ in ids:
            state = self._review.index.state(id_)
            if state is None or not state.voters - {reviewer}:
                yield id_

    def free_for(self, name: str, reviewer: str) -> Iterator[int]:
        """The ids of a queue that a person may be given.

        Raises:
            Refusal: There is no such queue.
        """
        ids = self._whole(name, reviewer)
        return iter(ids) if name in _OF_OTHERS else self._not_answered(ids, reviewer)


def _is_answered(state: ImageState | None) -> bool:
    return state is not None and state.verdict is not None
