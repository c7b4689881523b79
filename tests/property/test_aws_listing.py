"""The listing parser reads a page as botocore does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.aws.clients.list_xml import PageError, read_page
from asyncfilter.model import ListedObject

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda key: len(key.encode()) <= 1024
)
OBJECTS = st.lists(
    st.tuples(KEYS, st.integers(0, 5 * 2**40), st.sampled_from(["STANDARD", "GLACIER", "INTELLIGENT_TIERING"])),
    max_size=12,
)
SHAPE = botocore.session.get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape


def page_of(objects: list[tuple[str, int, str]], *, encode: Callable[..., str], token: str = "") -> bytes:
    """A page as S3 writes it, its keys encoded by ``encode``."""
    items = "".join(
        f"<Contents><Key>{encode(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;e{size}-2&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>{size}</Size>"
        f"<StorageClass>{storage_class}</StorageClass></Contents>"
        for key, size, storage_class in objects
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix/><KeyCount>{len(objects)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<EncodingType>url</EncodingType><IsTruncated>{'true' if token else 'false'}</IsTruncated>{items}{more}"
        "</ListBucketResult>"
    ).encode()


def read_by_botocore(body: bytes) -> dict[str, Any]:
    """The page as botocore reads it."""
    page: dict[str, Any] = create_parser("rest-xml").parse({"body": body, "headers": {}, "status_code": 200}, SHAPE)
    return page


@given(OBJECTS, st.sampled_from([quote, quote_plus]))
async def test_every_key_arrives_as_it_is(objects: list[tuple[str, int, str]], encode: Callable[..., str]) -> None:
    """Keys with newlines, control characters, ``+``, ``%`` and emoji are listed as they were stored."""
    body = page_of(objects, encode=lambda key: encode(key, safe="/"))
    listing = await read_page(body)
    assert list(listing.objects) == [ListedObject(key, size, f"e{size}-2", kind) for key, size, kind in objects]
    assert listing.token is None
    botocore_page = read_by_botocore(body).get("Contents", [])
    assert [item["Size"] for item in botocore_page] == [item.size_bytes for item in listing.objects]
    assert [item["ETag"].strip('"') for item in botocore_page] == [item.etag for item in listing.objects]


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_keys_of_a_server_that_does_not_encode_are_taken_as_xml(key: str) -> None:
    """Without ``EncodingType`` in the answer a plus is a plus, and only XML entities are decoded."""
    body = page_of([(key, 1, "STANDARD")], encode=escape).replace(b"<EncodingType>url</EncodingType>", b"")
    assert [item.key for item in (await read_page(body)).objects] == [key]


@pytest.mark.parametrize("token", ["1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=", "a&amp;b"])
async def test_a_truncated_page_names_the_next(token: str) -> None:
    """The token is unescaped only, not URL-decoded."""
    listing = await read_page(page_of([("a", 1, "STANDARD")], encode=quote, token=token))
    assert listing.token == token.replace("&amp;", "&")


async def test_a_page_cut_short_is_no_page() -> None:
    """A truncated page is an error, not the end of the listing."""
    body = page_of([(f"k{n}", n, "STANDARD") for n in range(5)], encode=quote)
    for length in range(len(body)):
        with pytest.raises(PageError):
            await read_page(body[:length])


async def test_a_proxys_page_is_no_page() -> None:
    """HTML with status 200 is refused."""
    with pytest.raises(PageError):
        await read_page(b"<html><body>Please sign in</body></html>")
