"""The sandbox's HTTP: order, keep-alive, and answers that are partial or missing."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from asyncfilter.sandbox.calls import Call, Style
from asyncfilter.sandbox.chunked import read_chunks
from asyncfilter.sandbox.faults import Fault, FaultKind, Faults
from asyncfilter.sandbox.images import dimensions
from asyncfilter.sandbox.message import Delivery, Reply, Request, ServiceError
from asyncfilter.sandbox.pictures import FOLDERS, draw_samples, tiny_picture
from asyncfilter.sandbox.s3.call import host_bucket
from asyncfilter.sandbox.server import HttpConnection, Respond


class FakeTransport(asyncio.Transport):
    """A transport that records the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class ManualApplication:
    """An application whose answers are released by the test."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, Respond]] = []
        self.at_once = False

    def accept(self, request: Request, answer: Respond) -> None:
        if self.at_once:
            answer(Reply(200, b"", request.target))
        else:
            self.waiting.append((request, answer))


@pytest.fixture
def application() -> ManualApplication:
    """The application."""
    return ManualApplication()


@pytest.fixture
def transport() -> FakeTransport:
    """The transport."""
    return FakeTransport()


@pytest.fixture
def connection(application: ManualApplication, transport: FakeTransport) -> HttpConnection:
    """A connection between them."""
    made = HttpConnection(application, set())
    made.connection_made(transport)
    return made


def get(path: str, *headers: str) -> bytes:
    """A request."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def test_pipelined_requests_are_answered_in_order(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """The second request is not begun before the first is answered, in any segmentation."""
    for byte in get("/1") + get("/2"):
        connection.data_received(bytes([byte]))
    assert [request.target for request, _ in application.waiting] == [b"/1"]
    application.waiting[0][1](Reply(200, b"", b"one"))
    assert [request.target for request, _ in application.waiting] == [b"/1", b"/2"]
    application.waiting[1][1](Reply(200, b"", b"two"))
    assert transport.sent.index(b"one") < transport.sent.index(b"two")
    assert not transport.closed


def test_a_thousand_pipelined_requests(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """Immediate answers do not recurse, with any number of requests queued behind a slow one."""
    connection.data_received(b"".join(get(f"/{number}") for number in range(3000)))
    application.at_once = True
    application.waiting[0][1](Reply(200, b""))
    assert transport.sent.count(b"HTTP/1.1 200") == 3000


def test_a_client_that_never_waits_is_not_read_further(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """The bytes buffered for a connection are bounded."""
    connection.data_received(b"".join(get(f"/{number}") for number in range(100)))
    assert not transport.reading
    application.at_once = True
    application.waiting[0][1](Reply(200, b""))
    assert transport.reading


def test_a_client_that_asks_to_close_is_obeyed(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """``Connection: close`` ends after the answer."""
    connection.data_received(get("/", "Connection: close"))
    application.waiting[0][1](Reply(200, b"", b"bye"))
    assert transport.sent.endswith(b"bye")
    assert b"Connection: close\r\n" in transport.sent
    assert transport.closed


def test_a_path_is_not_touched(connection: HttpConnection, application: ManualApplication) -> None:
    """Dots, double slashes and escapes arrive unchanged."""
    connection.data_received(get("/b/../a//%2e%2E/%20+?x=../y"))
    assert application.waiting[0][0].path == b"/b/../a//%2e%2E/%20+"
    assert application.waiting[0][0].query == b"x=../y"


def test_a_body_is_invited(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """``Expect: 100-continue`` is answered before the body arrives."""
    connection.data_received(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"hi")
    assert application.waiting[0][0].body == b"hi"


@pytest.mark.parametrize(
    ("delivery", "sent", "closed"),
    [(Delivery.CUT, b"12345", True), (Delivery.RESET, b"", True), (Delivery.SILENCE, b"", False)],
)
def test_answers_that_do_not_arrive(
    connection: HttpConnection,
    application: ManualApplication,
    transport: FakeTransport,
    delivery: Delivery,
    sent: bytes,
    closed: bool,
) -> None:
    """The answer stops after half the body, before its first byte, or never begins; a partial one announces all."""
    connection.data_received(get("/"))
    application.waiting[0][1](Reply(200, b"", b"1234567890", delivery))
    assert transport.sent.partition(b"\r\n\r\n")[2] == sent
    assert transport.closed == closed
    assert (b"Content-Length: 10\r\n" in transport.sent) == (delivery is Delivery.CUT)


def test_nonsense_is_answered_with_400(connection: HttpConnection, transport: FakeTransport) -> None:
    """Bytes that are not HTTP end the connection."""
    connection.data_received(b"\x16\x03\x01 hello\r\n\r\n")
    assert transport.sent.startswith(b"HTTP/1.1 400 ")
    assert transport.closed


def test_an_answer_to_a_client_that_left_is_dropped(
    connection: HttpConnection, application: ManualApplication, transport: FakeTransport
) -> None:
    """Nothing is written after the connection was lost."""
    connection.data_received(get("/"))
    connection.connection_lost(None)
    application.waiting[0][1](Reply(200, b"", b"late"))
    assert transport.sent == b""


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("127.0.0.1:9000", ""),
        ("localhost:9000", ""),
        ("[::1]:9000", ""),
        ("raw.localhost:9000", "raw"),
        ("a.b.localhost", "a.b"),
        ("raw.s3.localhost:9000", "raw"),
        ("s3.us-east-1.amazonaws.com", ""),
        ("s3.amazonaws.com", ""),
        ("raw.s3.us-east-1.amazonaws.com", "raw"),
        ("raw.images.s3.eu-west-1.amazonaws.com:443", "raw.images"),
        ("raw.s3.amazonaws.com", "raw"),
    ],
)
def test_virtual_hosts_name_buckets(host: str, bucket: str) -> None:
    """``bucket.localhost`` and AWS's own forms; an address names none."""
    assert host_bucket(host.encode()) == bucket


def test_chunks_and_trailers_are_taken_apart() -> None:
    """Unsigned chunks with a trailing checksum, as newer clients send over TLS."""
    framed = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    chunks = read_chunks(framed)
    assert (chunks.body, chunks.trailers) == (b"hello world", {"x-amz-checksum-crc32": "AAAAAA=="})
    for broken in (b"", b"5\r\nhel", b"zz\r\nhello\r\n0\r\n\r\n", framed[:12]):
        with pytest.raises(ServiceError, match="IncompleteBody"):
            read_chunks(broken)


def test_a_fault_does_not_depend_on_the_order_of_calls() -> None:
    """The failing attempts of each key are a function of the seed; the rate is met over many keys."""

    def struck(order: list[int], seed: int) -> set[int]:
        faults = Faults([Fault(FaultKind.RESET, 0.25)], seed)
        calls = {n: Call(Style.JSON, "DetectLabels", f"raw/{n}.jpg", lambda: Reply(200, b"")) for n in order}
        return {number for number in order if faults.draw(calls[number]) is not None}

    numbers = list(range(2000))
    assert struck(numbers, 1) == struck(numbers[::-1], 1) != struck(numbers, 2)
    assert 0.22 < len(struck(numbers, 1)) / 2000 < 0.28


def test_a_fault_by_rate_can_pass_on_the_next_attempt() -> None:
    """Each attempt on a key is drawn separately, so that a retry may succeed."""
    faults = Faults([Fault(FaultKind.RESET, 0.5)], 0)
    call = Call(Style.JSON, "DetectLabels", "raw/k.jpg", lambda: Reply(200, b""))
    assert 30 < sum(faults.draw(call) is not None for _ in range(100)) < 70


def test_samples_are_small_pictures_with_dirt_among_them() -> None:
    """Samples are the same for a seed, in key order, under 20 KB; two hundred contain every kind of bad file."""
    samples = list(draw_samples(200, 1))
    assert samples == list(draw_samples(200, 1)) != list(draw_samples(200, 2))
    assert [sample.key for sample in samples] == sorted({sample.key for sample in samples})
    assert all(len(sample.body) < 20_000 for sample in samples)
    good = [sample for sample in samples if sample.subject == sample.key.split("/")[1] and dimensions(sample.body)]
    assert 0.8 < len(good) / 200 < 0.95
    assert {sample.key.split("/")[1] for sample in samples} == set(FOLDERS)
    bad = [sample for sample in samples if sample not in good]
    assert any(sample.body == b"" for sample in bad)
    assert any(sample.key.endswith(".txt") for sample in bad)
    assert any(sample.body.startswith(b"RIFF") for sample in bad)
    assert any(sample.body.startswith(b"\xff\xd8") and dimensions(sample.body) is None for sample in bad)
    assert any(sample.subject not in {"", sample.key.split("/")[1]} for sample in bad)
    assert any(min(dimensions(sample.body) or (80, 80)) < 80 for sample in samples)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\x00\x00" + bytes(300)}])
def test_dimensions_are_read_from_headers(kind: str, options: dict[str, object]) -> None:
    """The size is read from baseline and progressive JPEGs, with and without EXIF, and from the synthetic picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (321, 123)).save(buffer, kind, **options)
    assert dimensions(buffer.getvalue()) == (321, 123)
    assert dimensions(tiny_picture()) == (80, 80)
