"""The images of a checkpoint in memory, changed by whole batches like the rows of the SQLite file."""

from __future__ import annotations

import msgspec

from asyncfilter.errors import CheckpointError
from asyncfilter.model import ActionKind
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch


class Rows:
    """Images by id, with indexes by position, target and key.

    Invariants: a position belongs to one row, a target to one key. A batch is applied as a whole or not at all.

    Attributes:
        by_id: The rows.
        id_by_seq: Ids of the rows that have a position, by position.
        id_by_target: Ids of the rows that wrote a target, by the target's URI.
        ids_by_key: Ids by key; an entry may be empty.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, StoredImage] = {}
        self.id_by_seq: dict[int, int] = {}
        self.id_by_target: dict[str, int] = {}
        self.ids_by_key: dict[str, set[int]] = {}
        self._before: dict[int, StoredImage | None] = {}
        """The rows before the batch that is being applied, by id; None for a new row."""

    def positioned(self) -> list[StoredImage]:
        """Rows with a position, in the order of their positions."""
        return [self.by_id[id_] for _, id_ in sorted(self.id_by_seq.items())]

    def drop_positions_after(self, seq: int) -> None:
        """Remove the position of every row beyond position ``seq``."""
        for image in [self.by_id[id_] for position, id_ in self.id_by_seq.items() if position > seq]:
            self._put(_replaced(image, seq=None))
        self._before.clear()

    def apply(self, batch: Batch) -> None:
        """Change the rows as ``Checkpoint.commit`` does.

        Raises:
            CheckpointError: The batch contradicts the rows; nothing was changed.
        """
        try:
            self._apply(batch)
        except BaseException:
            self._roll_back()
            raise
        self._before.clear()

    def _apply(self, batch: Batch) -> None:
        for id_ in batch.unpositioned:
            self._drop_position(id_)
        for image in batch.new:
            if image.id in self.by_id:
                raise CheckpointError(f"row {image.id} exists already")
            self._put(_replaced(image, effects=()))
        for image in batch.positioned:
            old = self._get(image.id)
            self._put(
                _replaced(old, seq=image.seq, decision=image.decision, failure=image.failure, answer=image.answer)
            )
        for id_, effect in batch.revoked:
            self._revoke(id_, effect)
        for id_, etag in batch.renewed:
            if id_ in self.by_id:
                self._put(_replaced(self._get(id_), etag=etag))
        for id_, effect in batch.effects:
            self._confirm(id_, effect)
        for id_, failure in batch.failures:
            self._put(_replaced(self._get(id_), failure=failure))

    def _drop_position(self, id_: int) -> None:
        image = self.by_id.get(id_)
        if image is None:
            return
        if image.detection is None:
            self._remove(id_)
        else:
            self._put(_replaced(image, seq=None))

    def _revoke(self, id_: int, effect: DoneEffect) -> None:
        if image := self.by_id.get(id_):
            self._put(_replaced(image, effects=tuple(one for one in image.effects if one != effect)))

    def _confirm(self, id_: int, effect: DoneEffect) -> None:
        image = self._get(id_)
        owner = self.id_by_target.get(effect.target) if _has_target(effect) else None
        if owner is not None:
            former = self._get(owner)
            if former.key != image.key:
                raise CheckpointError("a target belongs to another key")
            others = tuple(one for one in former.effects if not _has_target(one) or one.target != effect.target)
            self._put(_replaced(former, effects=others))
        kept = tuple(one for one in self._get(id_).effects if _has_target(one) or one.kind is not effect.kind)
        self._put(_replaced(self._get(id_), effects=(*kept, effect)))

    # -- One row -------------------------------------------------------------------------------------------------------

    def _get(self, id_: int) -> StoredImage:
        if id_ not in self.by_id:
            raise CheckpointError(f"row {id_} to change does not exist")
        return self.by_id[id_]

    def _put(self, image: StoredImage) -> None:
        """Insert or replace the row."""
        self._remove(image.id)
        if image.seq is not None and self.id_by_seq.setdefault(image.seq, image.id) != image.id:
            raise CheckpointError(f"position {image.seq} belongs to another row")
        self.by_id[image.id] = image
        self.ids_by_key.setdefault(image.key, set()).add(image.id)
        self.id_by_target.update((effect.target, image.id) for effect in image.effects if _has_target(effect))

    def _remove(self, id_: int) -> None:
        """Remove the row, if it exists."""
        old = self.by_id.pop(id_, None)
        self._before.setdefault(id_, old)
        if old is None:
            return
        if old.seq is not None:
            del self.id_by_seq[old.seq]
        self.ids_by_key[old.key].discard(id_)
        for effect in filter(_has_target, old.effects):
            self.id_by_target.pop(effect.target, None)

    def _roll_back(self) -> None:
        before = dict(self._before)
        for id_ in before:
            self._remove(id_)
        for image in before.values():
            if image is not None:
                self._put(image)
        self._before.clear()


def _has_target(effect: DoneEffect) -> bool:
    """Whether the effect's target is an object of its own, which one key owns."""
    return bool(effect.target) and effect.kind is not ActionKind.TAG


def _replaced(image: StoredImage, **changes: object) -> StoredImage:
    return msgspec.structs.replace(image, **changes)
