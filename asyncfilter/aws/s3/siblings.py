"""Folders beside the one that a prefix names: a prefix without a slash at its end covers them as well."""

from __future__ import annotations

from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.preflight import with_retries
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import uri_of

_BEFORE_SLASH = ".\U0010ffff"
"""Follows, behind a prefix, all that sorts before a slash; ``.`` is the character before it."""

_BEHIND_SLASH = "/\U0010ffff"
"""Follows, behind a prefix, all that is in its folder."""


async def sibling_cautions(calls: S3Api, bucket: str, prefix: str) -> tuple[str, ...]:
    """A caution when a prefix is that of a folder, without its slash, and other folders begin with it.

    At most three pages are listed, and none for a prefix with its slash. Trouble with them is no error here: the
    listing of the run meets it, too.

    Args:
        calls: Either client.
        bucket: Of the source.
        prefix: Of the source.
    """
    if not prefix or prefix.endswith("/"):
        return ()
    try:
        sibling = await _sibling(calls, bucket, prefix)
    except AsyncFilterError:
        return ()
    if sibling is None:
        return ()
    caution = (
        f"source: {uri_of(bucket, prefix)} has no slash at its end, so that images in {uri_of(bucket, sibling)} are "
        f"examined and paid for as well; for those in the folder alone write {uri_of(bucket, prefix)}/"
    )
    return (caution,)


async def _sibling(calls: S3Api, bucket: str, prefix: str) -> str | None:
    """A folder whose name begins with that of the folder ``prefix``; None when there is none, or no such folder."""
    if not any(key.startswith(f"{prefix}/") for key in await _keys(calls, bucket, prefix, _BEFORE_SLASH, limit=1)):
        return None
    for after in ("", _BEHIND_SLASH):
        for key in await _keys(calls, bucket, prefix, after):
            head, slash, _ = key[len(prefix) :].partition("/")
            if head and slash:
                return f"{prefix}{head}/"
    return None


async def _keys(calls: S3Api, bucket: str, prefix: str, after: str, limit: int = 1000) -> list[str]:
    """The first keys of a source that follow the prefix and ``after``."""
    start = f"{prefix}{after}" if after else None
    page = await with_retries(lambda: list_page(calls, bucket, prefix, after=start, limit=limit))
    return [listed.key for listed in page.objects]
