"""Shipping: the file of this machine goes to its state in S3, commit by commit, as long as this process owns it.

One commit: what changed is cut from the file, the segment is written, the head is rewritten to name it. Rows are
forgotten by the log of changes only when the head names them (``commits``). A snapshot, and the joining of segments,
are made beside the commits, and the next head names them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from asyncfilter.checkpoint import SqliteCheckpoint
from asyncfilter.clock import Clock
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CheckpointError,
    StateAwayError,
    StateLostError,
    unexpected,
)
from asyncfilter.events import Emit, Event, StateBehind, StateCommitted, StateLost, StateOwned, StateRestoredEvent
from asyncfilter.model import StateHolder, StateRestored, StateSummary
from asyncfilter.ports.keeping import Grants
from asyncfilter.state.commits import Commits, Committed
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.restore import Restored
from asyncfilter.state.taking import Taken
from asyncfilter.state.tenure import BEHIND_AFTER_S

_WATCH_S = 0.5
_RETRY_S = 5.0
_FLUSH_S = 30.0
"""How long the end of a command waits for a copy; for an authoritative state, until S3 counts as unreachable."""

_CLOSE_S = 20.0

_STOOD_STILL_S = 10.0
"""A process that ran no task for this long was stopped, or its machine slept; a rewrite takes less."""


class StateShipping:
    """``KeptState``: owns a state, and ships the file of this machine to it; made by ``open_shipping``.

    Args:
        owner: The state, taken.
        checkpoint: Opened to ship, and brought up to the state.
        path: The file.
        taken: How the state was taken.
        restored: What was fetched for the file; None when it was there.
        is_authoritative: See ``KeptState``.
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
        is_authoritative: bool,
        clock: Clock,
    ) -> None:
        if checkpoint.shipping is None:
            raise ValueError("the checkpoint was not opened to ship")
        self.is_authoritative = is_authoritative
        self.lacks_spending = restored is not None and not is_authoritative
        self.error: AsyncFilterError | None = None
        """Why the run has to end."""
        self._owner, self._file = owner, checkpoint.shipping
        self._taken, self._restored = taken, restored
        self._clock = clock
        self._is_closing = self._is_committing = False
        self._rounds = 0
        self._denied = ""
        self._tasks: TaskGroup | None = None
        self._changed = anyio.Event()
        self._commits = Commits(
            owner, checkpoint.shipping, path, clock=clock, notify=self._notify, start=self._start_beside
        )
        self._events: list[Event] = []
        self._emit: Emit | None = self._events.append
        self._note_start()

    # -- What a run asks -----------------------------------------------------------------------------------------------

    def emit_to(self, emit: Emit | None) -> None:
        """See ``KeptState``."""
        early, self._events = self._events, []
        self._emit = emit
        for event in early:
            self._send(event)

    def use(self, grants: Grants) -> None:
        """See ``KeptState``."""
        self._commits.use(grants)
        self.hurry()

    def hurry(self) -> None:
        """See ``KeptState``."""
        self._commits.want()
        self._notify()

    def mark(self) -> int:
        """See ``KeptState``: a commit that has begun may have cut already."""
        return self._commits.begun + 1

    async def wait_committed(self, mark: int) -> int:
        """See ``KeptState``."""
        while self._commits.done < mark:
            if self.error is not None or self._is_closing:
                raise self.error or CheckpointError(f"{self._owner.place.uri}: closed before its last commit")
            await self._wait_change()
        return self._commits.done

    def may_pay(self) -> bool:
        """See ``KeptState``; a file that is the truth is enough to pay."""
        tenure = self._owner.tenure
        return tenure.may_pay(self._owner.now_s()) if self.is_authoritative else not tenure.is_lost

    def is_behind(self) -> bool:
        """See ``KeptState``."""
        return self._owner.tenure.silent_s(self._owner.now_s()) > BEHIND_AFTER_S

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
        self._commits.give_back(is_granting=self.is_authoritative)
        deadline_s = self._owner.now_s() + _FLUSH_S
        while True:
            if self._owner.tenure.is_lost:
                return "another process owns the state"
            if isinstance(self.error, AccessError | CheckpointError):
                return self.error.message
            if not await self._commits.is_behind():
                # Its event belongs before the end of the run, too.
                while self._is_committing:
                    await self._wait_change()
                return None
            now_s = self._owner.now_s()
            if self._owner.tenure.is_unreachable(now_s) if self.is_authoritative else now_s > deadline_s:
                return self._denied or f"the store did not answer for {self._owner.tenure.silent_s(now_s):.0f} s"
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
            mode="checkpoint" if self.is_authoritative else "copy",
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
        tasks.start_soon(self._commits.cleaning.tidy)
        while not self._is_closing and not self._owner.tenure.is_lost:
            await self._wait_due()
            if not self._is_closing:
                await self._guarded(self._commit)

    async def close(self) -> None:
        """Commit the last rows and let the state go, as far as that can be done in a short time."""
        self._commits.give_back(is_granting=self.is_authoritative)
        self._is_closing = True
        self._notify()
        is_answering = self._owner.tenure.silent_s(self._owner.now_s()) < BEHIND_AFTER_S
        with anyio.move_on_after(_CLOSE_S if is_answering else _WATCH_S):
            while self._commits.is_blocked and self.error is None:
                await self._wait_change()
            if not self._owner.tenure.is_lost and not isinstance(self.error, AccessError):
                await self._guarded(partial(self._commit, lets_go=True))

    async def _watch(self) -> None:
        """Report when S3 is behind or unreachable, and begin a commit before money runs out."""
        reported_s, looked_s, awake_s = 0.0, self._owner.now_s(), -_STOOD_STILL_S
        while True:
            await self._clock.sleep(_WATCH_S)
            now_s = self._owner.now_s()
            # A process that stood still has tried nothing: only the next rewrite shows who owns the state by now.
            awake_s = now_s if now_s - looked_s > _STOOD_STILL_S else awake_s
            looked_s = now_s
            silent_s = self._owner.tenure.silent_s(now_s)
            if silent_s > BEHIND_AFTER_S and now_s - reported_s > BEHIND_AFTER_S and not self._owner.tenure.is_lost:
                reported_s = now_s
                await self._send_behind(silent_s)
            if self.is_authoritative and self._owner.tenure.is_unreachable(now_s) and now_s > awake_s + _STOOD_STILL_S:
                self._end(_unreachable(self._owner, silent_s))
            self._commits.look_at_grants()
            # Waiters compare clocks: what they wait for may have come with time alone.
            self._notify()

    async def _wait_due(self) -> None:
        while not self._is_closing:
            left_s = self._commits.left_s()
            if not left_s:
                return
            with anyio.move_on_after(left_s):
                await self._wait_change()

    async def _commit(self, *, lets_go: bool = False) -> None:
        self._is_committing = True
        try:
            self._send_committed(await self._commits.commit(lets_go=lets_go))
            self._denied = ""
        finally:
            self._is_committing = False

    def _send_committed(self, made: Committed) -> None:
        if made.rows:
            self._send(
                StateCommitted(
                    at_unix_s=self._clock.unix(),
                    commit=made.commit,
                    rows=made.rows,
                    bytes=made.bytes,
                    wall_s=made.wall_s,
                )
            )

    def _start_beside(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self._tasks is not None  # noqa: S101  `run` has begun
        self._tasks.start_soon(self._guarded, work)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StateLostError as error:
            self._send(StateLost(at_unix_s=self._clock.unix(), epoch=self._owner.head.epoch, holder=self._holder()))
            self._end(error)
        except AccessError as error:
            if self.is_authoritative:
                self._end(error)
            else:
                self._denied = error.message
                await self._clock.sleep(_RETRY_S)
        except AsyncFilterError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001  whatever happens here has to end the run
            self._end(unexpected(error, "the state in S3"))
        finally:
            self._rounds += 1
            self._notify()

    # -- Events --------------------------------------------------------------------------------------------------------

    def _note_start(self) -> None:
        head, former, unix_s = self._owner.head, self._taken.former, self._clock.unix()
        self._send(StateOwned(at_unix_s=unix_s, epoch=head.epoch, holder=None if former is None else str(former)))
        if (one := self._restored) is not None:
            self._send(
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

    async def _send_behind(self, silent_s: float) -> None:
        rows = await self._file.behind()
        what = "no more calls are made until it can" if self.is_authoritative else "the run goes on with its file"
        why = f" ({self._denied})" if self._denied else ""
        message = f"{self._owner.place.uri} could not be written for {silent_s:.0f} s{why}: {what}"
        self._send(StateBehind(at_unix_s=self._clock.unix(), rows=rows, behind_s=silent_s, message=message))

    def _send(self, event: Event) -> None:
        if self._emit is not None:
            self._emit(event)

    def _holder(self) -> str | None:
        owner = self._owner.head.owner
        return None if owner is None else str(owner)

    # -- Parts of the above --------------------------------------------------------------------------------------------

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


def _unreachable(owner: StateOwner, silent_s: float) -> StateAwayError:
    return StateAwayError(
        f"{owner.place.uri} could not be written for {silent_s:.0f} s",
        hint="Run the same command once the store can be reached; nothing is lost on this machine.",
    )
