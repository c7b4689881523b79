"""Pictures that will probably be asked for soon: they are made before."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio

from asyncfilter.review.pictures import READS_AT_ONCE, Renditions
from asyncfilter.review.rows import CardRow

AHEAD = 64
_RESERVED = 4
"""Reads that are kept free for pictures that somebody waits for."""


class ReadAhead:
    """Makes renditions of the images that were wanted last.

    Args:
        pictures: Makes them.
        card_rows: The images with some ids.

    Attributes:
        most: Images that wait at the most; older wishes are dropped.
    """

    def __init__(
        self, pictures: Renditions, card_rows: Callable[[Sequence[int]], Awaitable[Sequence[CardRow]]]
    ) -> None:
        self.most = AHEAD
        self._pictures, self._card_rows = pictures, card_rows
        self._wanted: deque[int] = deque(maxlen=AHEAD)
        self._is_wanted = anyio.Event()

    def want(self, ids: Sequence[int]) -> None:
        """Make the renditions of these images, the first one first; before all that was wanted earlier."""
        for id_ in reversed(ids[: self.most]):
            if id_ in self._wanted:
                self._wanted.remove(id_)
            self._wanted.appendleft(id_)
        if ids:
            self._is_wanted.set()

    async def work(self) -> None:
        """Make renditions; never ends."""
        async with anyio.create_task_group() as tasks:
            for _ in range(READS_AT_ONCE - _RESERVED):
                tasks.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while not self._wanted:
                if self._is_wanted.is_set():
                    self._is_wanted = anyio.Event()
                await self._is_wanted.wait()
            id_ = self._wanted.popleft()
            try:
                for row in await self._card_rows([id_]):
                    await self._pictures.ahead(row, "1280", "320")
            except Exception:  # noqa: BLE001, S112  it is reported when the picture is asked for  # nosec B112
                continue
