"""The sink stage: carries out released actions, several at a time, and records the result of each."""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.errors import AccessError, ImageError, TransientError, unexpected
from asyncfilter.events import ActionDone, Emit, ImageFailed
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.policy.effects import done
from asyncfilter.ports.examine import Sink

ACTIONS_AT_ONCE = 64
"""Most actions in flight: copies of 100 ms give 640 a second, and S3 accepts 3,500 (S3 guide, *Performance*)."""


class SinkStage:
    """Carries out actions through a sink, such as S3.

    Args:
        sink: Makes one attempt at an action.
        committer: Records what was confirmed and what failed.
        repeat: The retry policy.
        stop_signal: Ends the run when the sink cannot be written.
        emit: Called with every confirmed or failed action.
        clock: Time.
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
    ) -> None:
        self.pool: WorkerPool[tuple[WorkItem, Effect]] = WorkerPool(self._perform, ACTIONS_AT_ONCE)
        self._sink = sink
        self._committer = committer
        self._repeat = repeat
        self._stop_signal = stop_signal
        self._emit = emit
        self._clock = clock
        self._breaker = Breaker()

    def submit(self, item: WorkItem, effect: Effect) -> None:
        """Queue an action; when the run ends at once, drop it: the next run carries it out."""
        if not self._stop_signal.is_immediate:
            self.pool.submit((item, effect))

    async def drain(self) -> None:
        """Return when no action is in flight or waits; waiting ones are dropped when the run ends at once."""
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
