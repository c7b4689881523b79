"""Where a range of keys is cut in two, when all that is known of its keys is a few of them.

A store lists keys in one direction only, and does not tell where they are. So a cut is a guess: below it and above it
should be keys that are not listed yet. Any text is a correct cut, also one that is no key. A cut above which nothing is
found costs one request and makes the range smaller.

Two guesses, both from keys that were seen:

- All keys seen begin alike further than the range tells, such as ``2026/raw/img-00``: perhaps all of its keys do. The
  cut is behind all keys with some of that beginning, so a few cuts find where other keys begin.
- Keys branch: the characters behind what all of the range begins with are taken for digits of a number, and the cut is
  midway between what is listed and the end of the range. Unseen digits and letters count, too.
"""

from __future__ import annotations

import string
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

MOST_SEEN = 4096
"""Keys that are remembered; from there on every other one is forgotten."""

_LOOKED_AT = 128
"""Remembered keys that a guess looks at."""

_PLACES = 8
"""Characters behind the common beginning that count for a number: of 37 kinds, they make 40 bits."""

_ASCII, _LAST = 0x7F, 0x10FFFF
_SURROGATES, _NONCHARACTERS = range(0xD800, 0xE000), range(0xFDD0, 0xFDF0)
_MOST_BYTES = 1024
"""Length of a key at S3; a text that is longer may be refused."""
_DIGITS, _LOWER, _UPPER = map(frozenset, (string.digits, string.ascii_lowercase, string.ascii_uppercase))
_HEX = frozenset("abcdef")


def behind(beginning: str) -> str | None:
    """A text just above everything that begins with ``beginning``; None when there is none.

    It has no noncharacter, which a store might refuse in a request.
    """
    for place in range(len(beginning) - 1, -1, -1):
        following = ord(beginning[place]) + 1
        while following <= _LAST and _is_odd(following):
            following += 1
        if following <= _LAST:
            return beginning[:place] + chr(following)
    return None


def _is_odd(code: int) -> bool:
    """Whether a code point is a surrogate or a noncharacter."""
    return code in _SURROGATES or code in _NONCHARACTERS or code & 0xFFFE == 0xFFFE


def in_common(first: str, second: str) -> str:
    """What two texts both begin with."""
    if first > second:
        first, second = second, first
    for place, character in enumerate(first):
        if place >= len(second) or character != second[place]:
            return first[:place]
    return first


class KeyCuts:
    """Guesses cuts, and how many keys a range has left, from keys that were seen.

    A range is given by the last key listed of it, ``after``, and by ``upto``, the highest that a key of it can be (None
    without such a bound); ``first`` is the first key that was listed of it.

    Args:
        seen: Keys that are known to have been in the store.
    """

    def __init__(self, seen: Iterable[str] = ()) -> None:
        self._seen: list[str] = sorted(set(seen))
        self._thin()

    def note(self, key: str) -> None:
        """Remember a key that was listed."""
        insort(self._seen, key)
        self._thin()

    def spread(self, count: int) -> Sequence[str]:
        """Up to ``count`` of the remembered keys, evenly spread over them."""
        seen = self._seen
        if len(seen) <= count:
            return list(seen)
        return [seen[(number + 1) * len(seen) // (count + 1)] for number in range(count)]

    def cut(self, first: str, after: str, upto: str | None) -> str | None:
        """A text above ``after`` and below ``upto``; None when no cut is worth a request."""
        known, alike = _common_to_all(after, upto), in_common(first, after)
        branching = self._branching(known, first, after)
        if len(known) < len(alike) <= len(branching):
            found = behind(alike[: (len(known) + 1 + len(alike)) // 2])
        else:
            numbers = self._numbers(branching, after, upto)
            found = branching + numbers.text((numbers.of(after) + numbers.above(upto, branching)) // 2)
        if found is None or found <= after or (upto is not None and found >= upto):
            return None
        return found if len(found.encode()) <= _MOST_BYTES else None

    def left(self, first: str, after: str, upto: str | None, listed: int) -> float:
        """How many keys a range may have left, of which ``listed`` were listed; infinite when nothing tells."""
        branching = self._branching(_common_to_all(after, upto), first, after)
        numbers = self._numbers(branching, after, upto)
        at = numbers.of(after)
        passed = at - numbers.of(first)
        return float("inf") if passed <= 0 else listed * (numbers.above(upto, branching) - at) / passed

    def _branching(self, known: str, first: str, after: str) -> str:
        """What all remembered keys begin with that begin with ``known``, and ``first`` and ``after``, too."""
        start, stop = self._place(known)
        alike = in_common(first, after)
        if start == stop:
            return alike
        return in_common(alike, in_common(self._seen[start], self._seen[stop - 1]))

    def _numbers(self, known: str, after: str, upto: str | None) -> _Numbers:
        start, stop = self._place(known)
        keys = [*self._seen[start : stop : max(1, (stop - start) // _LOOKED_AT)], after]
        if upto is not None and upto.startswith(known):
            keys.append(upto)
        places = range(len(known), len(known) + _PLACES)
        return _Numbers(len(known), [_completed({key[place] for key in keys if len(key) > place}) for place in places])

    def _place(self, known: str) -> tuple[int, int]:
        """Where the remembered keys are that begin with ``known``."""
        end = behind(known)
        return bisect_left(self._seen, known), len(self._seen) if end is None else bisect_left(self._seen, end)

    def _thin(self) -> None:
        while len(self._seen) > MOST_SEEN:
            del self._seen[1::2]


class _Numbers:
    """Texts as numbers in the order of the texts: the characters from a place on are digits; a text's end is zero."""

    def __init__(self, start: int, alphabets: Sequence[str]) -> None:
        self._start = start
        self._alphabets = alphabets

    def of(self, text: str) -> int:
        number = 0
        for place, alphabet in enumerate(self._alphabets, self._start):
            digit = bisect_left(alphabet, text[place]) + 1 if len(text) > place else 0
            number = number * (len(alphabet) + 1) + min(digit, len(alphabet))
        return number

    def above(self, upto: str | None, known: str) -> int:
        """The number of ``upto``, or the lowest above all that begin with ``known``."""
        if upto is not None and upto.startswith(known):
            return self.of(upto)
        number = 1
        for alphabet in self._alphabets:
            number *= len(alphabet) + 1
        return number

    def text(self, number: int) -> str:
        """The characters of a number, up to its first zero."""
        digits = []
        for alphabet in reversed(self._alphabets):
            number, digit = divmod(number, len(alphabet) + 1)
            digits.append(digit)
        found = []
        for alphabet, digit in zip(self._alphabets, reversed(digits), strict=True):
            if digit == 0:
                break
            found.append(alphabet[digit - 1])
        return "".join(found)


def _common_to_all(after: str, upto: str | None) -> str:
    """What all keys above ``after`` begin with that are at most ``upto``, apart from ``upto`` itself."""
    if upto is None:
        return ""
    length = len(in_common(after, upto))
    while length < len(after) and (end := behind(after[: length + 1])) is not None and end >= upto:
        length += 1
    return after[:length]


def _completed(seen: set[str]) -> str:
    """Characters in their order, with all of a kind of which one was seen; of other scripts some that are higher."""
    found = set(seen)
    if seen & _DIGITS:
        found |= _DIGITS
    if letters := seen & _LOWER:
        found |= _HEX if seen & _DIGITS and letters <= _HEX else _LOWER
    if seen & _UPPER:
        found |= _UPPER
    if seen and (highest := ord(max(seen))) > _ASCII:
        steps = (highest + (1 << bits) for bits in range(21))
        found |= {chr(code) for code in steps if code <= _LAST and not _is_odd(code)}
    return "".join(sorted(found))
