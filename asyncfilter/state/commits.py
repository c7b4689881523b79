"""The commits of one owner of a state: what is cut from the file, written, and named by the next head.

One at a time. A cut that only a snapshot can hold blocks: until the snapshot is named, heads are rewritten without
rows, nothing counts as committed, and no more money is granted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.shipping import Cut, ImageCount
from asyncfilter.checkpoint.store import ShippingOnThread
from asyncfilter.clock import Clock
from asyncfilter.errors import AsyncFilterError, StoreError
from asyncfilter.ports.keeping import Grant, Grants
from asyncfilter.state.beside import Cleaning, Names
from asyncfilter.state.head import Head, Segment, Snapshot
from asyncfilter.state.making import (
    JOIN_AT,
    KEEP_NEWEST,
    CutRead,
    join,
    needs_snapshot,
    read_cut,
    ship_segment,
    ship_snapshot,
)
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.segments import MOST_ROWS, Reserved
from asyncfilter.state.tenure import CommitPace

_ROW_BYTES = 260
"""Bytes that a row of an image takes in a segment, about."""

Work = Callable[[], Awaitable[None]]


class Committed(NamedTuple):
    """One commit: its number, the changed rows in it, the bytes that were sent for it, and its time."""

    commit: int
    rows: int
    bytes: int
    wall_s: float


class Commits:
    """Commits a file to a state.

    Args:
        owner: Of the state.
        file: The changes of the file.
        path: The file.
        clock: Sleeps.
        notify: Called when something has changed that tasks wait for.
        start: Runs work beside the commits.

    Attributes:
        grants: What the run may spend; None while nothing is paid.
        cleaning: Deletes what no head names.
        begun: Commits that have begun.
        done: The last of these that has everything of before.
    """

    def __init__(
        self,
        owner: StateOwner,
        file: ShippingOnThread,
        path: Path,
        *,
        clock: Clock,
        notify: Callable[[], None],
        start: Callable[[Work], None],
    ) -> None:
        self.grants: Grants | None = None
        self.cleaning = Cleaning(owner, clock)
        self.begun = self.done = 0
        self._owner, self._file, self._path = owner, file, path
        self._notify, self._start = notify, start
        self._images: ImageCount | None = None
        self._pace = CommitPace(owner.now_s())
        self._is_wanted = False
        # A process that restores the state counts granted money as spent: at the end it is given back, once.
        self._gives_back = False
        self._committing = anyio.Lock()
        self._blocking: Names | None = None
        self._made: Names | None = None
        self._is_making = self._is_too_large = False

    @property
    def is_blocked(self) -> bool:
        """Whether a snapshot has to be named first that is not made yet."""
        return self._blocking is not None and self._made is None

    def use(self, grants: Grants) -> None:
        """Commit grants of this money from now on, in place of another's."""
        self.grants, self._gives_back = grants, False

    def give_back(self, *, is_granting: bool) -> None:
        """Grant no more; where commits have granted, the next one takes back what is left."""
        is_granted = self._owner.head.granted_micros > self._owner.head.spent_micros
        self.grants, self._gives_back = None, is_granting and (is_granted or self._gives_back)

    def want(self) -> None:
        """Begin the next commit at once."""
        self._is_wanted = True

    def look_at_grants(self) -> None:
        """Begin the next commit before money runs out."""
        if self.grants is not None and self._blocking is None and self.grants.is_low:
            self._is_wanted = True

    def left_s(self) -> float:
        """Seconds until the next commit begins; 0 when it is due."""
        # While a snapshot is made that has to be named first, heads are rewritten as a heartbeat alone.
        waiting_bytes = 0 if self.is_blocked else self._file.changed_rows * _ROW_BYTES
        is_wanted = self._is_wanted and not self.is_blocked
        return self._pace.left_s(self._owner.now_s(), waiting_bytes=waiting_bytes, is_wanted=is_wanted)

    async def is_behind(self) -> bool:
        """Whether there is something that no commit has, money to be given back among it."""
        return self._blocking is not None or self._gives_back or await self._file.has_new()

    # -- One commit ----------------------------------------------------------------------------------------------------

    async def commit(self, *, lets_go: bool = False) -> Committed:
        """Make one commit; with ``lets_go`` the state has no owner after it.

        Raises:
            StateLostError: Another process owns the state.
            AsyncFilterError: File or state cannot be used.
        """
        async with self._committing:
            return await self._commit(lets_go=lets_go)

    async def _commit(self, *, lets_go: bool) -> Committed:
        began_s = self._owner.now_s()
        self._pace.begun(began_s)
        self._is_wanted = False
        self.begun += 1
        number, sent = self.begun, self._owner.bytes_sent
        changes: dict[str, Any] = {"owner": None} if lets_go else {}
        made, self._made = self._made, None
        if made is not None:
            changes["snapshot"], changes["segments"] = made.apply(self._owner.head, self._owner.place)
        grant, read = await self._cut(changes, made)
        replaced = self._owner.head.named_keys
        head = await self._rewrite(changes, made)
        self.cleaning.forget(replaced - head.named_keys)
        await self._count(number, grant, read, made)
        self._maintain(head)
        await self.cleaning.delete_due()
        rows = 0 if read is None else read.rows
        return Committed(head.commit, rows, self._owner.bytes_sent - sent, self._owner.now_s() - began_s)

    async def _rewrite(self, changes: dict[str, Any], made: Names | None) -> Head:
        try:
            return await self._owner.rewrite(**changes)
        except BaseException:
            if made is not None:
                self._offer(made)
            raise

    async def _cut(self, changes: dict[str, Any], made: Names | None) -> tuple[Grant | None, CutRead | None]:
        """Cut what changed, and write it, as far as a segment can hold it; fields of the next head are added."""
        if self._blocking is not None:
            if made is not self._blocking or made.read is None:
                return None, None
            self._describe(changes, made.read, made.grant)
            return made.grant, made.read
        grant = self._proposed()
        is_granted = grant.micros == self._owner.head.granted_micros if grant is not None else not self._gives_back
        if is_granted and not await self._file.has_new():
            return grant, None
        cut = await self._file.cut(None)
        handed_on = False
        try:
            reserved = Reserved(0, 0) if grant is None else Reserved(grant.micros, grant.price_micros)
            fits = not cut.is_whole and cut.rows <= MOST_ROWS and self._owner.head.snapshot is not None
            read = await to_thread.run_sync(partial(read_cut, cut, self._images, reserved, fits=fits, path=self._path))
            commit = self._owner.head.commit + 1
            if read.packed is None:
                self._block(cut, read, grant, reserved, commit)
                handed_on = True
                return None, None
            segment = await ship_segment(self._owner, read.packed, commit, read.rows, random=cut.name)
            changes["segments"] = [*changes.get("segments", self._owner.head.segments), segment]
            self._describe(changes, read, grant)
            if self._is_worth_a_snapshot(changes):
                self._make(partial(self._snapshot, Names(), cut, reserved, commit))
                handed_on = True
            return grant, read
        finally:
            if not handed_on:
                cut.reader.close()

    def _is_worth_a_snapshot(self, changes: dict[str, Any]) -> bool:
        """Whether the segments of the next head are so large that a new snapshot should be made now."""
        snapshot: Snapshot | None = changes.get("snapshot", self._owner.head.snapshot)
        if snapshot is None or self._is_too_large or not self._is_idle:
            return False
        return needs_snapshot(snapshot, changes["segments"])

    def _proposed(self) -> Grant | None:
        return None if self.grants is None else self.grants.propose()

    def _describe(self, changes: dict[str, Any], read: CutRead, grant: Grant | None) -> None:
        changes["rows"] = read.images.rows
        changes["spent_micros"] = read.sums.spent_micros
        changes["granted_micros"] = read.counted.micros if grant is None else grant.micros
        changes["file_format"] = read.file_format

    async def _count(self, number: int, grant: Grant | None, read: CutRead | None, made: Names | None) -> None:
        """A head was rewritten: forget what it names, and wake the tasks that waited for it."""
        commit = self._owner.head.commit
        if self._blocking is not None:
            if made is not self._blocking:
                return
            # What was written since is in the next commit, for which a task may wait already.
            self._blocking, number, self._is_wanted = None, made.number, True
        if read is not None:
            self._images = read.images
            # With grants nothing is ever spent beyond what a commit counts.
            await self._file.confirm(commit, read.counted if grant is None else None)
        if grant is not None and self.grants is not None:
            self.grants.granted(grant)
        elif read is not None and grant is None:
            self._gives_back = False
        self.done = number
        self._notify()

    # -- Beside the commits --------------------------------------------------------------------------------------------

    def _block(self, cut: Cut, read: CutRead, grant: Grant | None, reserved: Reserved | None, commit: int) -> None:
        names = Names()
        names.is_blocking, names.grant, names.read, names.number = True, grant, read, self.begun
        self._blocking = names
        self._make(partial(self._snapshot, names, cut, reserved, commit))

    async def _snapshot(self, names: Names, cut: Cut, reserved: Reserved | None, commit: int) -> None:
        try:
            names.snapshot = await ship_snapshot(self._owner, cut, commit, reserved, self._path)
        except AsyncFilterError as error:
            if names is self._blocking:
                # The next commit cuts anew, and needs a snapshot again.
                await self._file.note_whole()
                self._blocking = None
            elif isinstance(error, StoreError):
                # The store takes none of this size: segments go on, joined now and then.
                self._is_too_large = True
                return
            raise
        self._offer(names)
        self._is_wanted = True
        self._notify()

    async def _join(self, names: Names, segments: list[Segment]) -> None:
        names.joined = await join(self._owner, segments)
        names.replaced = [segment.key for segment in segments]
        self._offer(names)

    def _offer(self, names: Names) -> None:
        """Have the next head name it; one that nothing waits for is dropped."""
        if self._made is None or names.is_blocking:
            self._made = names

    def _maintain(self, head: Head) -> None:
        if self._is_idle and len(head.segments) >= JOIN_AT:
            self._make(partial(self._join, Names(), head.segments[:-KEEP_NEWEST]))

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is made beside the commits, or was made and is not named yet."""
        return not self._is_making and self._made is None

    def _make(self, work: Work) -> None:
        """Do ``work`` beside the commits, one at a time."""
        self._is_making = True

        async def made() -> None:
            try:
                await work()
            finally:
                self._is_making = False

        self._start(made)
