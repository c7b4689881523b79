"""Target claims: they decide which image may write a target, so that two objects never write the same one.

Invariant: from the release of an image until it is settled, its target is claimed here; once it is settled, the
checkpoint records the owner of the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.model import Effect
from asyncfilter.ports.checkpoint import RemovalJournal
from asyncfilter.records.images import Owner


class TargetClaims:
    """The targets of released images in memory, and of earlier ones in the checkpoint.

    Args:
        checkpoint: Records the owner of each target that was written before.
        is_active: False when no two objects can map to one target, and no earlier run wrote by other templates; then
            every claim is granted without a lookup.
    """

    def __init__(self, checkpoint: RemovalJournal, *, is_active: bool) -> None:
        self._checkpoint = checkpoint
        self._is_active = is_active
        self._claims: dict[str, str] = {}

    async def owners(self, effects: Iterable[Effect | None]) -> Mapping[str, Owner]:
        """The owners of the targets of ``effects``, by URI, as far as the checkpoint records them."""
        if not self._is_active:
            return {}
        targets = [effect.target.uri for effect in effects if effect is not None and effect.target is not None]
        return await self._checkpoint.owners(targets) if targets else {}

    def claim(self, item: WorkItem, effect: Effect, owners: Mapping[str, Owner]) -> bool:
        """Claim the target of ``effect`` for an image until ``release``.

        Args:
            item: The image.
            effect: The action to carry out for it.
            owners: The result of ``owners`` for this effect.

        Returns:
            False when the target belongs to another object.
        """
        if effect.target is None or not self._is_active:
            return True
        uri, key = effect.target.uri, item.image.key
        owner = owners.get(uri)
        # Both are needed: an action in flight is known only here, a finished one only in the checkpoint.
        if self._claims.get(uri, key) != key or (owner is not None and owner.key != key):
            return False
        if owner is not None and owner.moved not in {None, item.row_id}:
            return False  # an earlier version of the object was moved there, and exists nowhere else
        self._claims[uri] = key
        item.claim = uri
        return True

    def release(self, item: WorkItem) -> None:
        """End the claim of a settled image."""
        if item.claim is not None:
            self._claims.pop(item.claim, None)
