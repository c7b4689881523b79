"""The address of an image in a manifest: ``s3://BUCKET/KEY`` with the key as it is, not encoded."""

from __future__ import annotations

import re

from asyncfilter.job.addresses import MAX_KEY_BYTES
from asyncfilter.model import S3Location

_SOURCE_REF = re.compile(r"s3://([0-9A-Za-z._-]{3,255})/(.+)", re.DOTALL)


def parse_source_ref(value: object) -> S3Location | None:
    """Bucket and key of a ``source-ref``; None when it is none that the service reads.

    The scheme is in lower case, and the key has 1 to 1,024 bytes of UTF-8: a lone half of a surrogate pair has no such
    form. Source: Custom Labels guide, *Non-terminal JSON line validation errors*, and the pattern of bucket names in
    the API reference.
    """
    found = _SOURCE_REF.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    key = found[2]
    if not key.isascii():
        try:
            size_bytes = len(key.encode())
        except UnicodeEncodeError:
            return None
    else:
        size_bytes = len(key)
    return S3Location(found[1], key) if size_bytes <= MAX_KEY_BYTES else None


def join_path(prefix: str, relative: str) -> str:
    """``--s3-path`` and a path below it, with exactly one slash between them; the path is otherwise untouched."""
    return f"{prefix.rstrip('/')}/{relative.lstrip('/')}"
