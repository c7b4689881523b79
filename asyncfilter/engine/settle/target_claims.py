"""Which image may write a target: two objects of one run never share one.

Invariant: from the moment an image is released until it is settled, its target is claimed here; once it is settled, the
checkpoint has on record whose target it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.model import Effect
from asyncfilter.ports.checkpoint import RemovalJournal
from asyncfilter.records.images import Owner


class TargetClaims:
    """The targets of images under way, and of those that the checkpoint has on record.

    Args:
        checkpoint: Knows who wrote a target before.
        is_active: False when no two objects can map to one target, and nothing was written before by other templates;
            then every claim holds and the checkpoint is not asked.
    """

    def __init__(self, checkpoint: RemovalJournal, *, is_active: bool) -> None:
        self._checkpoint = checkpoint
        self._is_active = is_active
        self._claims: dict[str, str] = {}

    async def owners(self, effects: Iterable[Effect | None]) -> Mapping[str, Owner]:
        """Whose the targets of ``effects`` are, by URI, as far as the checkpoint has them on record."""
        if not self._is_active:
            return {}
        targets = [effect.target.uri for effect in effects if effect is not None and effect.target is not None]
        return await self._checkpoint.owners(targets) if targets else {}

    def claim(self, item: WorkItem, effect: Effect, owners: Mapping[str, Owner]) -> bool:
        """Claim the target of ``effect`` for an image until ``release``.

        Args:
            item: The image.
            effect: What is to be carried out for it.
            owners: As ``owners`` gave them for this effect.

        Returns:
            False when the target belongs to another object.
        """
        if effect.target is None or not self._is_active:
            return True
        uri, key = effect.target.uri, item.image.key
        owner = owners.get(uri)
        if self._claims.get(uri, key) != key or (owner is not None and owner.key != key):
            return False
        if owner is not None and owner.moved not in {None, item.row_id}:
            return False  # an earlier version of the object was moved there, and exists nowhere else
        self._claims[uri] = key
        item.claim = uri
        return True

    def release(self, item: WorkItem) -> None:
        """Give the claim of a settled image back."""
        if item.claim is not None:
            self._claims.pop(item.claim, None)
