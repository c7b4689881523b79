"""What a run finds out about its model, made durable in its checkpoint."""

from __future__ import annotations

from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.known_model import KnownModel
from asyncfilter.records.progress import Batch


class ModelMemory:
    """What is known about a model; of a run whose checkpoint is not open yet, in memory alone.

    Args:
        known: What is known when the run begins.
    """

    def __init__(self, known: KnownModel) -> None:
        self.known = known
        self._store: LabelStore | None = None

    def keep_in(self, store: LabelStore) -> None:
        """Make durable what is found out from now on."""
        self._store = store

    async def keep(self, known: KnownModel) -> None:
        """Know this from now on; it is durable when this returns."""
        if self._store is not None:
            await self._store.commit(Batch(model=known))
        self.known = known
