"""Whatever listens at an endpoint may answer anything: a response is read, or cannot be read, and nothing else happens.

Readers of HTTP, XML, JSON and dates. What cannot be read raises one of ``UNREADABLE``, which is one failed attempt.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.aws.clients.error_response import ERROR_BODY_BYTES, Operation, read_error_response, retry_after_s
from asyncfilter.aws.clients.http import HttpResponse
from asyncfilter.aws.clients.http.connection import BUFFER_BYTES, ERROR_LIMIT_BYTES, HEAD_LIMIT_BYTES, Connection
from asyncfilter.aws.clients.http.message import SMALL, ResponseLimit
from asyncfilter.aws.clients.list_xml import MAX_OBJECT_BYTES, read_page
from asyncfilter.aws.clients.protocols import ObjectHead
from asyncfilter.aws.clients.s3_xml import read_outcomes, read_tags, read_versions
from asyncfilter.aws.clients.signing import ServiceClock
from asyncfilter.aws.detectors.custom_labels import read_custom_labels
from asyncfilter.aws.detectors.labels import read_labels
from asyncfilter.aws.transport_errors import UNREADABLE
from asyncfilter.checkpoint.codec import decode, encode
from asyncfilter.checkpoint.interning import Interned, LabelDefinition
from asyncfilter.model import Detection
from tests.kit.fuzzing import MIB, bounded, damaged, fuzz

# -- XML ---------------------------------------------------------------------------------------------------------------

PAGE = (
    b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><EncodingType>url</EncodingType>'
    b"<IsTruncated>true</IsTruncated><Contents><Key>a%2Fb+c.jpg</Key><LastModified>2026-01-01T00:00:00.000Z"
    b"</LastModified><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>12</Size><StorageClass>STANDARD"
    b"</StorageClass></Contents><NextContinuationToken>T</NextContinuationToken></ListBucketResult>"
)
OUTCOMES = (
    b"<DeleteResult><Deleted><Key>a</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>v</"
    b"DeleteMarkerVersionId></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>No</Message></Error>"
    b"</DeleteResult>"
)
VERSIONS = (
    b"<ListVersionsResult><EncodingType>url</EncodingType><Version><Key>a</Key><VersionId>v</VersionId><IsLatest>true"
    b"</IsLatest><ETag>&quot;e&quot;</ETag><Size>3</Size></Version><DeleteMarker><Key>a</Key><VersionId>w</VersionId>"
    b"</DeleteMarker></ListVersionsResult>"
)
TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
ERROR = b"<Error><Code>SlowDown</Code><Message>Reduce &amp; wait</Message><Region>eu-west-1</Region></Error>"
XML_TOKENS = [
    *(b"<%b>" % name for name in (b"Code", b"Deleted", b"Error", b"Version", b"Tag", b"Key", b"Contents", b"Size")),
    *(b"</%b>" % name for name in (b"Code", b"Deleted", b"Key", b"Contents", b"ListBucketResult")),
    *(b"&#xD800;", b"&#99999999999999999999;", b"&#x110000;", b"&#0;", b"&#", b"&amp;", b"&lt;", b"&#x1F600;", b"&"),
    *(b"%ff", b"%00", b"%", b"\xff", b"\xed\xa0\x80", b"\0", b"\r\n", b"-", b"9" * 5000, b"1e9", "²".encode()),
]
XML = damaged([PAGE, OUTCOMES, VERSIONS, TAGS, ERROR], XML_TOKENS)


@fuzz
@given(XML)
async def test_a_listing_is_read_or_refused(body: bytes) -> None:
    """What is listed has a size and an ETag that can be stored and sent."""
    with bounded(24 * len(body) + MIB), suppress(*UNREADABLE):
        for listed in (await read_page(body)).objects:
            listed.key.encode()
            assert 0 <= listed.size_bytes <= MAX_OBJECT_BYTES
            assert listed.etag.isprintable()


@fuzz
@given(XML, st.sampled_from([lambda b: read_outcomes(b, "bucket"), lambda b: read_versions(b, "a"), read_tags]))
def test_xml_of_other_operations_is_read_or_refused(body: bytes, read: Callable[[bytes], object]) -> None:
    """No document holds the loop or the memory."""
    with bounded(24 * len(body) + MIB), suppress(*UNREADABLE):
        read(body)


JSON_ERROR = b'{"__type":"com.amazon#ThrottlingException","Code":"C","Message":"Slow down","message":"m"}'
JSON_TOKENS = [b'{"a":', b"[", b"]", b"}", b'"', b"\\ud800", b"\\u0000", b"1e400", b"NaN", b"-1", b"null", b"9" * 400]


@fuzz
@given(damaged([ERROR, JSON_ERROR, b"", b"<html>"], [*XML_TOKENS, *JSON_TOKENS]))
@example(b"<Code>" * 15_000)
@example(b'{"a":' * 100_000)
def test_an_error_is_always_read(body: bytes) -> None:
    """The classification of an error never fails, and its texts are short."""
    with bounded(24 * min(len(body), ERROR_BODY_BYTES) + MIB):
        response = read_error_response(Operation.DETECT_LABELS, "s3://b/k", status=400, headers={}, body=body)
    for text in (response.code, response.message, response.region or ""):
        text.encode()
        assert len(text) <= ERROR_BODY_BYTES


# -- JSON --------------------------------------------------------------------------------------------------------------

LABELS = {
    "Name": "Bird",
    "Confidence": 99.5,
    "Instances": [{"BoundingBox": {"Width": 0.5, "Height": 0.5, "Left": -0.1, "Top": 0}, "Confidence": 42}],
    "Parents": [{"Name": "Animal"}],
    "Aliases": [{"Name": "Fowl"}],
    "Categories": [{"Name": "Animals"}],
    "New": {"Deep": [{"a": 1}]},
}
DETECTION = json.dumps({"Labels": [LABELS, {"Name": "X"}], "LabelModelVersion": "3.0", "Extra": [None]}).encode()
CUSTOM = json.dumps(
    {
        "CustomLabels": [
            {"Name": "a", "Confidence": 5, "Geometry": {"BoundingBox": {"Width": 1}, "Polygon": [{"X": 1}]}},
            {"Name": "a", "Confidence": 7.5},
        ]
    }
).encode()


def _none(_: int) -> list[Any]:
    return []


@fuzz
@given(damaged([DETECTION, CUSTOM], JSON_TOKENS), st.sampled_from([read_labels, read_custom_labels]))
@example(b'{"Labels":[],"X":' + b"[" * 100_000 + b"]" * 100_000 + b"}", read_labels)
@example(b'{"Labels":[{"Name":"a","Confidence":1e400}]}', read_labels)
def test_a_detection_is_read_or_refused(body: bytes, read: Callable[[bytes], Detection]) -> None:
    """What is read can be stored, and is then the same."""
    with bounded(64 * len(body) + MIB):
        try:
            found = read(body)
        except UNREADABLE:
            return
    labels, words = Interned[LabelDefinition](_none), Interned[str](_none)
    stored = encode(found, labels, words)
    again = decode(stored, labels, words)
    assert [label.name for label in again.labels] == [label.name for label in found.labels]
    assert again.extra == found.extra
    assert all(math.isfinite(label.confidence_pct) for label in found.labels)


# -- Dates and headers -------------------------------------------------------------------------------------------------

DATES = damaged(
    [b"Fri, 27 Nov 2026 23:00:00 GMT", b"Fri, 27 Nov 2026 23:00:00", b"120", b"-5", b"1e3", b"inf", b""],
    [b"9", b"+9999", b" ", b"-", b":", b"nan", b"Nov", b"GMT", b"\xb2", b"\0"],
).map(lambda raw: raw[:300].decode("latin-1"))


@fuzz
@given(DATES, DATES, DATES)
def test_a_wait_is_read_or_ignored(wait: str, retry_after: str, date: str) -> None:
    """No date and no number makes a wait that is endless, negative or no number."""
    waited = retry_after_s({"x-amz-retry-after": wait, "retry-after": retry_after, "date": date})
    assert waited is None or 0 <= waited <= 300
    waited = retry_after_s({"retry-after": retry_after, "date": date})
    assert waited is None or 0 <= waited <= 300


@fuzz
@given(DATES)
def test_no_date_stops_the_clock(date: str) -> None:
    """After any correction requests can still be signed."""
    clock = ServiceClock(lambda: 1.8e9)
    clock.correct(date, signed=clock.stamps()[0])
    assert len(clock.stamps()[0]) == len("20260131T235959Z")


@fuzz
@given(
    st.dictionaries(
        st.sampled_from(["ETag", "Content-Length", "x-amz-restore", "x-amz-storage-class", "x-amz-checksum-sha256"]),
        DATES,
    )
)
def test_headers_of_an_object_are_read_or_refused(headers: dict[str, str]) -> None:
    """A head without a length, or with one that is none, is one failed attempt."""
    with suppress(*UNREADABLE):
        assert ObjectHead.of(headers).size_bytes >= 0


# -- HTTP --------------------------------------------------------------------------------------------------------------

HTTP = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
]
HTTP_TOKENS = [
    *(b"\r\n", b"\n", b"\0", b":", b" ", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1", b"X: " + b"y" * 70_000),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK\r\n", b"Connection: close\r\n"),
]


class Transport(asyncio.Transport):
    """A transport that sends nothing, and is lost when it is aborted."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.closing = False
        self._connection = connection

    def write(self, data: object) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


@fuzz
@given(damaged(HTTP, HTTP_TOKENS), st.booleans(), st.integers(0, 2**32), st.sampled_from([SMALL, ResponseLimit(1000)]))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_connection_has_one_outcome(sent: bytes, is_head: bool, seed: int, limit: ResponseLimit) -> None:
    """Whatever arrives in whatever pieces: a response within its bounds, or the failure of this exchange."""
    loop, lost = asyncio.get_running_loop(), list[Connection]()
    connection = Connection(loop, lost.append, memoryview(bytearray(BUFFER_BYTES)))
    transport = Transport(connection)
    connection.connection_made(transport)
    outcome = connection.send(b"GET / HTTP/1.1\r\n\r\n", limit, is_head=is_head)
    pieces = random.Random(seed)
    with bounded(limit.body_bytes + 8 * HEAD_LIMIT_BYTES + ERROR_LIMIT_BYTES + 4 * len(sent) + MIB):
        while sent and not transport.closing:
            size = pieces.choice([1, 7, 100, BUFFER_BYTES])
            connection.data_received(memoryview(sent[:size]))
            sent = sent[size:]
        connection.eof_received()
        connection.connection_lost(None)
    assert outcome.done()
    assert lost == [connection]
    found = outcome.result()
    if isinstance(found, HttpResponse):
        assert found.status >= 200
        assert len(found.body) <= max(limit.body_bytes, ERROR_LIMIT_BYTES) + BUFFER_BYTES + HEAD_LIMIT_BYTES
        assert len(found.headers) < HEAD_LIMIT_BYTES
