"""The bound on images that are prepared ahead, and on the bytes that they hold.

Invariants:

- The bytes of an image count from before they are read until its call is over, and are subtracted exactly once.
- They are within the capacity, plus what the earliest image needs beyond it. That image always gets what it asks for:
  all others are admitted after it, so that their bytes become free only when it has what it needs.
"""

from __future__ import annotations

import anyio

from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.model import ObjectRef

PREFETCH_IMAGES = 256
"""Images that are under preparation, or prepared and not yet admitted, at the most."""

PREFETCH_BYTES = 128 * 1024 * 1024
"""Bytes held for images before and during their calls."""


class MemoryLimit:
    """``Memory`` of a run: the images that wait for admission, and the bytes held until their calls are over."""

    def __init__(self, *, images: int = PREFETCH_IMAGES, capacity_bytes: int = PREFETCH_BYTES) -> None:
        self.waiting = 0
        self.held_bytes = 0
        self._images = images
        self._capacity_bytes = capacity_bytes
        # By key, in the order of preparation; an image is in it from then until it holds nothing any more.
        self._held: dict[str, int] = {}
        self._changed = anyio.Event()

    @property
    def has_room(self) -> bool:
        """True while the preparation of another image may start."""
        return self.waiting < self._images and self.held_bytes < self._capacity_bytes

    async def wait_room(self) -> None:
        """Return when the preparation of another image may start."""
        while not self.has_room:
            await self._changed.wait()

    def begin(self, item: WorkItem) -> None:
        """Note that the preparation of an image begins, and with it its turn to hold bytes."""
        self.waiting += 1
        self._held.setdefault(item.image.key, 0)

    async def hold(self, image: ObjectRef, size_bytes: int) -> None:
        """See ``Memory``."""
        while not self._fits(image.key, size_bytes):
            await self._changed.wait()
        self._set(image.key, size_bytes)

    def release(self, image: ObjectRef) -> None:
        """Subtract the bytes of a failed attempt; the image keeps its turn."""
        self._set(image.key, 0)
        self.notify()

    def put(self, item: WorkItem) -> None:
        """Count what an image holds now that its preparation is over."""
        if item.prepared is not None and item.prepared.held_bytes:
            self._set(item.image.key, item.prepared.held_bytes)
        else:
            self._drop(item.image.key)
        self.notify()

    def clear(self, item: WorkItem) -> None:
        """Drop what an image holds, and subtract its bytes."""
        if item.prepared is not None:
            if item.prepared.let_go is not None:
                item.prepared.let_go()
            self._drop(item.image.key)
            item.prepared = None
            self.notify()

    def notify(self) -> None:
        """Wake the tasks that wait for room; each checks again."""
        self._changed.set()
        self._changed = anyio.Event()

    def _fits(self, key: str, size_bytes: int) -> bool:
        held = self._held.get(key, 0)
        if size_bytes <= held or self.held_bytes - held + size_bytes <= self._capacity_bytes:
            return True
        return next(iter(self._held), key) == key

    def _set(self, key: str, size_bytes: int) -> None:
        self.held_bytes += size_bytes - self._held.get(key, 0)
        self._held[key] = size_bytes

    def _drop(self, key: str) -> None:
        self.held_bytes -= self._held.pop(key, 0)
