"""Shipping: the file of this machine goes to its state in S3, commit by commit, as long as this process owns it.

One commit: what changed is cut from the file, the segment is written, the head is rewritten to name it. Rows are
forgotten by the log of changes only when the head names them. A snapshot, and the joining of segments, are made beside
the commits, and the next head names them. A cut that only a snapshot can hold blocks: until the snapshot is named,
heads are rewritten without rows, nothing counts as committed, and no more money is granted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from asyncfilter.checkpoint import SqliteCheckpoint
from asyncfilter.checkpoint.shipping import Cut, ImageCount
from asyncfilter.clock import Clock
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CheckpointError,
    StateAwayError,
    StateLostError,
    StoreError,
    unexpected,
)
from asyncfilter.events import Emit, Event, StateBehind, StateCommitted, StateLost, StateOwned, StateRestoredEvent
from asyncfilter.model import StateHolder, StateRestored, StateSummary
from asyncfilter.ports.keeping import Grant, Purse
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
from asyncfilter.state.restore import Restored
from asyncfilter.state.segments import MOST_ROWS, Reserved
from asyncfilter.state.taking import Taken
from asyncfilter.state.tenure import BEHIND_AFTER_S, CommitPace

_ROW_BYTES = 260
"""Bytes that a row of an image takes in a segment, before one was made."""

_WATCH_S = 0.5
_RETRY_S = 5.0
_FLUSH_S = 30.0
"""How long the end of a command waits for a copy; S3 as the truth is waited for until it counts as away."""

_CLOSE_S = 20.0


class StateShipping:
    """``KeptState``: owns a state, and ships the file of this machine to it; made by ``open_shipping``.

    Args:
        owner: The state, taken.
        checkpoint: Opened to ship, and brought up to the state.
        path: The file.
        taken: How the state was taken.
        restored: What was fetched for the file; None when it was there.
        is_truth: See ``KeptState``.
        clock: Time.
    """

    def __init__(
        self,
        owner: StateOwner,
        checkpoint: SqliteCheckpoint,
        path: Path,
        *,
        taken: Taken,
        restored: Restored | None,
        is_truth: bool,
        clock: Clock,
    ) -> None:
        if checkpoint.shipping is None:
            raise ValueError("the checkpoint was not opened to ship")
        self.is_truth = is_truth
        self.error: AsyncFilterError | None = None
        """Why the run has to end."""
        self._owner, self._file, self._path = owner, checkpoint.shipping, path
        self._taken, self._restored = taken, restored
        self._clock = clock
        self._purse: Purse | None = None
        self._images: ImageCount | None = None
        self._pace = CommitPace(owner.now_s())
        self._is_wanted = self._is_closing = False
        # Money that is granted counts as spent by whoever restores the state: at the end it is given back, once.
        self._gives_back = False
        self._committing = anyio.Lock()
        self._begun = self._done = self._rounds = 0
        self._blocking: Names | None = None
        self._made: Names | None = None
        self._tasks: TaskGroup | None = None
        self._is_making = self._is_too_large = False
        self._changed = anyio.Event()
        self._cleaning = Cleaning(owner, clock)
        self._events: list[Event] = []
        self._emit: Emit | None = self._events.append
        self._note_start()

    # -- What a run asks -----------------------------------------------------------------------------------------------

    def tell(self, emit: Emit | None) -> None:
        """See ``KeptState``."""
        early, self._events = self._events, []
        self._emit = emit
        for event in early:
            self._say(event)

    def use(self, purse: Purse) -> None:
        """See ``KeptState``."""
        self._purse, self._gives_back = purse, False
        self.hurry()

    def hurry(self) -> None:
        """See ``KeptState``."""
        self._is_wanted = True
        self._notify()

    def mark(self) -> int:
        """See ``KeptState``: a commit that has begun may have cut already."""
        return self._begun + 1

    async def wait_committed(self, mark: int) -> int:
        """See ``KeptState``."""
        while self._done < mark:
            if self.error is not None or self._is_closing:
                raise self.error or CheckpointError(f"{self._owner.place.uri}: closed before its last commit")
            await self._wait_change()
        return self._done

    def may_pay(self) -> bool:
        """See ``KeptState``; a file that is the truth is enough to pay."""
        tenure = self._owner.tenure
        return not tenure.is_lost if not self.is_truth else tenure.may_pay(self._owner.now_s())

    async def wait_may_pay(self) -> None:
        """See ``KeptState``."""
        with anyio.move_on_after(1.0):
            while not self.may_pay():
                await self._wait_change()

    async def wait_end(self) -> AsyncFilterError:
        """See ``KeptState``."""
        while self.error is None:
            await self._wait_change()
        return self.error

    async def flush(self) -> str | None:
        """See ``KeptState``."""
        self._give_back()
        deadline_s = self._owner.now_s() + _FLUSH_S
        while True:
            if self._owner.tenure.is_lost:
                return "another process owns the state"
            if isinstance(self.error, AccessError | CheckpointError):
                return self.error.message
            if not await self._is_behind():
                return None
            now_s = self._owner.now_s()
            if (now_s > deadline_s) if not self.is_truth else self._owner.tenure.is_away(now_s):
                return f"the store did not answer for {self._owner.tenure.silent_s(now_s):.0f} s"
            rounds = self._rounds
            self.hurry()
            with anyio.move_on_after(_WATCH_S):
                while self._rounds == rounds:
                    await self._wait_change()

    async def summary(self) -> StateSummary:
        """See ``KeptState``."""
        head, former = self._owner.head, self._taken.former
        return StateSummary(
            uri=self._owner.place.uri,
            mode="checkpoint" if self.is_truth else "copy",
            epoch=head.epoch,
            commit=head.commit,
            committed_rows=head.rows,
            behind_rows=await self._file.behind(),
            bytes_sent=self._owner.bytes_sent,
            restored=None if self._restored is None else _restored(self._restored),
            taken_over_from=None if former is None else StateHolder(host=former.host, pid=former.pid),
        )

    # -- The tasks -----------------------------------------------------------------------------------------------------

    async def run(self, tasks: TaskGroup) -> None:
        """Commit until ``close``; errors end up in ``error``."""
        self._tasks = tasks
        tasks.start_soon(self._watch)
        tasks.start_soon(self._cleaning.tidy)
        while not self._is_closing and not self._owner.tenure.is_lost:
            await self._wait_due()
            if not self._is_closing:
                await self._guarded(self._locked_commit)

    async def close(self) -> None:
        """Commit the last rows and let the state go, as far as that can be done in a short time."""
        self._give_back()
        self._is_closing = True
        self._notify()
        is_answering = self._owner.tenure.silent_s(self._owner.now_s()) < BEHIND_AFTER_S
        with anyio.move_on_after(_CLOSE_S if is_answering else _WATCH_S):
            while self._blocking is not None and self._made is None and self.error is None:
                await self._wait_change()
            if not self._owner.tenure.is_lost and not isinstance(self.error, AccessError):
                await self._guarded(partial(self._locked_commit, lets_go=True))

    async def _watch(self) -> None:
        """Say when S3 is behind or away, and begin a commit before money runs out."""
        told_s = 0.0
        while True:
            await self._clock.sleep(_WATCH_S)
            now_s = self._owner.now_s()
            silent_s = self._owner.tenure.silent_s(now_s)
            if silent_s > BEHIND_AFTER_S and now_s - told_s > BEHIND_AFTER_S and not self._owner.tenure.is_lost:
                told_s = now_s
                await self._say_behind(silent_s)
            if self.is_truth and self._owner.tenure.is_away(now_s):
                self._end(_away(self._owner, silent_s))
            if self._purse is not None and self._blocking is None and self._purse.is_low:
                self._is_wanted = True
            # Waiters compare clocks: what they wait for may have come with time alone.
            self._notify()

    async def _wait_due(self) -> None:
        while not self._is_closing:
            # While a snapshot is made that has to be named first, heads are rewritten as a heartbeat alone.
            is_blocked = self._blocking is not None and self._made is None
            left_s = self._pace.left_s(
                self._owner.now_s(),
                waiting_bytes=0 if is_blocked else self._file.changed_rows * _ROW_BYTES,
                is_wanted=self._is_wanted and not is_blocked,
            )
            if not left_s:
                return
            with anyio.move_on_after(left_s):
                await self._wait_change()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StateLostError as error:
            self._say(StateLost(at_unix_s=self._clock.unix(), epoch=self._owner.head.epoch, holder=self._holder()))
            self._end(error)
        except AccessError as error:
            if self.is_truth:
                self._end(error)
            else:
                await self._clock.sleep(_RETRY_S)
        except AsyncFilterError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001  whatever happens here, the run has to hear of it
            self._end(unexpected(error, "the state in S3"))
        finally:
            self._rounds += 1
            self._notify()

    # -- One commit ----------------------------------------------------------------------------------------------------

    async def _locked_commit(self, *, lets_go: bool = False) -> None:
        async with self._committing:
            await self._commit(lets_go=lets_go)

    async def _commit(self, *, lets_go: bool) -> None:
        began_s = self._owner.now_s()
        self._pace.begun(began_s)
        self._is_wanted = False
        self._begun += 1
        number, sent = self._begun, self._owner.bytes_sent
        changes: dict[str, Any] = {"owner": None} if lets_go else {}
        made, self._made = self._made, None
        if made is not None:
            changes["snapshot"], changes["segments"] = made.apply(self._owner.head, self._owner.place)
        grant, read = await self._cut(changes, made)
        replaced = self._owner.head.named_keys
        head = await self._rewrite(changes, made)
        self._cleaning.forget(replaced - head.named_keys)
        await self._count(number, grant, read, made)
        if read is not None and (rows := read.rows):
            wall_s, size_bytes = self._owner.now_s() - began_s, self._owner.bytes_sent - sent
            self._say(
                StateCommitted(
                    at_unix_s=self._clock.unix(), commit=head.commit, rows=rows, bytes=size_bytes, wall_s=wall_s
                )
            )
        self._maintain(head)
        await self._cleaning.delete_due()

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
            segment = await ship_segment(self._owner, read.packed, commit, read.rows)
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
        return None if self._purse is None else self._purse.propose()

    def _describe(self, changes: dict[str, Any], read: CutRead, grant: Grant | None) -> None:
        changes["rows"] = read.images.rows
        changes["spent_micros"] = read.spent_micros
        changes["granted_micros"] = read.spent_micros + read.reserved_micros if grant is None else grant.micros
        changes["file_format"] = read.file_format

    async def _count(self, number: int, grant: Grant | None, read: CutRead | None, made: Names | None) -> None:
        """A head was rewritten: forget what it names, and let those go on that waited for it."""
        commit = self._owner.head.commit
        if self._blocking is not None:
            if made is not self._blocking:
                return
            # What was written since is in the next commit, for which somebody may wait already.
            self._blocking, number, self._is_wanted = None, made.number, True
        if read is not None:
            self._images = read.images
            await self._file.confirm(commit)
        if grant is not None and self._purse is not None:
            self._purse.granted(grant)
        elif read is not None and grant is None:
            self._gives_back = False
        self._done = number
        self._notify()

    # -- Beside the commits --------------------------------------------------------------------------------------------

    def _block(self, cut: Cut, read: CutRead, grant: Grant | None, reserved: Reserved | None, commit: int) -> None:
        names = Names()
        names.is_blocking, names.grant, names.read, names.number = True, grant, read, self._begun
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
                # Too large for one request: segments go on, joined now and then.
                self._is_too_large = True
                return
            raise
        self._offer(names)
        self.hurry()

    async def _join(self, names: Names, segments: list[Segment]) -> None:
        names.joined = await join(self._owner, segments)
        names.replaced = [segment.key for segment in segments]
        self._offer(names)

    def _offer(self, names: Names) -> None:
        """Let the next head name it; something that nothing waits for gives way."""
        if self._made is None or names.is_blocking:
            self._made = names

    def _maintain(self, head: Head) -> None:
        if self._is_idle and len(head.segments) >= JOIN_AT:
            self._make(partial(self._join, Names(), head.segments[:-KEEP_NEWEST]))

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is made beside the commits, or was made and is not named yet."""
        return not self._is_making and self._made is None

    def _make(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` beside the commits, one at a time."""
        assert self._tasks is not None  # noqa: S101  `run` has begun
        self._is_making = True

        async def guarded() -> None:
            try:
                await self._guarded(work)
            finally:
                self._is_making = False

        self._tasks.start_soon(guarded)

    # -- Words ---------------------------------------------------------------------------------------------------------

    def _note_start(self) -> None:
        head, former, unix_s = self._owner.head, self._taken.former, self._clock.unix()
        self._say(StateOwned(at_unix_s=unix_s, epoch=head.epoch, holder=None if former is None else str(former)))
        if (one := self._restored) is not None:
            self._say(
                StateRestoredEvent(
                    at_unix_s=unix_s,
                    commit=one.head.commit,
                    epoch=one.head.epoch,
                    segments=len(one.head.segments),
                    rows=one.head.rows,
                    bytes=one.bytes,
                    wall_s=one.wall_s,
                )
            )

    async def _say_behind(self, silent_s: float) -> None:
        rows = await self._file.behind()
        what = "no more calls are made until it can" if self.is_truth else "the run goes on with its file"
        message = f"{self._owner.place.uri} could not be written for {silent_s:.0f} s: {what}"
        self._say(StateBehind(at_unix_s=self._clock.unix(), rows=rows, behind_s=silent_s, message=message))

    def _say(self, event: Event) -> None:
        if self._emit is not None:
            self._emit(event)

    def _holder(self) -> str | None:
        owner = self._owner.head.owner
        return None if owner is None else str(owner)

    # -- Parts of the above --------------------------------------------------------------------------------------------

    async def _is_behind(self) -> bool:
        return self._blocking is not None or self._gives_back or await self._file.has_new()

    def _give_back(self) -> None:
        is_granted = self._owner.head.granted_micros > self._owner.head.spent_micros
        self._purse, self._gives_back = None, self.is_truth and (is_granted or self._gives_back)

    def _end(self, error: AsyncFilterError) -> None:
        if self.error is None:
            self.error = error
        self._notify()

    async def _wait_change(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def running(shipping: StateShipping) -> AsyncIterator[StateShipping]:
    """Commit in the background; at the end the state is let go."""
    error: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shipping.run, tasks)
        try:
            yield shipping
        except Exception as exc:  # noqa: BLE001  raised again below, outside of the group
            error = exc
        await shipping.close()
        tasks.cancel_scope.cancel()
    if error is not None:
        raise error


def _restored(found: Restored) -> StateRestored:
    return StateRestored(rows=found.head.rows, commit=found.head.commit, bytes=found.bytes, wall_s=found.wall_s)


def _away(owner: StateOwner, silent_s: float) -> StateAwayError:
    return StateAwayError(
        f"{owner.place.uri} could not be written for {silent_s:.0f} s",
        hint="Run the same command once the store can be reached; nothing is lost on this machine.",
    )
