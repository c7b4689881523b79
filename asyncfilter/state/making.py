"""The objects of a commit: a segment from a cut, a snapshot in the background, several segments joined into few."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.changes import Counted
from asyncfilter.checkpoint.errors import CorruptRowError, translated
from asyncfilter.checkpoint.shipping import Cut, ImageCount
from asyncfilter.checkpoint.state import TOTALS, read_state
from asyncfilter.records.progress import Totals
from asyncfilter.state.fetching import fetch_segment
from asyncfilter.state.head import MOST_SEGMENT_BYTES, Segment, Snapshot, damaged
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.segments import (
    Changes,
    Packed,
    Reserved,
    SegmentTooLargeError,
    counted_in,
    pack,
    read_changes,
    unpack,
    with_reserved,
)
from asyncfilter.state.snapshots import SnapshotFile, remove, write_snapshot

SNAPSHOT_BYTES = 64 << 20
"""Segments above this size, and above a quarter of the snapshot, are replaced by a new snapshot."""

JOIN_AT = 1000
"""At this many segments they are joined."""

KEEP_NEWEST = 100
"""The newest segments, which are not joined."""


class CutRead(NamedTuple):
    """What a cut holds.

    Attributes:
        packed: The segment; None when only a snapshot can hold it.
        rows: Rows in the segment.
        images: Rows of images after it.
        sums: As of the cut, with everything as reserved that may be spent until the next commit.
        file_format: Of the file.
    """

    packed: Packed | None
    rows: int
    images: ImageCount
    sums: Totals
    file_format: int

    @property
    def counted(self) -> Counted:
        """What counts as spent once it is restored."""
        return counted_in(self.sums)


def read_cut(cut: Cut, images: ImageCount | None, reserved: Reserved | None, *, fits: bool, path: Path) -> CutRead:
    """Read a cut, on a thread of its own.

    Args:
        cut: Stays open.
        images: The count before it; None to count all.
        reserved: As for ``segments.read_changes``.
        fits: False when only a snapshot can hold the cut.
        path: The file, for messages.
    """
    reader = cut.reader
    with translated(path):
        packed, rows = None, 0
        if fits:
            try:
                changes = read_changes(reader, reserved)
                packed, rows = pack([changes]), changes.rows
            except SegmentTooLargeError:
                packed = None
        totals = read_state(reader, TOTALS, Totals) or Totals()
        (version,) = reader.execute("PRAGMA user_version").fetchone()
        count = ImageCount.of(reader) if images is None else images.after(reader)
        sums = totals if reserved is None else with_reserved(totals, reserved)
        return CutRead(packed, rows, count, sums, version)


async def ship_segment(owner: StateOwner, packed: Packed, commit: int, rows: int, *, random: str = "") -> Segment:
    """Write a segment; it counts only once a head names it."""
    place = owner.place.new_segment(owner.head.state_id, commit, random=random)
    sha256 = await owner.put_new(place, packed.body)
    return Segment(
        key=place.key, bytes=len(packed.body), sha256=sha256, rows=rows, inflated_bytes=packed.inflated_bytes
    )


async def ship_snapshot(
    owner: StateOwner, cut: Cut, commit: int, reserved: Reserved | None, checkpoint: Path
) -> Snapshot:
    """Write a snapshot of a cut, which is closed; it counts only once a head names it."""
    path = checkpoint.with_name(f".{checkpoint.name}.snapshot.zz")
    try:
        file = await _written(cut, path, reserved)
        place = owner.place.new_snapshot(owner.head.state_id, commit, random=cut.name)
        await owner.put_file(place, path, file.sha256, file.size_bytes)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(remove, path)
    return Snapshot(
        key=place.key,
        bytes=file.size_bytes,
        sha256=file.sha256.hex(),
        commit=commit,
        inflated_bytes=file.inflated_bytes,
    )


async def _written(cut: Cut, path: Path, reserved: Reserved | None) -> SnapshotFile:
    def work() -> SnapshotFile:
        with translated(path), closing(cut.reader):
            return write_snapshot(cut.reader, path, reserved)

    return await to_thread.run_sync(work)


def needs_snapshot(snapshot: Snapshot, segments: Sequence[Segment]) -> bool:
    """Whether the segments are so large that a new snapshot is worth its bytes."""
    size_bytes = sum(segment.bytes for segment in segments)
    return size_bytes > SNAPSHOT_BYTES and 4 * size_bytes > snapshot.bytes


async def join(owner: StateOwner, segments: Sequence[Segment]) -> list[Segment]:
    """Join segments in a row into as few as their bound allows; each is written under the commit of its last one."""
    joined: list[Segment] = []
    some: list[Segment] = []
    for segment in segments:
        if some and sum(one.inflated_bytes for one in some) + segment.inflated_bytes > MOST_SEGMENT_BYTES // 2:
            joined.append(await _join(owner, some))
            some = []
        some.append(segment)
    return [*joined, await _join(owner, some)] if some else joined


async def _join(owner: StateOwner, segments: Sequence[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    changes: list[Changes] = []
    for segment in segments:
        body = await fetch_segment(owner.store, owner.place, segment)
        try:
            changes += await to_thread.run_sync(unpack, body, segment.inflated_bytes)
        except CorruptRowError as exc:
            raise damaged(owner.place, segment.key, str(exc)) from exc
    packed = await to_thread.run_sync(pack, changes)
    last = owner.place.parse(segments[-1].key)
    assert last is not None  # noqa: S101  a head that names it was checked
    return await ship_segment(owner, packed, last.commit, sum(segment.rows for segment in segments))
