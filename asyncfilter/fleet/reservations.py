"""Workers that do nothing else than one image each, which was lost with too many workers before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from asyncfilter.fleet.link import Link

_RESERVED_S = 60.0
"""A worker that was reserved for an image is free again when the image has not come for so long: its run may have ended
meanwhile."""


class _Reserved(msgspec.Struct):
    """A worker that does nothing else than one image, and when that image was there last."""

    link: Link
    seen_s: float


class Reservations:
    """The reserved workers of one run, by the positions of the images.

    Args:
        links: All workers, as they come and go.
        changed: Called with a worker that was reserved, or that is free again.
        now: Seconds that go on while this machine is suspended.
    """

    def __init__(self, links: Sequence[Link], changed: Callable[[Link], None], now: Callable[[], float]) -> None:
        self._links = links
        self._changed = changed
        self._now = now
        self._reserved: dict[int, _Reserved] = {}

    def reserved(self, seq: int, at: Link | None) -> Link | None:
        """The worker that is reserved for an image, from now on if not before; None where none can be.

        Args:
            seq: Position of the image.
            at: The worker that it must be; None for any.
        """
        found = self._reserved.get(seq)
        if found is not None and (not found.link.can_be_asked or (at is not None and found.link is not at)):
            self.free(seq)
            found = None
        if found is None:
            free = [
                one for one in self._links if one.can_be_asked and not one.is_reserved and (at is None or one is at)
            ]
            if not free:
                return None
            found = self._reserved[seq] = _Reserved(min(free, key=lambda one: one.asks.attempts), 0.0)
            found.link.reserve(is_reserved=True)
            self._changed(found.link)
        found.seen_s = self._now()
        return found.link

    def free(self, seq: int) -> None:
        """Let others have the worker that was reserved for an image."""
        if (found := self._reserved.pop(seq, None)) is not None:
            found.link.reserve(is_reserved=False)
            self._changed(found.link)

    def free_forgotten(self) -> None:
        """Let others have the workers whose image has not come again."""
        before_s = self._now() - _RESERVED_S
        for seq in [seq for seq, found in self._reserved.items() if found.link.is_idle and found.seen_s < before_s]:
            self.free(seq)
