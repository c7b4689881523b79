"""What head and workers send each other: frames of messages in msgpack, typed, and bounded before they are used.

Nothing is pickled. A frame that does not fit its types and bounds is a ``FrameError``: the sender is then taken for
lost, and nothing of the frame is used.

Times are those of the head's clock, in seconds; a worker compares them by ``transit.Transit``.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from asyncfilter.model import Box, Detection, Instance, Label, ObjectRef

FRAME_BYTES = 90_000
"""Most bytes of a frame: Ray puts a larger result into its object store, which is slower."""

MOST_LABELS = 1000
"""Most labels of an image; DetectLabels never sends more."""

_FRAME_ROOM_BYTES = FRAME_BYTES - 500
"""Room for the messages of a frame, beside what its head takes."""

_PACKED_ABOVE_BYTES = 16_384
"""A larger answer is compressed: a thousand labels with their parents do not fit into a frame otherwise."""

_UNPACKED_BYTES = 4_000_000
"""Most bytes of an answer before compression."""

ANSWER_BYTES = FRAME_BYTES - 6_000
"""Most bytes of an answer: it must fit into a frame, beside the longest key."""

_MOST_MESSAGES = 20_000

Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Word = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=4_000)]
Key = Annotated[str, Meta(max_length=4_200)]
Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]
Percent = Annotated[float, Meta(ge=0.0, le=100.0)]
Share = Annotated[float, Meta(ge=-100.0, le=100.0)]
Name = Annotated[str, Meta(max_length=1_000)]
Names = Annotated[list[Name], Meta(max_length=200)]
Counts = Annotated[list[Count], Meta(max_length=_MOST_MESSAGES)]


class FrameError(ValueError):
    """A frame is not what its type says, or exceeds a bound."""


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One message; as an array whose first item is its number."""


class WireImage(Message, frozen=True):
    """An object to examine."""

    bucket: Key
    key: Key
    size_bytes: Count
    etag: Text
    seq: Count

    @classmethod
    def of(cls, image: ObjectRef) -> WireImage:
        """As it travels."""
        return cls(image.bucket, image.key, image.size_bytes, image.etag, image.seq)

    def image(self) -> ObjectRef:
        """As the engine has it."""
        return ObjectRef(bucket=self.bucket, key=self.key, size_bytes=self.size_bytes, etag=self.etag, seq=self.seq)


class Fault(Message, frozen=True):
    """Why an attempt failed; see ``faults``."""

    kind: Word
    message: Text
    code: Word = ""
    hint: Text | None = None
    is_billed: bool = False
    is_done: bool = False
    is_access: bool = False
    retry_after_s: Annotated[float, Meta(ge=0.0, le=1e6)] | None = None


# -- From the head -----------------------------------------------------------------------------------------------------


class Greet(Message, frozen=True, tag=1):
    """The first message of a session: who asks; ``head`` differs after every start of it."""

    version: Word
    fingerprint: Word
    head: Word = ""


class Examine(Message, frozen=True, tag=2):
    """Make one paid attempt, by a turn that was given at ``turn_s``, at a lane where there are lanes."""

    id: Count
    image: WireImage
    turn_s: Seconds
    lane: Word = ""


class Prepare(Message, frozen=True, tag=3):
    """Prepare an image, at no cost, and hold it under this id where it must be sent or was read."""

    id: Count
    image: WireImage


class Send(Message, frozen=True, tag=4):
    """Make one paid attempt at the image that is held under the id ``held``."""

    id: Count
    held: Count
    turn_s: Seconds
    lane: Word = ""


class LetGo(Message, frozen=True, tag=5):
    """Drop images that are held."""

    held: Counts


class Durable(Message, frozen=True, tag=6):
    """Answers that are durable, by their numbers: they need not be kept any more."""

    numbers: Counts


class Bye(Message, frozen=True, tag=7):
    """The run is over: the worker ends."""


HeadMessage = Greet | Examine | Prepare | Send | LetGo | Durable | Bye


class HeadFrame(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Messages of one head; a frame without messages says that it lives."""

    session: Word
    epoch: Count
    sent_s: Seconds
    messages: Annotated[list[HeadMessage], Meta(max_length=_MOST_MESSAGES)]


# -- From a worker -----------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag=1):
    """Who a worker is; ``process`` differs after every start of it."""

    version: Word
    fingerprint: Word
    process: Word
    host: Word
    pid: Count
    node: Word
    cpus: Annotated[float, Meta(ge=0.0, le=1e6)]
    gpus: Annotated[float, Meta(ge=0.0, le=1e6)]
    kept: Count = 0
    under_way: Count = 0


class Refused(Message, frozen=True, tag=2):
    """The session is not obeyed: ``epoch`` is the highest that the worker has seen.

    ``is_held`` when another head of the same epoch lives, as that of a copied checkpoint does.
    """

    epoch: Count
    is_held: bool = False


class Answered(Message, frozen=True, tag=3):
    """The answer to an ask, which the worker keeps under ``number``."""

    id: Count
    late_s: Seconds
    number: Count
    answer: bytes


class Failed(Message, frozen=True, tag=4):
    """An ask failed."""

    id: Count
    late_s: Seconds
    fault: Fault


class Returned(Message, frozen=True, tag=5):
    """An ask comes back unused and unbilled."""

    id: Count
    late_s: Seconds
    why: Literal["late", "full", "leaving", "gone"]


class Ready(Message, frozen=True, tag=6):
    """An image is prepared; ``is_held`` when its attempt must be made by ``Send``."""

    id: Count
    is_held: bool


class Kept(Message, frozen=True, tag=7):
    """An answer that was given to no living session: of a former head, or of a session that was lost."""

    number: Count
    image: WireImage
    answer: bytes


class Settled(Message, frozen=True, tag=8):
    """All kept answers were sent, and nothing of a former session is under way any more."""


class Leaving(Message, frozen=True, tag=9):
    """The worker takes no further asks, ends those under way, and goes."""

    reason: Literal["spot", "sigterm", "idle", "end"]


WorkerMessage = Hello | Refused | Answered | Failed | Returned | Ready | Kept | Settled | Leaving


class WorkerFrame(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Messages of one worker; a frame without messages says that it lives."""

    session: Word
    messages: Annotated[list[WorkerMessage], Meta(max_length=_MOST_MESSAGES)]


class _Sent(msgspec.Struct, array_like=True):
    """A frame of either side, with messages that are encoded already; the head's has two more fields."""

    session: str
    messages: list[msgspec.Raw]


class _HeadSent(msgspec.Struct, array_like=True):
    session: str
    epoch: int
    sent_s: float
    messages: list[msgspec.Raw]


# -- Answers -----------------------------------------------------------------------------------------------------------


class _Box(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    pct: Percent
    left: Share
    top: Share
    width: Share
    height: Share


class _Label(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    name: Name
    pct: Percent
    boxes: Annotated[list[_Box], Meta(max_length=10_000)] = []
    parents: Names = []
    aliases: Names = []
    categories: Names = []


class _Answer(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    model_version: Word
    extra: Annotated[bytes, Meta(max_length=_UNPACKED_BYTES)]
    labels: Annotated[list[_Label], Meta(max_length=MOST_LABELS)]


_ENCODER = msgspec.msgpack.Encoder()
_ANSWER = msgspec.msgpack.Decoder(_Answer)
_HEAD = msgspec.msgpack.Decoder(HeadFrame)
_WORKER = msgspec.msgpack.Decoder(WorkerFrame)
_EXTRA = msgspec.json.Decoder(dict[str, Any])
_ASCII_EXTRA = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Quicker; does not see text that is no UTF-8."""
_PLAIN, _PACKED = b"\0", b"\1"

F = TypeVar("F")


def encode_answer(detection: Detection) -> bytes:
    """A detection as bytes.

    Raises:
        FrameError: It is too large to travel.
    """
    answer = _Answer(detection.model_version, detection.extra, [_wire_label(label) for label in detection.labels])
    body = _ENCODER.encode(answer)
    body = _PLAIN + body if len(body) <= _PACKED_ABOVE_BYTES else _PACKED + zlib.compress(body, 1)
    if len(body) > ANSWER_BYTES or len(detection.labels) > MOST_LABELS:
        raise FrameError(f"an answer of {len(body):,} bytes and {len(detection.labels):,} labels is too large")
    return body


def decode_answer(body: bytes) -> Detection:
    """The detection that ``encode_answer`` was given.

    Raises:
        FrameError: It is something else, or too large.
    """
    answer = _checked(_ANSWER, _unpacked(body))
    if answer.extra:  # what the head records is added to it, and it is exported as it is
        _checked(_ASCII_EXTRA if answer.extra.isascii() else _EXTRA, answer.extra)
    return Detection(
        labels=tuple(_label(label) for label in answer.labels), model_version=answer.model_version, extra=answer.extra
    )


def _unpacked(body: bytes) -> bytes:
    if body[:1] != _PACKED:
        return body[1:]
    inflating = zlib.decompressobj()
    try:
        whole = inflating.decompress(body[1:], _UNPACKED_BYTES)
    except zlib.error as exc:
        raise FrameError(f"an answer cannot be read: {exc}") from exc
    if not inflating.eof or inflating.unused_data:
        raise FrameError("an answer is too large, or cut short")
    return whole


def _wire_label(label: Label) -> _Label:
    boxes = [
        _Box(one.confidence_pct, one.box.left, one.box.top, one.box.width, one.box.height) for one in label.instances
    ]
    return _Label(
        label.name, label.confidence_pct, boxes, list(label.parents), list(label.aliases), list(label.categories)
    )


def _label(label: _Label) -> Label:
    return Label(
        name=label.name,
        confidence_pct=label.pct,
        instances=tuple(Instance(Box(box.left, box.top, box.width, box.height), box.pct) for box in label.boxes),
        parents=tuple(label.parents),
        aliases=tuple(label.aliases),
        categories=tuple(label.categories),
    )


# -- Frames ------------------------------------------------------------------------------------------------------------


def encode(message: HeadMessage | WorkerMessage) -> msgspec.Raw:
    """One message, ready to be put into a frame.

    Raises:
        FrameError: It does not fit into one.
    """
    raw = msgspec.Raw(_ENCODER.encode(message))
    if len(raw) > _FRAME_ROOM_BYTES:
        raise FrameError(f"a message of {len(raw):,} bytes does not fit into a frame")
    return raw


def take_fitting(waiting: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Take as many messages from the start of ``waiting`` as fit into one frame."""
    room_bytes, number = _FRAME_ROOM_BYTES, 0
    for raw in waiting[:_MOST_MESSAGES]:
        room_bytes -= len(raw)
        if room_bytes < 0:
            break
        number += 1
    taken = waiting[:number]
    del waiting[:number]
    return taken


def head_frame(session: str, epoch: int, sent_s: float, messages: list[msgspec.Raw]) -> bytes:
    """A frame of the head."""
    return _ENCODER.encode(_HeadSent(session, epoch, sent_s, messages))


def worker_frame(session: str, messages: list[msgspec.Raw]) -> bytes:
    """A frame of a worker."""
    return _ENCODER.encode(_Sent(session, messages))


def read_head_frame(frame: bytes) -> HeadFrame:
    """A frame that came from a head. Raises ``FrameError``."""
    return _checked(_HEAD, _bounded(frame))


def read_worker_frame(frame: bytes) -> WorkerFrame:
    """A frame that came from a worker. Raises ``FrameError``."""
    return _checked(_WORKER, _bounded(frame))


def _bounded(frame: bytes) -> bytes:
    if len(frame) > FRAME_BYTES:
        raise FrameError(f"a frame of {len(frame):,} bytes is too large")
    return frame


def _checked(decoder: msgspec.msgpack.Decoder[F] | msgspec.json.Decoder[F], body: bytes) -> F:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise FrameError(f"a message is not what it should be: {exc}") from exc
