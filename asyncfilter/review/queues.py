"""The queues of images: what waits, what audits ask about, and what people could not agree on or tell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from asyncfilter.records.answers import CurrentVerdict
from asyncfilter.review.book import ImageState
from asyncfilter.review.requests import unfit
from asyncfilter.review.review import Review

_FOLDED: Mapping[str, CurrentVerdict] = {
    "disagreements": CurrentVerdict.UNRESOLVED,
    "unsure": CurrentVerdict.UNSURE,
}


class Offered(NamedTuple):
    """Images that a person may be given.

    Attributes:
        ids: As it seemed when each was looked at.
        is_free: Whether a person may be given an image, as it is known now.
    """

    ids: Iterator[int]
    is_free: Callable[[int], bool]


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

    def offered(self, name: str, reviewer: str, *, answered: bool) -> Offered:
        """What a person may be given of a queue.

        Args:
            name: Of the queue.
            reviewer: The person.
            answered: Whether images that others answered are wanted too, where they are what the queue is made of.

        Raises:
            Refusal: There is no such queue.
        """
        index, others_too = self._review.index, name == "second" or (answered and name in _FOLDED)

        def is_free(id_: int) -> bool:
            state = index.state(id_)
            if not others_too and state is not None and state.voters - {reviewer}:
                return False
            return name != "waiting" or index.waits(id_)

        return Offered(filter(is_free, self._whole(name, reviewer)), is_free)


def _is_answered(state: ImageState | None) -> bool:
    return state is not None and state.verdict is not None
