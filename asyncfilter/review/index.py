"""The index of all cards, in memory: which images there are, which wait, and what people said about them.

A row takes about 100 bytes; keys, labels and pictures are read when a card is shown. The images to review come first,
so that the page can be used before the rest is there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from asyncfilter.model import Verdict
from asyncfilter.records.answers import CurrentVerdict
from asyncfilter.review.book import ImageState
from asyncfilter.review.rows import FAR, VERDICT_CODES, Chunk

_VERDICTS = {code: verdict for verdict, code in VERDICT_CODES.items()}


class CardIndex:
    """The images of a review.

    Args:
        of_folder: Whether the images are those of a folder. Their ids do not rise, and they keep the order in which
            they were added; and an answer without a verdict, that gives labels or boxes, is enough: without rules,
            people may only want to label.

    Attributes:
        last_id: The highest id.
        is_whole: Whether all rows were added.
        by_verdict: Images by the folded verdict of people.
        waiting_count: Images that wait.
    """

    def __init__(self, *, of_folder: bool = False) -> None:
        self.last_id = 0
        self.is_whole = False
        self.by_verdict: Counter[CurrentVerdict] = Counter()
        self.waiting_count = 0
        self._of_folder = of_folder
        self._ids = array("q")
        self._verdicts = bytearray()
        self._distances = array("d")
        self._waits = bytearray()
        self._places: dict[int, int] = {}
        self._families: dict[int, list[int]] = {}
        self._first_of: dict[int, int] = {}
        self._states: dict[int, ImageState] = {}
        self._waiting = _Order(self._distances)
        self._all: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._places

    def add(self, chunk: Chunk) -> None:
        """Add images; their ids are new."""
        start, count = len(self._ids), len(chunk.ids)
        self._ids.extend(chunk.ids)
        self._verdicts.extend(chunk.verdicts)
        self._places.update(zip(chunk.ids, range(start, start + count), strict=True))
        self._distances.extend(chunk.distances or [FAR] * count)
        self._waits.extend(bytes([chunk.distances is not None]) * count)
        if chunk.distances is not None:
            self._waiting.extend(range(start, start + count))
            self.waiting_count += count
        self.last_id = max(self.last_id, *chunk.ids[-1:], 0)
        for id_, first in chunk.duplicates:
            self._families.setdefault(first, [first]).append(id_)
            self._first_of[id_] = first
        for id_, state in chunk.states:
            self.set_state(id_, state)
        for id_, first in chunk.duplicates:
            if first in self._states and id_ not in self._states:
                self._set(id_, self._states[first])
        self._all = None

    def set_state(self, id_: int, state: ImageState) -> list[int]:
        """Note what people say about an image and its duplicates; returns the ids of all of them."""
        family = self._families.get(self._first_of.get(id_, id_), [id_])
        found = [one for one in family if one in self._places]
        for one in found:
            self._set(one, state)
        return found

    def state(self, id_: int) -> ImageState | None:
        """What people said about an image."""
        return self._states.get(id_)

    def rule_verdict(self, id_: int) -> Verdict | None:
        """The verdict of the rules."""
        return _VERDICTS[self._verdicts[self._places[id_]]]

    def waits(self, id_: int) -> bool:
        """Whether a person has to decide an image, and nobody did."""
        place = self._places.get(id_)
        return place is not None and bool(self._waits[place]) and not self._is_decided(self._states.get(id_))

    def missing_in(self, other: CardIndex) -> set[int]:
        """The ids that another index lacks."""
        return {id_ for id_ in self._ids if id_ not in other._places}

    # -- Queues --------------------------------------------------------------------------------------------------------

    def waiting(self, after: int | None = None) -> Iterator[int]:
        """The ids of images that wait, the most uncertain first; only those behind the id ``after``."""
        for place in self._waiting.behind(self._places.get(after) if after is not None else None):
            id_ = self._ids[place]
            if not self._is_decided(self._states.get(id_)):
                yield id_

    def waiting_behind(self, id_: int) -> int:
        """How many images wait behind an id."""
        place = self._places.get(id_)
        if place is None:
            return 0
        behind = self._waiting.count_behind(place)
        decided = (one for one, state in self._states.items() if self._is_decided(state))
        places = (self._places[one] for one in decided)
        return behind - sum(bool(self._waits[one]) and self._waiting.is_behind(one, place) for one in places)

    def with_verdict(self, verdict: CurrentVerdict) -> list[int]:
        """The ids of images that people's answers fold to this verdict, by id."""
        return sorted(id_ for id_, state in self._states.items() if state.verdict is verdict)

    def all_ids(self) -> Sequence[int]:
        """All ids: rising, or in the order of the folder."""
        if self._of_folder:
            return self._ids
        if self._all is None:
            self._all = array("q", sorted(self._ids))
        return self._all

    def place_behind(self, id_: int | None) -> int:
        """The place in ``all_ids`` behind an id; 0 for None."""
        if id_ is None:
            return 0
        if self._of_folder:
            return self._places.get(id_, len(self._ids) - 1) + 1
        return bisect_right(self.all_ids(), id_)

    def _set(self, id_: int, state: ImageState) -> None:
        former = self._states.get(id_)
        if former is not None and former.verdict is not None:
            self.by_verdict[former.verdict] -= 1
        if state.verdict is not None:
            self.by_verdict[state.verdict] += 1
        if self._waits[self._places[id_]]:
            self.waiting_count += self._is_decided(former) - self._is_decided(state)
        self._states[id_] = state

    def _is_decided(self, state: ImageState | None) -> bool:
        if state is None:
            return False
        return state.verdict is not None or (self._of_folder and state.says_anything)


class _Order:
    """Places of images by distance, then in order; sorted when it is read.

    Args:
        distances: By place.
    """

    def __init__(self, distances: array[float]) -> None:
        self._distances = distances
        self._places: list[int] = []
        self._is_sorted = True

    def extend(self, places: Iterable[int]) -> None:
        """Add places."""
        self._places.extend(places)
        self._is_sorted = False

    def behind(self, place: int | None) -> Iterator[int]:
        """The places behind one; all of them for None."""
        places = self._sorted()
        start = 0 if place is None else bisect_right(places, self._key(place), key=self._key)
        for at in range(start, len(places)):
            yield places[at]

    def count_behind(self, place: int) -> int:
        """How many places are behind one."""
        places = self._sorted()
        return len(places) - bisect_right(places, self._key(place), key=self._key)

    def is_behind(self, one: int, place: int) -> bool:
        """Whether one place is behind another."""
        return self._key(one) > self._key(place)

    def _key(self, place: int) -> tuple[float, int]:
        return self._distances[place], place

    def _sorted(self) -> list[int]:
        if not self._is_sorted:
            self._places = sorted(self._places, key=self._key)  # a new list: a reader may be in the middle of one
            self._is_sorted = True
        return self._places
