"""The removal journal, and the images that are to leave the source: plain SQL, on the calling thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.rows import ACTION_OF, WITH_LABELS, RowCodec, are_texts, pack_etag, select, unpack_etag
from asyncfilter.checkpoint.schema import ACTIONS, STEPS, VERDICTS
from asyncfilter.checkpoint.sql import Row
from asyncfilter.model import ActionKind, Failure
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.removal import CLAIMING, REMOVING, Removal, Step

_STEP_OF = {number: step for step, number in STEPS.items()}

CLAIMS = (
    f"SELECT target, key, image FROM removal WHERE step IN ({', '.join(str(STEPS[step]) for step in sorted(CLAIMING))})"  # noqa: S608  numbers
)
"""Query for the targets of images that were moved or are being moved; conditions may follow."""


class RemovalTable:
    """The ``removal`` table, and the rows of ``image`` that its entries refer to.

    Args:
        db: A connection in autocommit mode, used by one thread at a time.
        codec: Reads the images of the same file.
    """

    def __init__(self, db: sqlite3.Connection, codec: RowCodec) -> None:
        self._db = db
        self._codec = codec

    def write(self, removals: Sequence[Removal]) -> None:
        """Store entries in place of those of the same images; to be called inside a transaction."""
        sql.insert(self._db, "INSERT OR REPLACE INTO removal", [_row(removal) for removal in removals])

    def revoke(self, effects: Sequence[tuple[int, DoneEffect]]) -> None:
        """Delete confirmed actions, as far as they exist; to be called inside a transaction."""
        rows = [(id_, ACTIONS[effect.kind], effect.target) for id_, effect in effects]
        for clause, parameters in sql.values(rows):
            query = f"DELETE FROM effect WHERE (image, kind, target) IN ({clause})"  # noqa: S608  only marks
            self._db.execute(query, parameters)

    def pending_removals(
        self, which: RemovalQuery, after_seq: int, limit: int
    ) -> list[tuple[StoredImage, Removal | None]]:
        """See ``Checkpoint.pending_removals``."""
        where, parameters = _condition(which)
        query = f"{select(WITH_LABELS)} WHERE seq > ? AND {where} ORDER BY seq LIMIT ?"
        images = self._codec.images(self._db.execute(query, (after_seq, *parameters, limit)).fetchall())
        entries: dict[int, Removal] = {}
        for some in sql.chunks([image.id for image in images], sql.VALUES_PER_STATEMENT):
            query = f"SELECT * FROM removal WHERE image IN ({sql.marks(len(some))})"  # noqa: S608  only marks
            entries.update((row[0], _removal(row)) for row in self._db.execute(query, some).fetchall())
        return [(image, entries.get(image.id)) for image in images]

    def count_pending_removals(self, which: RemovalQuery) -> int:
        """See ``Checkpoint.count_pending_removals``."""
        return count_pending_removals(self._db, which)

    def removals(self, steps: Sequence[Step], after_image: int, limit: int) -> list[tuple[Removal, StoredImage | None]]:
        """See ``Checkpoint.removals``."""
        among = ", ".join(str(STEPS[step]) for step in steps)
        query = f"SELECT * FROM removal WHERE step IN ({among}) AND image > ? ORDER BY image LIMIT ?"  # noqa: S608  numbers
        # All at once: a query that is still open when a row is refused would keep the file from being closed.
        found = [_removal(row) for row in self._db.execute(query, (after_image, limit)).fetchall()]
        images = {image.id: image for image in self._codec.by_ids([removal.image for removal in found])}
        return [(removal, images.get(removal.image)) for removal in found]


def count_pending_removals(db: sqlite3.Connection, which: RemovalQuery) -> int:
    """See ``Checkpoint.count_pending_removals``."""
    where, parameters = _condition(which)
    query = f"SELECT count(*) FROM image WHERE seq IS NOT NULL AND {where}"  # noqa: S608  numbers and marks
    (found,) = db.execute(query, parameters).fetchone()
    return int(found)


def _condition(which: RemovalQuery) -> tuple[str, tuple[str, ...]]:
    """The condition on ``image`` behind ``Checkpoint.pending_removals``, and its parameters."""
    # The lowest two bits of a stored decision are its verdict.
    where = f"decision % 4 IN ({', '.join(str(VERDICTS[verdict]) for verdict in which.verdicts)})"
    if which.duplicates is not None:
        where = f"({where} OR same_as IS NOT NULL)" if which.duplicates else f"({where} AND same_as IS NULL)"
    kinds = ", ".join(str(ACTIONS[kind]) for kind in sorted(REMOVING))
    where += " AND decision IS NOT NULL AND failure IS NULL"
    where += f" AND NOT EXISTS (SELECT 1 FROM effect WHERE effect.image = image.id AND kind IN ({kinds}))"  # noqa: S608  numbers
    if which.settled_by is None:
        return where, ()
    undone = f"removal.image = image.id AND step = {STEPS[Step.UNDONE]} AND decided_by = ?"
    return f"{where} AND NOT EXISTS (SELECT 1 FROM removal WHERE {undone})", (which.settled_by,)  # noqa: S608  numbers


def _row(removal: Removal) -> Row:
    """The values of an entry, in the order of the table's columns."""
    failure = removal.failure
    return (
        removal.image,
        removal.key,
        pack_etag(removal.etag),
        removal.size_bytes,
        ACTIONS[removal.kind],
        removal.target,
        STEPS[removal.step],
        removal.copied,
        int(removal.is_foreign),
        removal.marker,
        removal.returned,
        removal.decided_by,
        failure.code if failure is not None else None,
        failure.message if failure is not None else None,
    )


def _removal(row: Row) -> Removal:
    """The entry whose stored values are ``row``; the inverse of ``_row``.

    Raises:
        CorruptRowError: An entry cannot have been stored like this.
    """
    image, key, etag, size_bytes, kind, target, step, copied, is_foreign, marker, *rest = row
    returned, decided_by, code, message = rest
    texts = (key, unpack_etag(etag), target, copied, marker, returned, decided_by, code or "", message or "")
    if not are_texts(*texts) or not isinstance(size_bytes, int):
        raise CorruptRowError(f"entry {image} of the journal is not valid: a value of another type")
    try:
        if ACTION_OF[kind] is ActionKind.MOVE and not target:
            raise CorruptRowError(f"entry {image} of the journal is not valid: a move without a target")
        return Removal(
            image=image,
            key=key,
            etag=unpack_etag(etag),
            size_bytes=size_bytes,
            kind=ACTION_OF[kind],
            target=target,
            step=_STEP_OF[step],
            copied=copied,
            is_foreign=bool(is_foreign),
            marker=marker,
            returned=returned,
            decided_by=decided_by,
            failure=None if code is None else Failure(code, message),
        )
    except (LookupError, TypeError, AttributeError) as exc:
        raise CorruptRowError(f"entry {image} of the journal is not valid: {exc}") from exc
