"""The sink stage: carries out released actions, several at a time, and notes what became of each."""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import GroupCommitter
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.repeating import DrainedError, Repeater
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, TransientError
from asyncfilter.events import ActionDone, Emit, ImageFailed
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.effects import done
from asyncfilter.ports import Sink

ACTIONS_AT_ONCE = 64
"""Copies under way at the most; at 100 ms each that is 640 a second, and S3 takes 3,500 (S3 guide, *Performance*)."""


class SinkStage:
    """Carries out effects on S3 or another sink.

    Args:
        sink: Makes single attempts.
        committer: Keeps what was confirmed and what failed.
        repeat: The retry policy.
        ending: Told when nothing can be written.
        emit: Told of every action.
        clock: Time.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        committer: GroupCommitter,
        repeat: Repeater,
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.pool: WorkerPool[tuple[Passage, Effect]] = WorkerPool(self._perform, ACTIONS_AT_ONCE)
        self._sink = sink
        self._committer = committer
        self._repeat = repeat
        self._ending = ending
        self._emit = emit
        self._clock = clock

    def submit(self, passage: Passage, effect: Effect) -> None:
        """Have an action carried out, unless the run ends at once: then the next run does it."""
        if not self._ending.is_hasty:
            self.pool.submit((passage, effect))

    async def drain(self) -> None:
        """Return when no action is under way; those that wait are carried out first, unless the run ends at once."""
        if self._ending.is_hasty:
            self.pool.abandon()
        await self.pool.wait_done()

    async def _perform(self, released: tuple[Passage, Effect]) -> None:
        passage, effect = released
        try:
            await self._repeat(lambda: self._sink.perform(effect))
        except DrainedError:
            return
        except AccessError as error:
            self._ending.request(StopReason.FAILED, error)
            self.pool.abandon()
        except ImageError as error:
            self._fail(passage, Failure(error.code, error.message))
        except TransientError as error:
            self._fail(passage, Failure("unavailable", error.message))
        except Exception as error:  # noqa: BLE001  a foreign sink may raise anything; what is paid must be kept
            wrapped = AsyncFilterError(f"the sink raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._ending.request(StopReason.FAILED, wrapped)
        else:
            self._confirm(passage, effect)

    def _confirm(self, passage: Passage, effect: Effect) -> None:
        passage.confirm_action(effect.kind)
        self._committer.note_effect(passage.row_id, done(effect))
        self._emit(
            ActionDone(
                at_unix_s=self._clock.unix(),
                seq=passage.image.seq,
                key=passage.image.key,
                kind=effect.kind.value,
                target=effect.target.uri if effect.target is not None else None,
            )
        )

    def _fail(self, passage: Passage, failure: Failure) -> None:
        passage.fail_action(failure)
        self._committer.note_failure(passage.row_id, failure)
        self._emit(
            ImageFailed(
                at_unix_s=self._clock.unix(),
                seq=passage.image.seq,
                key=passage.image.key,
                code=failure.code,
                message=failure.message,
            )
        )
