"""Millions of keys that need no memory: each is computed from its position.

A data set is a pattern such as ``raw/{class}/{n}.jpg`` over class folders. Keys are in UTF-8 order; a position is
therefore found by bisection, and a page is a slice.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import Final, overload

DEFAULT_PATTERN: Final = "raw/{class}/{n}.jpg"
DEFAULT_CLASSES: Final = ("blackbird", "jay", "kingfisher", "magpie", "robin", "sparrow", "swallow", "wren")
_ETAG_FACTOR: Final = 0x9E3779B97F4A7C15F39CC0605CEDC835
_ETAG_MASK: Final = (1 << 128) - 1


class SyntheticKeys(Sequence[str]):
    """``count`` keys in UTF-8 order, spread evenly over class folders.

    Args:
        count: Number of keys.
        pattern: Holds ``{n}`` once, for the number from 1 in a fixed width, and optionally ``{class}`` before it.
        classes: Folder names for ``{class}``.

    Raises:
        ValueError: If the pattern would not give ordered, distinct keys.
    """

    def __init__(self, count: int, pattern: str = DEFAULT_PATTERN, classes: Sequence[str] = DEFAULT_CLASSES) -> None:
        if count < 1:
            raise ValueError(f"a synthetic data set needs at least 1 object, not {count}")
        if pattern.count("{n}") != 1 or pattern.count("{class}") > 1 or "{class}" in pattern.partition("{n}")[2]:
            raise ValueError(f"pattern {pattern!r} must hold {{n}} once, and {{class}} before it or not at all")
        head, _, self._tail = pattern.partition("{n}")
        names = sorted(set(classes)) if "{class}" in head else [""]
        # The text up to the number is sorted, not the folder's name: "a" < "a-b", but "a-b/" < "a/".
        self._heads = sorted(head.replace("{class}", name) for name in names)
        if any(later.startswith(earlier) for earlier, later in itertools.pairwise(self._heads)):
            raise ValueError(f"the folders of pattern {pattern!r} must not begin with one another: {self._heads}")
        self._count = count
        self._per_head = -(-count // len(self._heads))
        self._width = len(str(self._per_head))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """The key at a position, or the keys of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        folder, number = divmod(index, self._per_head)
        return f"{self._heads[folder]}{number + 1:0{self._width}d}{self._tail}"

    def first_at_or_after(self, key: str) -> int:
        """Position of the first key that is not below ``key``; ``len(self)`` if there is none."""
        return bisect.bisect_left(range(self._count), key, key=self.__getitem__)

    def position(self, key: str) -> int | None:
        """Position of exactly this key; None if it is not in the data set."""
        folder = bisect.bisect_right(self._heads, key) - 1
        if folder < 0 or not key.startswith(self._heads[folder]):
            return None
        begin = len(self._heads[folder])
        number = key[begin : begin + self._width]
        if not (number.isascii() and number.isdigit()):
            return None
        at = folder * self._per_head + int(number) - 1
        return at if 0 <= at < self._count and self[at] == key else None

    def start_at(self, position: int) -> Iterator[tuple[int, str]]:
        """Positions and keys from ``position`` on; faster than one index per key."""
        per_head, width, tail = self._per_head, self._width, self._tail
        while position < self._count:
            folder, before = divmod(position, per_head)
            head = self._heads[folder]
            for number in range(before + 1, min(per_head, self._count - folder * per_head) + 1):
                yield position, f"{head}{number:0{width}d}{tail}"
                position += 1


def synthetic_etag(position: int) -> str:
    """A distinct ETag for each position; like that of a KMS-encrypted object, it is not the body's MD5."""
    return f"{(position + 1) * _ETAG_FACTOR & _ETAG_MASK:032x}"
