"""Free checks: what a listing alone says about whether an object is worth a call."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.model import ListedObject, Skip

MAX_OBJECT_BYTES = 15 * 1024 * 1024
"""Largest S3 object that Rekognition reads (Rekognition guide, *Guidelines and quotas*)."""

ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that must be restored before anything can read them; GLACIER_IR is read at once."""


def free_check(
    listed: ListedObject, *, is_included: Callable[[str], bool], is_excluded: Callable[[str], bool]
) -> Skip | None:
    """Why ``listed`` is not examined, or None when it is; the first reason in the order below."""
    if listed.key.endswith("/"):
        return Skip.FOLDER
    if not is_included(listed.key):
        return Skip.NOT_INCLUDED
    if is_excluded(listed.key):
        return Skip.EXCLUDED
    if listed.size_bytes == 0:
        return Skip.EMPTY
    if listed.size_bytes > MAX_OBJECT_BYTES:
        return Skip.TOO_LARGE
    if listed.storage_class in ARCHIVED_CLASSES:
        return Skip.ARCHIVED
    return None
