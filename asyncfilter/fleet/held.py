"""The memory of a worker for the bytes of images that are prepared.

Invariant: the earliest image among those here always gets what it asks for. The head admits images in order, so that
its bytes become free before those of all others: full memory is no deadlock.
"""

from __future__ import annotations

import anyio

from asyncfilter.model import ObjectRef

HELD_BYTES = 128 * 1024 * 1024
"""Most bytes for images, beside what the earliest needs."""


class HeldBytes:
    """``Memory`` of one worker.

    Args:
        capacity_bytes: See ``HELD_BYTES``.
    """

    def __init__(self, capacity_bytes: int = HELD_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._held: dict[int, int] = {}
        self._bytes = 0
        self._changed = anyio.Event()

    def begin(self, image: ObjectRef) -> None:
        """Note that an image is here."""
        self._held.setdefault(image.seq, 0)

    async def hold(self, image: ObjectRef, size_bytes: int) -> None:
        """See ``Memory``."""
        while not self._fits(image.seq, size_bytes):
            await self._changed.wait()
        self._set(image.seq, size_bytes)

    def keep(self, image: ObjectRef, size_bytes: int) -> None:
        """Count what an image holds once it is prepared."""
        self._set(image.seq, size_bytes)
        self._notify()

    def drop(self, image: ObjectRef) -> None:
        """Note that an image is gone, with what it held."""
        self._bytes -= self._held.pop(image.seq, 0)
        self._notify()

    def _fits(self, seq: int, size_bytes: int) -> bool:
        held = self._held.get(seq, 0)
        if size_bytes <= held or self._bytes - held + size_bytes <= self._capacity_bytes:
            return True
        return seq <= min(self._held, default=seq)

    def _set(self, seq: int, size_bytes: int) -> None:
        self._bytes += size_bytes - self._held.get(seq, 0)
        self._held[seq] = size_bytes

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
