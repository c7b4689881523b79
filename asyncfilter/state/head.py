"""``head.json``: the one object of a state that is ever rewritten, and the only one that defines what counts.

Anyone with write access to the bucket may have written it. So it is checked against types with bounds before any of it
is used: its size, its format, every number, and that every object that it names is one of this state, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import msgspec

from asyncfilter.errors import CheckpointError, CheckpointUnreadableError, CheckpointVersionError
from asyncfilter.job.fingerprint import changed_settings
from asyncfilter.model import uri_of
from asyncfilter.state.names import STATE_ID, ObjectKind, StateKind, StatePlace

FORMAT = 1
"""The newest format of heads, segments and snapshots that is read, and the one that is written."""

MOST_HEAD_BYTES = 1_000_000
"""A head is smaller than this."""

MOST_SEGMENTS = 2_000
"""Most segments that a head may name; writers join them at 1,000."""

MOST_SEGMENT_BYTES = 64 << 20
"""Most bytes of a segment, before and after inflating: it is inflated in memory."""

MOST_SNAPSHOT_BYTES = 1 << 42
"""Most bytes of a snapshot after inflating, 4 TB: it is inflated into a file."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
_Id = Annotated[str, msgspec.Meta(pattern=f"^{STATE_ID}$")]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
_ShortText = Annotated[str, msgspec.Meta(max_length=256)]
_SegmentBytes = Annotated[int, msgspec.Meta(ge=1, le=MOST_SEGMENT_BYTES)]
_SnapshotBytes = Annotated[int, msgspec.Meta(ge=1, le=MOST_SNAPSHOT_BYTES)]


class OwnerProcess(msgspec.Struct, frozen=True, kw_only=True):
    """The process that owns a state; ``custom_labels.processes`` finds out whether it is running.

    Attributes:
        host: Name of its host.
        boot_id: The boot of the host.
        pid_namespace: The space of process numbers.
        pid: Its number.
        started: When it started, as its system counts it; only compared.
        run_id: Of its run; empty for a command that is no run.
        since: When it took the state, UTC.
    """

    host: _ShortText
    boot_id: _ShortText
    pid_namespace: _ShortText
    pid: _Count
    started: _ShortText
    run_id: _ShortText
    since: _ShortText

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A whole SQLite file, compressed by zlib.

    Attributes:
        key: Of its object.
        bytes: Size of the object.
        sha256: Of the bytes of the object, hexadecimal.
        commit: The last commit that is in it.
        inflated_bytes: Size of the file.
    """

    key: _Key
    bytes: _SnapshotBytes
    sha256: _Sha256
    commit: _Count
    inflated_bytes: _SnapshotBytes


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one commit, or of several that were joined, compressed by zlib.

    Attributes:
        key: Of its object.
        bytes: Size of the object.
        sha256: Of the bytes of the object, hexadecimal.
        rows: Rows that are in it.
        inflated_bytes: Size after inflating.
    """

    key: _Key
    bytes: _SegmentBytes
    sha256: _Sha256
    rows: _Count
    inflated_bytes: _SegmentBytes


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a state is; the fields of ``head.json``.

    Attributes:
        format: Of heads, segments and snapshots.
        state_id: Random; another one is another state, whatever its name.
        name: Of the job.
        identity: Source and detector settings that the state is bound to, as in a checkpoint; for an answers file, its
            id.
        file_format: Of the SQLite file.
        epoch: Rises with every taking of ownership.
        commit: Rises by one with every rewrite.
        owner: Who owns it; None when it was let go.
        snapshot: The file that segments are added to; None before the first.
        segments: In the order in which they are added.
        rows: Rows of images (of answers) that are in it.
        spent_micros: Spent as of this commit, micro-dollars.
        granted_micros: What may be spent before the next commit, as a total like ``spent_micros``.
        written: When, UTC; for people, never compared.
        nonce: Random with every rewrite: identifies an own rewrite whose response was lost.
    """

    format: _Count = FORMAT
    state_id: _Id
    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,64}$")]
    identity: dict[str, str]
    file_format: _Count
    epoch: _Count
    commit: _Count
    owner: OwnerProcess | None
    snapshot: Snapshot | None
    segments: Annotated[list[Segment], msgspec.Meta(max_length=MOST_SEGMENTS)]
    rows: _Count
    spent_micros: _Count
    granted_micros: _Count
    written: _ShortText
    nonce: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

    @property
    def named_keys(self) -> set[str]:
        """The keys of all objects that the head names."""
        return {one.key for one in self.objects}

    @property
    def objects(self) -> list[Snapshot | Segment]:
        """All objects that the head names, in the order of restoring."""
        return [*([self.snapshot] if self.snapshot is not None else []), *self.segments]

    @property
    def segment_bytes(self) -> int:
        """Size of all segments in S3."""
        return sum(one.bytes for one in self.segments)


class _AnyHead(msgspec.Struct):
    format: _Count


_ANY_HEAD = msgspec.json.Decoder(_AnyHead)
_HEAD = msgspec.json.Decoder(Head)


def encode_head(head: Head) -> bytes:
    """The bytes of ``head.json``.

    Raises:
        CheckpointError: They reach the bound, as with a very long prefix.
    """
    body = msgspec.json.encode(head)
    if len(body) >= MOST_HEAD_BYTES:
        raise CheckpointError(
            f"The head of the state of {head.name!r} would have {len(body):,} bytes, more than a state may",
            hint="Use a shorter prefix for `checkpoint:` or `checkpoint_copy:`.",
        )
    return body


def decode_head(body: bytes, place: StatePlace) -> Head:
    """The head in the bytes of an object.

    Args:
        body: The object; at most ``MOST_HEAD_BYTES`` of it need to be read.
        place: The state that it is the head of.

    Raises:
        CheckpointVersionError: A newer asyncfilter wrote it.
        CheckpointUnreadableError: It is no JSON, not ours, or not of this state.
    """
    if len(body) >= MOST_HEAD_BYTES:
        raise foreign(place, f"it has {len(body):,} bytes or more, and a head has less than {MOST_HEAD_BYTES:,}")
    try:
        version = _ANY_HEAD.decode(body).format
        if version > FORMAT:
            raise _newer(place, f"format {version}; this one reads up to {FORMAT}")
        if version < FORMAT:
            raise foreign(place, f"no format {version} was ever written")
        head = _HEAD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise foreign(place, str(exc)) from exc
    if wrong := _wrong(head, place):
        raise foreign(place, wrong)
    return head


def check_file_format(head: Head, place: StatePlace, newest: int) -> None:
    """Check that this asyncfilter reads the SQLite file of a state.

    Raises:
        CheckpointVersionError: A newer one wrote it.
    """
    if head.file_format > newest:
        what = "checkpoint" if place.kind is StateKind.CHECKPOINT else "answers file"
        raise _newer(place, f"{what} of format {head.file_format}; this one reads up to {newest}")


def differing_identity(head: Head, wanted: Mapping[str, str]) -> list[str]:
    """The settings, in words, in which a state is of another source or detector; empty when in none."""
    return [
        f"{key}: {head.identity.get(key, '(not set)')!r} in the state, {wanted.get(key, '(not set)')!r} in the job"
        for key in changed_settings(head.identity, wanted)
    ]


def foreign(place: StatePlace, why: str) -> CheckpointUnreadableError:
    """The error for a head that asyncfilter did not write, or not for this state."""
    return CheckpointUnreadableError(
        f"{place.head.uri}: not the head of a state of asyncfilter: {why}; it was left as it is",
        hint="Set `checkpoint:` or `checkpoint_copy:` to another prefix, or find out who wrote the object.",
    )


def damaged(place: StatePlace, key: str, why: str) -> CheckpointUnreadableError:
    """The error for an object that the head names and that cannot be used."""
    return CheckpointUnreadableError(
        f"{uri_of(place.bucket, key)}: {why}; the state {place.uri} cannot be used without it, and was left as it is",
        hint="Restore that object (a version of it, where the bucket keeps versions), or `asyncfilter state push` "
        "a file that is whole to another prefix.",
    )


def _newer(place: StatePlace, what: str) -> CheckpointVersionError:
    return CheckpointVersionError(
        f"{place.uri}: written by a newer asyncfilter ({what}); it was left as it is",
        hint="Install that version of asyncfilter, or set `checkpoint:` to another prefix.",
    )


def _wrong(head: Head, place: StatePlace) -> str:
    """What of a head contradicts itself or its place; empty when nothing does."""
    if head.name != place.name:
        return f"it is of the job {head.name!r}"
    commits = [-1]
    if head.snapshot is not None:
        found = place.parse(head.snapshot.key)
        if found is None or found != (ObjectKind.SNAPSHOT, head.state_id, head.snapshot.commit):
            return f"it names {head.snapshot.key!r} as its snapshot of commit {head.snapshot.commit}"
        commits.append(found.commit)
    for segment in head.segments:
        found = place.parse(segment.key)
        if found is None or found[:2] != (ObjectKind.SEGMENT, head.state_id):
            return f"it names {segment.key!r} as a segment"
        commits.append(found.commit)
    if head.segments and head.snapshot is None:
        return "it names segments, and no snapshot to add them to"
    if any(former >= later for former, later in pairwise(commits)) or commits[-1] > head.commit:
        return f"its objects are not in the order of their commits, or beyond commit {head.commit}"
    return ""
