"""Reading of a state's objects: each is compared with its entry in the head before any of it is inflated.

The sizes in the head bound everything that is held in memory or written to disk, whatever an object contains.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, NamedTuple

from anyio import to_thread

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.lock import PRIVATE_MODE
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import StateStore, StoredInfo
from asyncfilter.state.head import MOST_HEAD_BYTES, Head, Segment, Snapshot, damaged, decode_head
from asyncfilter.state.names import StatePlace

_PIECE_BYTES = 1 << 20
_OTHER_BYTES = "its bytes are not those on record (SHA-256)"


class SeenHead(NamedTuple):
    """A head as it was read, and the ETag that it had."""

    head: Head
    etag: str


async def read_head(store: StateStore, place: StatePlace) -> SeenHead | None:
    """The head of a state; None when there is none.

    Raises:
        CheckpointError: What is there is no head of this state, or a newer one.
    """
    found = await store.get(place.head, most_bytes=MOST_HEAD_BYTES)
    return None if found is None else SeenHead(decode_head(found.body, place), found.etag)


async def look_at(store: StateStore, place: StatePlace, named: Snapshot | Segment) -> StoredInfo:
    """The object that a head names, when it is there with the size that the head gives.

    Raises:
        CheckpointUnreadableError: It is not.
    """
    info = await store.head(S3Location(place.bucket, named.key))
    if info is None:
        raise damaged(place, named.key, "the object is missing")
    if info.size_bytes != named.bytes:
        raise damaged(place, named.key, f"it has {info.size_bytes:,} bytes, and {named.bytes:,} are on record")
    return info


async def fetch_snapshot(store: StateStore, place: StatePlace, snapshot: Snapshot, into: Path) -> None:
    """Write the file of a snapshot to ``into``, which does not exist.

    Raises:
        CheckpointUnreadableError: The object is missing, or not what is on record.
        ObjectChangedError: It was replaced meanwhile.
        CheckpointError: The file cannot be written.
    """
    packed = into.with_name(into.name + ".zz")
    try:
        await _download(store, place, snapshot, packed)
        with translated(into):
            await to_thread.run_sync(_inflate_file, place, snapshot, packed, into)
    finally:
        packed.unlink(missing_ok=True)


async def fetch_segment(store: StateStore, place: StatePlace, segment: Segment) -> bytes:
    """The bytes of the object of a segment, still compressed.

    Raises:
        CheckpointUnreadableError: The object is missing, or not what is on record.
    """
    found = await store.get(S3Location(place.bucket, segment.key), most_bytes=segment.bytes + 1)
    if found is None:
        raise damaged(place, segment.key, "the object is missing")
    if len(found.body) != segment.bytes:
        more = "more" if len(found.body) > segment.bytes else "fewer"
        raise damaged(place, segment.key, f"it has {more} bytes than the {segment.bytes:,} on record")
    if hashlib.sha256(found.body).hexdigest() != segment.sha256:
        raise damaged(place, segment.key, _OTHER_BYTES)
    return found.body


async def is_same(store: StateStore, place: StatePlace, named: Snapshot | Segment) -> bool:
    """Whether the bytes of a named object have the SHA-256 on record.

    Raises:
        CheckpointUnreadableError: It is missing, or of another size.
        ObjectChangedError: It was replaced meanwhile.
    """
    info = await look_at(store, place, named)
    digest = hashlib.sha256()
    async with aclosing(store.pieces(info)) as pieces:
        async for piece in pieces:
            await to_thread.run_sync(digest.update, piece)
    return digest.hexdigest() == named.sha256


async def _download(store: StateStore, place: StatePlace, named: Snapshot, path: Path) -> None:
    info = await look_at(store, place, named)
    digest = hashlib.sha256()
    with translated(path), _new_file(path) as file:
        async with aclosing(store.pieces(info)) as pieces:
            async for piece in pieces:
                await to_thread.run_sync(digest.update, piece)
                await to_thread.run_sync(file.write, piece)
    if digest.hexdigest() != named.sha256:
        raise damaged(place, named.key, _OTHER_BYTES)


def _new_file(path: Path) -> BinaryIO:
    # No planted link is followed, and no other user reads it.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, PRIVATE_MODE), "wb")


def _inflate_file(place: StatePlace, snapshot: Snapshot, packed: Path, into: Path) -> None:
    inflater = zlib.decompressobj()
    left = snapshot.inflated_bytes
    with packed.open("rb") as source, _new_file(into) as file:
        try:
            while True:
                piece = inflater.unconsumed_tail or source.read(_PIECE_BYTES)
                # One byte more than may come shows that there is more.
                out = inflater.decompress(piece, min(_PIECE_BYTES, left + 1))
                left -= len(out)
                # Without a piece there may still be some that the inflater holds.
                if left < 0 or inflater.unused_data or not (piece or out):
                    break
                file.write(out)
        except zlib.error as exc:
            raise damaged(place, snapshot.key, f"it cannot be inflated ({exc})") from exc
        file.flush()
        os.fsync(file.fileno())
    if left or not inflater.eof or inflater.unused_data:
        raise damaged(place, snapshot.key, f"it does not inflate to the {snapshot.inflated_bytes:,} bytes on record")
