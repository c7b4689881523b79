"""Free checks: whether an object is worth a call, decided by its listing entry alone."""

from __future__ import annotations

from asyncfilter.model import MISSING, UNREADABLE, ListedObject, Skip
from asyncfilter.policy.globs import KeyFilter

ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that must be restored before anything can read them; GLACIER_IR is read at once."""


def _skip_of_folder(listed: ListedObject, keys: KeyFilter) -> Skip | None:
    """Folders are skipped; one that cannot be listed fails, since it may hold any image, unless it is excluded."""
    if listed.etag != UNREADABLE:
        return Skip.FOLDER
    return Skip.EXCLUDED if keys.excludes(listed.key) else None


def skip_reason(listed: ListedObject, keys: KeyFilter, max_bytes: int) -> Skip | None:
    """Why ``listed`` is not examined, or None when it is; the first reason in the order below.

    Args:
        listed: From the source.
        keys: Which keys the source includes.
        max_bytes: Largest object to examine.
    """
    if listed.key.endswith("/"):
        return _skip_of_folder(listed, keys)
    if (skip := keys.skip(listed.key)) is not None:
        return skip
    if listed.size_bytes == 0:
        return Skip.MISSING if listed.etag == MISSING else Skip.EMPTY
    if listed.size_bytes > max_bytes:
        return Skip.TOO_LARGE
    if listed.storage_class in ARCHIVED_CLASSES:
        return Skip.ARCHIVED
    return None
