"""Matching: which stored rows belong to an object of a listing.

A key can have several rows: at most one with a position in the order of examination, and cached results of other
versions of the object or of work that was not counted. A listed object is the stored one when its ETag and its size are
the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.model import ListedObject
from asyncfilter.records.images import StoredImage


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one key, matched with the object that the listing has under it.

    Attributes:
        standing: The row with a valid outcome, so that nothing needs to be done; None when the object needs a position.
        stored: The row with its labels, or its failure; None when the object must be paid for.
        is_own: True when ``stored`` gets the position itself, False when the object needs a new row.
        replaced: The row whose position it takes: of another version, or of an object that was removed and has been
            restored.
    """

    standing: StoredImage | None = None
    stored: StoredImage | None = None
    is_own: bool = False
    replaced: StoredImage | None = None


def match(rows: Sequence[StoredImage], listed: ListedObject, *, retry_failed: bool = False) -> Match:
    """Find the rows of ``listed``.

    Args:
        rows: Of its key, by id; cached rows, and a row whose image was removed, with their labels.
        listed: The object as the listing has it now.
        retry_failed: True when a cached failure does not count as an outcome, so that the image is examined again.
    """
    positioned = next((row for row in rows if row.seq is not None), None)
    if positioned is not None and is_of(positioned, listed) and positioned.removal is None:
        return Match(standing=positioned)
    cached = (row for row in reversed(rows) if is_of(row, listed) and _is_usable(row, retry_failed=retry_failed))
    stored = next(cached, None) or _returned(positioned, listed)
    is_own = stored is not None and stored.seq is None and stored.removal is None
    return Match(stored=stored, is_own=is_own, replaced=positioned)


def newest(rows: Sequence[StoredImage], listed: ListedObject) -> StoredImage | None:
    """The best row for ``listed``: the one with a position, else the last one; None when there is none.

    An object of a list that does not say which version it is counts as the one that is known.
    """
    same = [row for row in rows if not listed.etag or is_of(row, listed)]
    return next((row for row in same if row.seq is not None), same[-1] if same else None)


def is_of(row: StoredImage, listed: ListedObject) -> bool:
    """Whether a row belongs to the object as it is now."""
    return row.etag == listed.etag and row.size_bytes == listed.size_bytes


def _is_usable(row: StoredImage, *, retry_failed: bool) -> bool:
    """Whether a row holds a cached outcome."""
    return row.seq is None and (row.detection is not None or not retry_failed)


def _returned(positioned: StoredImage | None, listed: ListedObject) -> StoredImage | None:
    """The row of an image that was removed and is listed again; it is decided anew from its stored labels."""
    if positioned is None or positioned.detection is None or not is_of(positioned, listed):
        return None
    return positioned
