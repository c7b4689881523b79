"""Which addresses of images were seen, and with which number: at most 100 bytes each, however long they are."""

from __future__ import annotations

import hashlib
from array import array

_FIRST_SLOTS = 1 << 10
_MOST_FULL = 2 / 3


class RefIndex:
    """A hash table of addresses with a number each, such as that of their line.

    An address is kept as 128 bits of its BLAKE2b digest, in arrays with open addressing: 20 bytes a slot, of which at
    least a third is in use.
    """

    def __init__(self) -> None:
        self._count = 0
        self._allocate(_FIRST_SLOTS)

    def __len__(self) -> int:
        return self._count

    def add(self, source_ref: str, number: int) -> int:
        """Keep the number of an address that is new.

        Args:
            source_ref: The address.
            number: From 1, below 2 to the power of 32.

        Returns:
            0 for a new address, else the number that it was added with.
        """
        high, low = _digest(source_ref)
        slot = self._slot(high, low)
        if self._numbers[slot]:
            return self._numbers[slot]
        self._put(slot, high, low, number)
        self._count += 1
        if self._count > self._most:
            self._grow()
        return 0

    def find(self, source_ref: str) -> int:
        """The number that an address was added with; 0 for one that was not."""
        return self._numbers[self._slot(*_digest(source_ref))]

    def shared_with(self, other: RefIndex) -> tuple[int, int, int]:
        """How many addresses are in both, the lowest number of one of them here, and its number in ``other``."""
        shared, first, there = 0, 0, 0
        for high, low, number in zip(self._highs, self._lows, self._numbers, strict=True):
            if number and (found := other._numbers[other._slot(high, low)]):
                shared += 1
                if not first or number < first:
                    first, there = number, found
        return shared, first, there

    def _allocate(self, slots: int) -> None:
        self._highs = array("Q", bytes(8 * slots))
        self._lows = array("Q", bytes(8 * slots))
        self._numbers = array("I", bytes(4 * slots))
        self._mask = slots - 1
        self._most = int(slots * _MOST_FULL)

    def _slot(self, high: int, low: int) -> int:
        """The slot of a digest, or the free one where it belongs."""
        slot, numbers = low & self._mask, self._numbers
        while numbers[slot] and (self._lows[slot] != low or self._highs[slot] != high):
            slot = (slot + 1) & self._mask
        return slot

    def _put(self, slot: int, high: int, low: int, number: int) -> None:
        self._highs[slot], self._lows[slot], self._numbers[slot] = high, low, number

    def _grow(self) -> None:
        former = self._highs, self._lows, self._numbers
        self._allocate(2 * (self._mask + 1))
        for high, low, number in zip(*former, strict=True):
            if number:
                self._put(self._slot(high, low), high, low, number)


def _digest(source_ref: str) -> tuple[int, int]:
    found = hashlib.blake2b(source_ref.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big")
