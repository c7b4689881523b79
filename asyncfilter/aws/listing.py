"""A page of ListObjectsV2, read without a tree.

botocore needs 95 ms for a page of 1,000 keys, during which nothing else runs; cutting the few fields out of the bytes
needs about 2 ms. The page is asked for with ``encoding-type=url``, so that keys with characters that XML
cannot hold arrive whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import unquote_plus

import anyio.lowlevel

from asyncfilter.aws.calls import Listing
from asyncfilter.aws.errors import unescape_xml
from asyncfilter.model import ListedObject

_SLICE = 250
"""Objects read before others get their turn: under 1 ms."""


class PageError(ValueError):
    """The body is not a page of ListObjectsV2."""


async def read_page(body: bytes) -> Listing:
    """The objects of a page, with a pause after every slice.

    Raises:
        PageError: The body is something else, or was cut.
    """
    head, *chunks = body.split(b"<Contents>")
    if b"<ListBucketResult" not in head or not body.rstrip().endswith(b"</ListBucketResult>"):
        raise PageError(f"not a listing: {body[:100]!r}")
    tail = chunks[-1].partition(b"</Contents>")[2] if chunks else b""
    about = head + tail
    encoded = _field(about, b"EncodingType") == b"url"
    objects: list[ListedObject] = []
    for start in range(0, len(chunks), _SLICE):
        objects.extend(_objects(chunks[start : start + _SLICE], encoded=encoded))
        await anyio.lowlevel.checkpoint()
    if _field(about, b"IsTruncated") != b"true":
        return Listing(objects, None)
    return Listing(objects, _text(_field(about, b"NextContinuationToken")))


def _objects(chunks: Sequence[bytes], *, encoded: bool) -> Iterator[ListedObject]:
    for chunk in chunks:
        key = _text(_field(chunk, b"Key"))
        size = _field(chunk, b"Size")
        if not key or not size.isdigit():
            raise PageError(f"not an object: {chunk[:100]!r}")
        if encoded and ("%" in key or "+" in key):
            key = unquote_plus(key)
        storage_class = _field(chunk, b"StorageClass").decode() or "STANDARD"
        yield ListedObject(key, int(size), _text(_field(chunk, b"ETag")).strip('"'), storage_class)


def _field(chunk: bytes, name: bytes) -> bytes:
    start = chunk.find(b"<%b>" % name)
    if start < 0:
        return b""
    start += len(name) + 2
    return chunk[start : chunk.index(b"<", start)]


def _text(raw: bytes) -> str:
    return unescape_xml(raw.decode())
