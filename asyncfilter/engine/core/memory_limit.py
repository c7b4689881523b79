"""The bound on images that are prepared ahead, and on the bytes that they hold.

Invariant: the bytes of an image are added once, and subtracted exactly once, when its call is over.
"""

from __future__ import annotations

import anyio

from asyncfilter.engine.core.work_item import WorkItem

PREFETCH_IMAGES = 256
"""Images that are under preparation, or prepared and not yet admitted, at the most."""

PREFETCH_BYTES = 128 * 1024 * 1024
"""Bytes held for images before and during their calls; beyond it no further preparation starts."""


class MemoryLimit:
    """Counts the images that wait for admission, and the bytes that images hold until their calls are over."""

    def __init__(self, *, images: int = PREFETCH_IMAGES, capacity_bytes: int = PREFETCH_BYTES) -> None:
        self.waiting = 0
        self.held_bytes = 0
        self._images = images
        self._capacity_bytes = capacity_bytes
        self._changed = anyio.Event()

    @property
    def has_room(self) -> bool:
        """True while the preparation of another image may start."""
        return self.waiting < self._images and self.held_bytes < self._capacity_bytes

    async def wait_room(self) -> None:
        """Return when the preparation of another image may start."""
        while not self.has_room:
            await self._changed.wait()

    def put(self, item: WorkItem) -> None:
        """Add the bytes that a prepared image holds."""
        if item.prepared is not None:
            self.held_bytes += item.prepared.held_bytes

    def clear(self, item: WorkItem) -> None:
        """Drop what an image holds, and subtract its bytes."""
        if item.prepared is not None:
            self.held_bytes -= item.prepared.held_bytes
            item.prepared = None
            self.notify()

    def notify(self) -> None:
        """Wake the tasks that wait for room; each checks again."""
        self._changed.set()
        self._changed = anyio.Event()
