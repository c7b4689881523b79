"""Other prefixes of a source's bucket, to find out where its images are."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.model import ListedObject, uri_of

MOST_REQUESTS = 30
"""Pages of one level that are read."""

_LEVELS = 4
"""Prefixes above the source's that are looked at, beside the whole bucket."""

_BEHIND_ALL = "\U0010ffff"
"""Follows every other character in the order of keys."""


class S3Places:
    """``Places``: the prefixes of one bucket.

    Args:
        calls: Either client.
        bucket: Bucket to list.
        prefix: Of the source.
    """

    def __init__(self, calls: S3Api, bucket: str, prefix: str) -> None:
        self._calls = calls
        self._bucket = bucket
        self.prefix = prefix

    def address(self, prefix: str) -> str:
        """See ``Places``."""
        return uri_of(self._bucket, prefix)

    def above(self, prefix: str) -> Sequence[str]:
        """See ``Places``: some levels, and the whole bucket."""
        folders = prefix.rstrip("/").split("/")[:-1]
        levels = ["/".join(folders[:number]) + "/" for number in range(len(folders), 0, -1)]
        return [*levels[:_LEVELS], *([""] if prefix else [])]

    async def folders(self, prefix: str) -> Sequence[str]:
        """See ``Places``; of a level with very many objects, only the first part."""
        found: dict[str, None] = {}
        after: str | None = None
        for _ in range(MOST_REQUESTS):
            page = await list_page(self._calls, self._bucket, prefix, after=after)
            heads = [_folder(one.key, prefix) for one in page.objects]
            found.update(dict.fromkeys(head for head in heads if head is not None))
            if page.token is None:
                break
            # The rest of the last folder is passed over, however much it holds.
            after = page.objects[-1].key if heads[-1] is None else heads[-1] + _BEHIND_ALL
        return list(found)

    async def objects(self, prefix: str) -> Sequence[ListedObject]:
        """See ``Places``."""
        return (await list_page(self._calls, self._bucket, prefix)).objects


def _folder(key: str, prefix: str) -> str | None:
    """The folder of ``key`` directly below ``prefix``; None for an object of that level."""
    head, slash, _ = key[len(prefix) :].partition("/")
    return f"{prefix}{head}/" if slash else None
