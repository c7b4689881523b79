"""Pages of a listing, checked: a store that does not list as S3 does is refused, not listed without end.

A run continues a listing from the last key that it has seen, in this process or in a later one. That is right only when
the keys are in order and each page begins behind that key. The checks are made once a page.
"""

from __future__ import annotations

from itertools import pairwise
from operator import attrgetter, lt

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import PAGE_SIZE, Listing, S3Api, uri
from asyncfilter.aws.errors import classify
from asyncfilter.errors import StoreError

MOST_EMPTY_PAGES = 1000
"""Empty pages in a row that are read. S3 sends some where a listing passes over many deleted objects."""

_HINT = "Use a store that lists as S3 does (ListObjectsV2: start-after, keys in the order of their UTF-8 bytes)."
_key, _etag = attrgetter("key"), attrgetter("etag")


async def list_page(
    calls: S3Api, bucket: str, prefix: str, *, after: str | None = None, limit: int = PAGE_SIZE
) -> Listing:
    """The objects below ``prefix`` that follow ``after``: one page, empty only when there are none.

    Raises:
        StoreError: The store does not list as S3 does, so that the listing would not end or would lose objects.
        AsyncFilterError: An error response, translated by ``classify``.
    """
    where = uri(bucket, prefix)
    try:
        listing = await calls.list_objects(bucket, prefix, after=after, limit=limit)
        passed: set[str] = set()
        while not listing.objects and listing.token is not None:  # an empty page has no key to continue from
            _check_token(where, listing.token, passed)
            passed.add(listing.token)
            listing = await calls.list_objects(bucket, prefix, after=None, token=listing.token, limit=limit)
    except ErrorResponseError as exc:
        raise classify(exc.response) from exc
    if listing.objects:
        _check_objects(listing, where, prefix, after)
    return listing


def _check_token(where: str, token: str, passed: set[str]) -> None:
    if not token:
        raise _not_going_on(where, "an empty page says that more follows, and has no token for it")
    if token in passed:
        raise _not_going_on(where, "empty pages repeat the same token")
    if len(passed) >= MOST_EMPTY_PAGES:
        raise _not_going_on(where, f"{MOST_EMPTY_PAGES:,} pages in a row are empty, and more are said to follow")


def _check_objects(listing: Listing, where: str, prefix: str, after: str | None) -> None:
    keys = list(map(_key, listing.objects))
    if after is not None and keys[0] <= after:
        raise _not_going_on(where, f"the page behind the key {after!r} begins with {keys[0]!r}")
    if not all(map(lt, keys, keys[1:])):
        former, later = next(pair for pair in pairwise(keys) if pair[0] >= pair[1])
        raise _not_going_on(where, f"the keys are not in order: {later!r} follows {former!r}")
    if not (keys[0].startswith(prefix) and keys[-1].startswith(prefix)):  # keys in order: the others do then too
        other = keys[-1] if keys[0].startswith(prefix) else keys[0]
        raise _not_going_on(where, f"the key {other!r} is not below the prefix")
    if listing.token == "":  # that of a listing  # nosec B105
        raise _not_going_on(where, "a page says that more follows, and has no token for it")
    if not all(map(_etag, listing.objects)):
        nameless = next(listed.key for listed in listing.objects if not listed.etag)
        raise StoreError(
            f"The listing of {where} has no ETag for {nameless!r}: a changed image could not be told from the one "
            "that was examined",
            hint="Use a store that gives ETags, or copy the images to S3 or to a local folder.",
        )


def _not_going_on(where: str, what: str) -> StoreError:
    return StoreError(f"The listing of {where} cannot be followed: {what}", hint=_HINT)
