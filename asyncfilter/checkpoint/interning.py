"""Interning: a text or a label's definition is stored once, and is referred to by its number everywhere else.

A table only grows, its numbers run from 0 without gaps, and a number never changes its meaning. So one process can read
what another one wrote, also while the other one adds values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)

LabelDefinition = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""The part of a label that is the same in every occurrence: name, parents, aliases, categories."""


class Interned(Generic[Value]):
    """One table of distinct values and their numbers, read when first needed.

    A new value gets the next number at once. It is in ``unsaved`` until a transaction has stored it (``saved``): the
    transaction that uses it or, when that is rolled back, the next one.

    Args:
        load: Returns the stored values from a number on, in order of their numbers.
    """

    def __init__(self, load: Callable[[int], Sequence[Value]]) -> None:
        self._load = load
        self._values: list[Value] = []
        self._numbers: dict[Value, int] = {}
        self._stored = 0

    def number(self, value: Value) -> int:
        """The number of ``value``; a new one for a new value."""
        return self.numbers([value])[0]

    def numbers(self, values: Sequence[Value]) -> list[int]:
        """The numbers of ``values``; new ones for new values."""
        known = self._numbers
        try:
            return [known[value] for value in values]
        except KeyError:
            self._read_on()
            return [self._add(value) for value in values]

    def values(self, past: int) -> Sequence[Value]:
        """All values by number, at least those with numbers below ``past``.

        Raises:
            LookupError: The table is shorter, so it does not belong to the data that is being read.
        """
        if past > len(self._values):
            self._read_on()
            if past > len(self._values):
                raise LookupError(f"{past - 1} is not in a table of {len(self._values)}")
        return self._values

    def all(self) -> Sequence[Value]:
        """All values by number, stored or not yet stored."""
        self._read_on()
        return self._values

    @property
    def unsaved(self) -> list[tuple[int, Value]]:
        """Numbers and values that are not stored yet, by number."""
        return list(enumerate(self._values[self._stored :], self._stored))

    def saved(self) -> None:
        """Note that everything in ``unsaved`` is stored."""
        self._stored = len(self._values)

    def _add(self, value: Value) -> int:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def _read_on(self) -> None:
        if len(self._values) > self._stored:
            return  # There is one writer: while this process has unsaved values, no other adds any.
        for value in self._load(self._stored):
            self._add(value)
        self.saved()
