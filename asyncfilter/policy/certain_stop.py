"""Certain stops: whether the images decided so far, in whatever order, make it certain that a stop rule will hold.

The stop rules themselves count in the order of examination (``policy/stopping``). One image that is repeated for
seconds would otherwise let hundreds behind it be paid. Whatever an image without an outcome turns out to be, a stop is
certain

- by ``matches``, when as many keeps as it wants are decided, less those that admitted images replace;
- by ``misses_in_a_row``, when as many misses are decided at positions without a gap and without a keep in between.

The rules ``hit_rate`` and ``errors`` are not included: they depend on shares of the images in order, which images
without an outcome can still change. The cap ``limits.max_images`` is a count of admitted images.

Invariant: when a stop is certain, a stop rule holds at or before ``last_seq``, or the run ends earlier for another
reason.
"""

from __future__ import annotations

from asyncfilter.job.spec import Stop
from asyncfilter.model import Decision, Verdict
from asyncfilter.records.tally import Tally


class CertainStop:
    """Counts decided images in the order of their arrival.

    Args:
        stop: The job's stop rules.

    Attributes:
        last_seq: The stop position, or a position behind it; None while no stop is certain.
    """

    def __init__(self, stop: Stop) -> None:
        self.last_seq: int | None = None
        self._matches_wanted = stop.matches
        self._misses_wanted = stop.misses_in_a_row
        self._matches = 0
        self._last_match = 0
        self._starts: dict[int, _Stretch] = {}
        self._ends: dict[int, _Stretch] = {}

    def start_at(self, seq: int, tally: Tally) -> None:
        """Start behind the position ``seq``, with the counts up to there; no later image may be decided yet."""
        self.last_seq = None
        self._matches, self._last_match = tally.matches, seq
        stretch = _Stretch(seq, misses=tally.misses_in_a_row, has_match=True)
        # It begins with the keep before these misses, or with the first image: nothing can precede it.
        self._starts, self._ends = {}, {seq: stretch}

    @property
    def stretches(self) -> int:
        """Stretches of decided images without a gap: all that is kept of them for ``misses_in_a_row``."""
        return len(self._ends)

    def is_behind(self, seq: int) -> bool:
        """True when ``seq`` is certainly behind the stop position: its outcome is not needed."""
        return self.last_seq is not None and seq > self.last_seq

    def replace(self, decision: Decision | None) -> None:
        """Count an image that takes the place of a row with ``decision``; before its own outcome is counted."""
        if decision is not None and decision.by_rules is Verdict.KEEP:
            self._matches -= 1

    def decide(self, seq: int, verdict: Verdict | None) -> None:
        """Count the verdict of the rules on an image; None for one that counts for no stop rule here."""
        if self._matches_wanted is not None and verdict is Verdict.KEEP:
            self._matches += 1
            self._last_match = max(self._last_match, seq)
            # Replaced keeps may be admitted later; they are behind all images that are counted here.
            if self._matches >= self._matches_wanted:
                self._settle(self._last_match)
        if self._misses_wanted is not None:
            self._extend(seq, verdict, self._misses_wanted)

    def _settle(self, seq: int) -> None:
        self.last_seq = seq if self.last_seq is None else min(seq, self.last_seq)

    def _extend(self, seq: int, verdict: Verdict | None, wanted: int) -> None:
        """Join the image with the decided stretches on both sides of it."""
        misses = int(verdict is Verdict.REJECT)
        stretch = self._ends.pop(seq - 1, None)
        longest = misses
        if stretch is None:
            stretch = self._starts[seq] = _Stretch(seq, misses=misses, has_match=verdict is Verdict.KEEP)
        else:
            longest = stretch.append(seq, misses, misses, has_match=verdict is Verdict.KEEP)
        right = self._starts.pop(seq + 1, None)
        if right is not None:
            longest = max(longest, stretch.append(right.end, right.head, right.tail, has_match=right.has_match))
        self._ends[stretch.end] = stretch
        if longest >= wanted:
            self._settle(stretch.end)


class _Stretch:
    """Decided images at positions without a gap.

    Attributes:
        end: Its last position.
        has_match: True when it has a keep.
        head: Misses before its first keep; all of them when it has none.
        tail: Misses after its last keep, likewise.
    """

    __slots__ = ("end", "has_match", "head", "tail")

    def __init__(self, end: int, *, misses: int, has_match: bool) -> None:
        self.end = end
        self.has_match = has_match
        self.head = self.tail = misses

    def append(self, end: int, head: int, tail: int, *, has_match: bool) -> int:
        """Append the stretch that follows; the result is the number of misses in a row where the two meet."""
        joined = self.tail + head
        if not self.has_match:
            self.head += head
        self.tail = tail if has_match else self.tail + tail
        self.has_match = self.has_match or has_match
        self.end = end
        return joined
