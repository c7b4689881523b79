"""Repeatable random sampling: the rank of a key depends only on the key and on a seed.

The ranks of keys are as good as independent draws. So the objects of the lowest ranks are a uniform sample without
replacement, in whatever order they come and however many there are. ``order: random`` examines by rank, so that a
sample with the seed of the job holds the images that its run examines first.
"""

from __future__ import annotations

import hashlib
import heapq

import msgspec

from asyncfilter.model import ListedObject


class Ranking:
    """The ranks of one seed."""

    def __init__(self, seed: int) -> None:
        self._salt = seed.to_bytes(16, "big", signed=True)

    def rank(self, key: str) -> int:
        """The key's position in the shuffled order, 63 bits."""
        digest = hashlib.blake2b(key.encode(), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") >> 1


class Sampler:
    """A uniform sample of the objects offered; memory is used for the sample alone.

    Args:
        size: Objects to draw, at least 0; all that are offered when there are no more.
        ranking: Decides which objects are drawn.
    """

    def __init__(self, size: int, ranking: Ranking) -> None:
        self._size = size
        self._ranking = ranking
        self._heap: list[tuple[int, str, ListedObject]] = []

    def offer(self, listed: ListedObject) -> None:
        """Offer one object; each key may be offered once."""
        if not self._size:
            return
        entry = (-self._ranking.rank(listed.key), listed.key, listed)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif self._heap and entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def drawn(self) -> list[ListedObject]:
        """The sample by rising rank: its first n objects, for any n, are a uniform sample too."""
        return [listed for _, _, listed in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]


class _ContentCount(msgspec.Struct):
    """One content that is counted: how many of its images are unpaid, and whether its labels are known."""

    unpaid: int = 0
    is_known: bool = False


class ContentCounter:
    """Counts images that cost nothing because another has the same content, in constant memory.

    Exact up to ``capacity`` contents. Beyond it, half of them are dropped, by a hash, as often as necessary, and the
    share among the remaining ones is used for all (Wegman's adaptive sampling; Flajolet 1990, *Computing* 43). Where no
    content occurs twice the count is always zero.
    """

    def __init__(self, capacity: int = 1 << 16) -> None:
        self._capacity = capacity
        self._ranking = Ranking(0)
        self._below = 1 << 63
        self._seen: dict[int, _ContentCount] = {}
        self._sole = 0

    def count(self, content: tuple[str, int] | None, *, is_known: bool) -> None:
        """Count one image.

        Args:
            content: What identifies its bytes; None when nothing does, so that it must be paid for.
            is_known: The checkpoint has its labels.
        """
        if content is None:
            self._sole += not is_known
            return
        rank = self._ranking.rank(f"{content[0]} {content[1]}")
        if rank >= self._below:
            return
        seen = self._seen.setdefault(rank, _ContentCount())
        seen.unpaid += not is_known
        seen.is_known |= is_known
        while len(self._seen) > self._capacity:
            self._below //= 2
            self._seen = {rank: seen for rank, seen in self._seen.items() if rank < self._below}

    def shared(self, unpaid: int) -> int:
        """How many of ``unpaid`` images share the content of another that is known or will be paid for."""
        counted = sum(seen.unpaid for seen in self._seen.values())
        needed = sum(seen.unpaid > 0 and not seen.is_known for seen in self._seen.values())
        return round((unpaid - self._sole) * (counted - needed) / counted) if counted else 0
