"""The sink stage: carries out released actions, several at a time, and reports what became of each."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.repeating import DrainedError, Repeater
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, TransientError
from asyncfilter.events import ActionDone, Emit
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.ports import Sink


class Actions:
    """Carries out effects on S3 or another sink.

    Args:
        sink: Makes single attempts.
        limit: Actions under way at the most.
        repeat: The retry policy.
        acted: Told of each confirmed action.
        failed: Told of each action that was given up.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        limit: int,
        repeat: Repeater,
        acted: Callable[[Passage, Effect], None],
        failed: Callable[[Passage, Failure], None],
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.pool: WorkerPool[tuple[Passage, Effect]] = WorkerPool(self._perform, limit)
        self._sink = sink
        self._repeat = repeat
        self._acted = acted
        self._failed = failed
        self._ending = ending
        self._emit = emit
        self._clock = clock

    def submit(self, passage: Passage, effect: Effect) -> None:
        """Have an action carried out, unless the run is leaving in haste: then the next one does it."""
        if not self._ending.is_hasty:
            self.pool.submit((passage, effect))

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
            self._failed(passage, Failure(error.code, error.message))
        except TransientError as error:
            self._failed(passage, Failure("unavailable", error.message))
        except Exception as error:  # noqa: BLE001  a foreign sink may raise anything; what is paid must be kept
            wrapped = AsyncFilterError(f"the sink raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._ending.request(StopReason.FAILED, wrapped)
        else:
            self._tell(passage, effect)
            self._acted(passage, effect)

    def _tell(self, passage: Passage, effect: Effect) -> None:
        self._emit(
            ActionDone(
                at_unix_s=self._clock.unix(),
                seq=passage.image.seq,
                key=passage.image.key,
                kind=effect.kind.value,
                target=effect.target.uri if effect.target is not None else None,
            )
        )
