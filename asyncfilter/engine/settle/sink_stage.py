"""The sink stage: carries out released actions, several at a time, and records the result of each."""

from __future__ import annotations

from collections import deque

import anyio
from anyio.abc import TaskGroup

from asyncfilter.clock import Clock
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, TransientError, unexpected
from asyncfilter.events import ActionDone, Emit, ImageFailed
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.policy.effects import done
from asyncfilter.ports.examine import Sink
from asyncfilter.ports.keeping import KeptState

ACTIONS_AT_ONCE = 64
"""Most actions in flight: copies of 100 ms give 640 a second, and S3 accepts 3,500 (S3 guide, *Performance*)."""


class UncommittedActions:
    """Released actions that wait for the commit that names their answers.

    Args:
        state: The state in S3.
        pool: Gets them after that.
        stop_signal: When the run ends at once, they are dropped: the next run carries them out.
    """

    def __init__(self, state: KeptState, pool: WorkerPool[tuple[WorkItem, Effect]], stop_signal: StopSignal) -> None:
        self._state, self._pool, self._stop_signal = state, pool, stop_signal
        self._waiting: deque[tuple[int, WorkItem, Effect]] = deque()
        self._changed = anyio.Event()
        self._is_draining = False
        stop_signal.on_request(self._notify)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: WorkItem, effect: Effect) -> None:
        """Queue an action whose answer is durable in the file."""
        self._waiting.append((self._state.mark(), item, effect))
        if self._is_draining:
            self._state.hurry()
        self._notify()

    async def run(self) -> None:
        """Hand actions on, commit after commit, until cancelled or until another process owns the state."""
        while True:
            while not self._waiting:
                await self._changed.wait()
            try:
                done = await self._state.wait_committed(self._waiting[0][0])
            except AsyncFilterError:
                self._waiting.clear()
                self._notify()
                return
            while self._waiting and self._waiting[0][0] <= done:
                _, item, effect = self._waiting.popleft()
                if not self._stop_signal.is_immediate:
                    self._pool.submit((item, effect))
            self._notify()

    def hurry(self) -> None:
        """Let none wait for longer than a commit takes, from now on: no more images are admitted."""
        self._is_draining = True
        if self._waiting:
            self._state.hurry()

    async def drain(self) -> None:
        """Return when none waits; at once, without them, when the run ends at once."""
        self.hurry()
        while self._waiting and not self._stop_signal.is_immediate:
            await self._changed.wait()
        self._waiting.clear()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class SinkStage:
    """Carries out actions through a sink, such as S3.

    Args:
        sink: Makes one attempt at an action.
        committer: Records what was confirmed and what failed.
        repeat: The retry policy.
        stop_signal: Ends the run when the sink cannot be written.
        emit: Called with every confirmed or failed action.
        clock: Time.
        state: The state in S3 that has to name an answer before its action begins; None where the file is enough.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        committer: GroupCommitter,
        repeat: Repeater,
        stop_signal: StopSignal,
        emit: Emit,
        clock: Clock,
        state: KeptState | None = None,
    ) -> None:
        self.pool: WorkerPool[tuple[WorkItem, Effect]] = WorkerPool(self._perform, ACTIONS_AT_ONCE)
        self._sink = sink
        self._committer = committer
        self._repeat = repeat
        self._stop_signal = stop_signal
        self._emit = emit
        self._clock = clock
        self._breaker = Breaker()
        self._uncommitted = None if state is None else UncommittedActions(state, self.pool, stop_signal)

    def start(self, tasks: TaskGroup) -> None:
        """Start workers in ``tasks`` from now on; before this nothing can be submitted."""
        self.pool.start(tasks)
        if self._uncommitted is not None:
            tasks.start_soon(self._uncommitted.run)

    @property
    def unfinished(self) -> int:
        """Actions in flight or waiting."""
        return self.pool.unfinished + (0 if self._uncommitted is None else len(self._uncommitted))

    def submit(self, item: WorkItem, effect: Effect) -> None:
        """Queue an action; when the run ends at once, drop it: the next run carries it out."""
        if self._stop_signal.is_immediate:
            return
        if self._uncommitted is None:
            self.pool.submit((item, effect))
        else:
            self._uncommitted.add(item, effect)

    def hurry(self) -> None:
        """Let no action wait for the time of the next commit, from now on: no more images are admitted."""
        if self._uncommitted is not None:
            self._uncommitted.hurry()

    async def drain(self) -> None:
        """Return when no action is in flight or waits; waiting ones are dropped when the run ends at once."""
        if self._uncommitted is not None:
            await self._uncommitted.drain()
        if self._stop_signal.is_immediate:
            self.pool.abandon()
        await self.pool.wait_done()

    async def _perform(self, released: tuple[WorkItem, Effect]) -> None:
        item, effect = released
        try:
            await self._repeat(lambda: self._sink.perform(effect))
        except DrainedError:
            # Neither done nor failed: the image stays unsettled, and the next run carries out its action.
            return
        except AccessError as error:
            self._stop_signal.request(StopReason.FAILED, error)
            # The waiting actions would fail for the same reason, and the next run carries them out.
            self.pool.abandon()
        except ImageError as error:
            self._fail(item, error)
        except TransientError as error:
            self._fail(item, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a sink may raise anything; what is paid must be kept
            self._stop_signal.request(StopReason.FAILED, unexpected(error, "the sink"))
        else:
            self._confirm(item, effect)

    def _confirm(self, item: WorkItem, effect: Effect) -> None:
        self._breaker.success()
        # No await between these lines: the watermark would move past an action that no batch contains.
        item.confirm_action(effect.kind)
        self._committer.note_effect(item.row_id, done(effect))
        self._emit(
            ActionDone(
                at_unix_s=self._clock.unix(),
                seq=item.image.seq,
                key=item.image.key,
                kind=effect.kind.value,
                target=effect.target.uri if effect.target is not None else None,
            )
        )

    def _fail(self, item: WorkItem, error: ImageError) -> None:
        failure = Failure(error.code, error.message)
        item.fail_action(failure)
        self._committer.note_failure(item.row_id, failure)
        self._emit(
            ImageFailed(
                at_unix_s=self._clock.unix(),
                seq=item.image.seq,
                key=item.image.key,
                code=failure.code,
                message=failure.message,
            )
        )
        # Only causes outside of the image: it was examined, so what it shows is not the reason.
        if (error.access or error.code == "unavailable") and self._breaker.failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error))
            self.pool.abandon()
