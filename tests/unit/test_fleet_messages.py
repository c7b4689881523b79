"""What head and workers send each other survives the way, and what does not fit is refused before it is used."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter import errors
from asyncfilter.fleet import messages as m
from asyncfilter.fleet.faults import error_of, fault_of
from asyncfilter.model import Box, Detection, Instance, Label, ObjectRef
from tests.kit.fuzzing import fuzz

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SHARE = st.floats(-1, 2)
PERCENT = st.floats(0, 100)
BOXES = st.builds(Instance, st.builds(Box, SHARE, SHARE, SHARE, SHARE), PERCENT)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
LABELS = st.builds(
    Label,
    name=TEXT,
    confidence_pct=PERCENT,
    instances=st.lists(BOXES, max_size=3).map(tuple),
    parents=NAMES,
    aliases=NAMES,
    categories=NAMES,
)
EXTRA = st.just(b"") | st.dictionaries(TEXT, TEXT | SHARE | st.none(), max_size=3).map(msgspec.json.encode)
DETECTIONS = st.builds(Detection, st.lists(LABELS, max_size=8).map(tuple), TEXT, EXTRA)


@given(DETECTIONS)
def test_detection_survives(detection: Detection) -> None:
    """A detection is the same after the way."""
    assert m.decode_answer(m.encode_answer(detection)) == detection


def test_largest_answer_of_the_service_fits() -> None:
    """A thousand labels with parents, aliases and boxes fit into a frame."""
    labels = tuple(
        Label(
            f"Label number {number}",
            100 - number / 20,
            instances=tuple(Instance(Box(0.1, 0.2, 0.3, number / 1000), 50.0) for _ in range(number % 5)),
            parents=("Animal", "Bird", f"Parent {number % 40}"),
            aliases=(f"Alias {number}",),
            categories=("Animals and Pets",),
        )
        for number in range(1000)
    )
    body = m.encode_answer(Detection(labels, "3.0"))
    assert len(m.worker_frame("s", [m.encode(m.Answered(1, 0.0, 1, body))])) <= m.FRAME_BYTES
    assert m.decode_answer(body).labels == labels


def answer(labels: list[object]) -> bytes:
    """An answer with any content."""
    return b"\0" + msgspec.msgpack.encode(["3.0", b"", labels])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\1" + zlib.compress(bytes(10_000_000)),
        b"\1" + zlib.compress(b"\0" * 100)[:-3],
        answer([["Cat", 100.1]]),
        answer([["Cat", -0.1]]),
        answer([["Cat", float("nan")]]),
        answer([["Cat", 50.0]] * 1001),
        answer([["C" * 1001, 50.0]]),
        answer([[1, 50.0]]),
        answer([["Cat", 50.0, [], [], [], [], "more"]]),
        b"\0" + b"\x91" * 5000,
        *(
            b"\0" + msgspec.msgpack.encode(["3.0", extra, []])
            for extra in (b"{", b"[]", b"3", b"{} {}", b'{"a":"\xff"}')
        ),
    ],
)
def test_answer_that_does_not_fit_is_refused(body: bytes) -> None:
    """Percents, numbers, sizes and types are checked."""
    with pytest.raises(m.FrameError):
        m.decode_answer(body)


@pytest.mark.fuzz
@fuzz
@given(st.binary(max_size=300))
def test_frames_of_noise_are_refused_or_harmless(noise: bytes) -> None:
    """Any bytes are a frame or a ``FrameError``."""
    for read in (m.read_head_frame, m.read_worker_frame):
        try:
            read(noise)
        except m.FrameError:
            continue


@pytest.mark.fuzz
@fuzz
@given(st.data())
def test_damaged_frames_are_refused_or_typed(data: st.DataObject) -> None:
    """A frame with a changed byte is a frame of the right types, or refused."""
    image = m.WireImage("raw", "a.jpg", 10, "etag", 1)
    hello, kept = m.Hello("1", "f", "p", "h", 1, "n", 1.0, 0.0), m.Kept(1, image, b"\0")
    sent: list[m.WorkerMessage] = [hello, kept, m.Failed(3, 0.1, m.Fault("x", "y"))]
    frame = bytearray(m.worker_frame("session", [m.encode(message) for message in sent]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = m.read_worker_frame(bytes(frame))
    except m.FrameError:
        return
    assert all(isinstance(message, m.WorkerMessage) for message in read.messages)


def test_frame_that_is_too_large_is_refused() -> None:
    """No frame is larger than 90 KB, and what is waiting is divided."""
    with pytest.raises(m.FrameError):
        m.read_worker_frame(bytes(m.FRAME_BYTES + 1))
    waiting = [m.encode(m.Answered(number, 0.0, number, bytes(30_000))) for number in range(5)]
    frames = []
    while waiting:
        frames.append(m.worker_frame("s", m.take_fitting(waiting)))
    assert len(frames) == 3
    assert all(len(frame) <= m.FRAME_BYTES for frame in frames)
    with pytest.raises(m.FrameError):
        m.encode(m.Answered(1, 0.0, 1, bytes(m.FRAME_BYTES)))


@pytest.mark.parametrize(
    "error",
    [
        errors.ThrottledError("slow", cause=errors.ThrottleCause.RAMP, may_be_done=True, retry_after_s=2.0),
        errors.TransientError("reset", may_be_billed=True, retry_after_s=1.0, hint="Wait."),
        errors.TransientError("refused", may_be_billed=False),
        errors.ImageError("no image", code="invalid_image_format", remedy="Look.", access=True),
        errors.PermissionDeniedError("denied", hint="Allow it."),
        errors.CredentialsError("expired"),
        errors.NotSentError("late"),
    ],
)
def test_errors_survive(error: errors.AsyncFilterError) -> None:
    """An error is of the same class, with the same fields."""
    body = m.encode(m.Failed(1, 0.0, fault_of(error)))
    (read,) = m.read_worker_frame(m.worker_frame("s", [body])).messages
    assert isinstance(read, m.Failed)
    found = error_of(read.fault)
    assert type(found) is type(error)
    assert vars(found) == vars(error)


def test_unknown_error_may_be_billed() -> None:
    """What nobody knows is repeated, and counts as paid."""
    for fault in (fault_of(RuntimeError("x" * 9000)), m.Fault("new", "?"), m.Fault("throttled", "?", code="new")):
        found = error_of(fault)
        assert isinstance(found, errors.TransientError)
        assert found.may_be_billed


def test_dead_decoder_is_a_lost_try() -> None:
    """In a fleet, an image whose decoder died has lost a try; nothing was billed."""
    found = error_of(fault_of(errors.ImageError("it died", code="decoder_died")))
    assert isinstance(found, errors.LostError)
    assert (found.was_alone, found.may_be_billed, found.is_final) == (True, False, False)


def test_image_survives() -> None:
    """An object is the same after the way, whatever its key."""
    image = ObjectRef(bucket="raw", key="ä/🦆\n.jpg", size_bytes=1 << 40, etag="", seq=7)
    assert m.WireImage.of(image).image() == image
