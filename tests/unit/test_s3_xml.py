"""S3's XML as stores write it: tags, versions, restored objects."""

from __future__ import annotations

from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.aws.clients.list_xml import read_page
from asyncfilter.aws.clients.s3_xml import read_tags, read_versions, tag_request

RESTORED = (
    "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
    "<RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
)
HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        (HEAD + b"<Tagging><TagSet/></Tagging>", {}),
        (b"\xef\xbb\xbf<Tagging xmlns='x'>\n <TagSet></TagSet></Tagging>", {}),
        (HEAD + b"<Tagging><TagSet><Tag><Key>a</Key><Value>&lt;</Value></Tag></TagSet></Tagging>", {"a": "<"}),
        (b"", None),
        (b"<Tagging/>", None),
        (b"<TaggingX><TagSet/></TaggingX>", None),
        (b"<ListBucketResult></ListBucketResult>", None),
        (b"<svg><Tagging><TagSet/></Tagging></svg>", None),
        (b"\xff\xd8\xff\xe1<?xml version='1.0'?><Tagging><TagSet/></Tagging>", None),
        (b"\x89PNG\r\n\x1a\n<Tagging><TagSet/></Tagging>", None),
    ],
)
def test_only_a_set_of_tags_is_read_as_one(body: bytes, tags: dict[str, str] | None) -> None:
    """The document must begin as a set of tags; what stands further on in it does not matter."""
    assert read_tags(body) == tags


@given(st.dictionaries(st.text("ab <&>+%\u00e9", min_size=1), st.text("ab <&>+%\u00e9"), max_size=5))
def test_what_is_written_is_read(tags: dict[str, str]) -> None:
    """Any set of tags is recognised."""
    assert read_tags(tag_request(tags)) == tags


@given(st.binary(max_size=300))
def test_no_other_bytes_are_tags(body: bytes) -> None:
    """An image before the words of a set of tags stays an image."""
    assert read_tags(b"\xff\xd8" + body) is None


@pytest.mark.parametrize("key", ["a%20b.jpg", "a+b", "a b", "%", "%25", "\u00fc"])
def test_keys_of_versions_are_decoded_where_the_response_says_so(key: str) -> None:
    """A store that ignores the request for encoding sends keys as they are."""
    row = "<Version><Key>{}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>"
    plain = f"<ListVersionsResult>{row.format(key)}</ListVersionsResult>".encode()
    encoded = f"<ListVersionsResult><EncodingType>url</EncodingType>{row.format(quote_plus(key))}</ListVersionsResult>"
    assert [version.id for version in read_versions(plain, key)] == ["1"]
    assert [version.id for version in read_versions(encoded.encode(), key)] == ["1"]


@pytest.mark.parametrize(
    ("storage_class", "status", "readable"),
    [
        ("GLACIER", "", "GLACIER"),
        ("GLACIER", "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>", "GLACIER"),
        ("DEEP_ARCHIVE", "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>", None),
        ("GLACIER_IR", "", "GLACIER_IR"),
        ("DEEP_ARCHIVE", RESTORED, "STANDARD"),
        ("GLACIER", RESTORED, "STANDARD"),
    ],
)
async def test_a_restored_object_is_read_from_its_copy(storage_class: str, status: str, readable: str | None) -> None:
    """It counts as restored from the end of the restoring, when it has an expiry date."""
    row = f"<Contents><Key>k</Key><ETag>e</ETag><Size>1</Size><StorageClass>{storage_class}</StorageClass>{status}"
    page = await read_page(f"<ListBucketResult>{row}</Contents></ListBucketResult>".encode())
    assert [one.storage_class for one in page.objects] == [readable or storage_class]
