"""Which stored rows stand for an object that a listing shows.

A key can have several rows: at most one with a position in the order of examination, and cached results of other
versions of the object or of work that was not counted. An object is the one that was stored when its ETag and its size
are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.model import ListedObject
from asyncfilter.records.images import StoredImage


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of one key mean for the object that the listing shows there.

    Attributes:
        standing: The row whose outcome stands, so that nothing is to be done; None when the object needs a position.
        stored: The row that gives its labels, or its failure; None when the object must be paid for.
        is_own: True when ``stored`` gets the position itself, False when the object needs a new row.
        replaced: The row whose position it takes: of another version, or of an object that was removed and is back.
    """

    standing: StoredImage | None = None
    stored: StoredImage | None = None
    is_own: bool = False
    replaced: StoredImage | None = None


def match(rows: Sequence[StoredImage], listed: ListedObject, *, retry_failed: bool = False) -> Match:
    """Find the rows of ``listed``.

    Args:
        rows: Of its key, by id; cached rows, and a row whose image was removed, with their labels.
        listed: The object as it is now.
        retry_failed: True when a cached failure is no outcome: the image is examined again.
    """
    positioned = next((row for row in rows if row.seq is not None), None)
    if positioned is not None and is_of(positioned, listed) and positioned.removal is None:
        return Match(standing=positioned)
    cached = (row for row in reversed(rows) if is_of(row, listed) and _is_usable(row, retry_failed=retry_failed))
    stored = next(cached, None) or _returned(positioned, listed)
    is_own = stored is not None and stored.seq is None and stored.removal is None
    return Match(stored=stored, is_own=is_own, replaced=positioned)


def newest(rows: Sequence[StoredImage], listed: ListedObject) -> StoredImage | None:
    """The row that says most of ``listed``: the one with a position, else the last one; None when none is of it."""
    same = [row for row in rows if is_of(row, listed)]
    return next((row for row in same if row.seq is not None), same[-1] if same else None)


def is_of(row: StoredImage, listed: ListedObject) -> bool:
    """Whether a row is that of the object as it is now."""
    return row.etag == listed.etag and row.size_bytes == listed.size_bytes


def _is_usable(row: StoredImage, *, retry_failed: bool) -> bool:
    """Whether a row is a cached outcome."""
    return row.seq is None and (row.detection is not None or not retry_failed)


def _returned(positioned: StoredImage | None, listed: ListedObject) -> StoredImage | None:
    """The row of an image that was removed and is there again: it is decided anew, by the labels that are paid for."""
    if positioned is None or positioned.detection is None or not is_of(positioned, listed):
        return None
    return positioned
