"""A fleet around a run: its workers are found, what they kept is taken over, and at the end they are told to go.

The engine sees a detector, a preparation and a capacity; the checkpoint tells the workers what has become durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec

from asyncfilter import __version__
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.engine.core.row_ids import RowIds
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.engine.preview.overlays import OpenedView
from asyncfilter.errors import AsyncFilterError, StateLostError
from asyncfilter.events import AnswersAdopted, Emit, Event, RunEnded, RunStarted
from asyncfilter.fleet.asks import Terms
from asyncfilter.fleet.crew import Crew
from asyncfilter.fleet.note import keep_noted
from asyncfilter.fleet.ports import FleetDetector, FleetPreparation, LossCounts
from asyncfilter.fleet.transit import fleet_clock
from asyncfilter.fleet.unstored import LateAnswer, LinkKey
from asyncfilter.fleet.wires import Hub
from asyncfilter.job.spec import Job
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.keeping import KeptState
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Totals
from asyncfilter.wiring.adopted_spending import Charge, adopted_spending
from asyncfilter.wiring.examining import fingerprint
from asyncfilter.wiring.overrides import Overrides

PREFETCH_IMAGES = 2_048
"""Images ahead of admission: the workers hold their bytes, and each prepares some at a time."""

PREFETCH_AT_ONCE = 1_024

_BATCH_ROWS = 1_000

_LOOK_S = 1.0
"""How often it is looked whether a copy is behind."""

_MOST_AT_ONCE = 4_096
"""Images under way for a model of one's own, whose workers each bring cores of their own."""


class FleetTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a fleet.

    Attributes:
        fingerprint: Of the job, as far as workers use it.
        version: Of asyncfilter.
        engine: What runs the workers.
        least: Workers to begin with.
        most: Workers at the most; None where that is not known.
        wait_s: How long the first ones are waited for, seconds.
        note: Where the workers are noted for ``status``; None for nowhere.
    """

    fingerprint: str
    version: str = __version__
    engine: str = "ray"
    least: int = 1
    most: int | None = None
    wait_s: float = 120.0
    note: Path | None = None


class Parts(NamedTuple):
    """Parts of a run in one process."""

    inputs: RunInputs
    checkpoint: Checkpoint
    context: RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What a run uses in place of its own parts."""

    inputs: RunInputs
    checkpoint: Checkpoint
    context: RunContext


@asynccontextmanager
async def with_fleet(
    job: Job, overrides: Overrides, inputs: RunInputs, checkpoint: Checkpoint, context: RunContext
) -> AsyncIterator[Fleet]:
    """The fleet that a job asks for, or that the caller gives; the run's own parts where the job is kept at home.

    Raises:
        UsageError: The fleet cannot do what the job asks for.
        AccessError: The cluster cannot be reached.
        WaitEndedError: As ``open_fleet``; so is ``CheckpointError``.
    """
    if overrides.hub is not None:
        terms = FleetTerms(fingerprint=fingerprint(job))
        async with open_fleet(job, overrides.hub, terms, Parts(inputs, checkpoint, context)) as fleet:
            yield fleet
        return
    if job.cluster is None:
        yield Fleet(inputs=inputs, checkpoint=checkpoint, context=context)
        return
    from asyncfilter.wiring.ray_fleet import open_ray_fleet  # noqa: PLC0415  not needed by other fleets

    async with open_ray_fleet(job, job.cluster, Parts(inputs, checkpoint, context)) as fleet:
        yield fleet


@asynccontextmanager
async def open_fleet(job: Job, hub: Hub, terms: FleetTerms, parts: Parts) -> AsyncIterator[Fleet]:
    """Find the workers and take over what they kept; the workers go when the context ends.

    Args:
        job: Has the limits.
        hub: Starts and finds workers; it is closed at the end.
        terms: What is asked of them.
        parts: Those of the run in one process.

    Raises:
        WaitEndedError: Too few workers came.
        UsageError: None fits.
        CheckpointError: A later run has them.
    """
    inputs, checkpoint, context = parts
    events = _BetweenStartAndEnd(context.emit)
    context = msgspec.structs.replace(context, emit=events.emit)
    crew = _crew(job, hub, terms, checkpoint, context)
    events.on_end = crew.tell_end
    ending = _Ending(hub, crew, context.state)
    charge = adopted_spending(job, inputs, context.state, context.clock)
    view = DurableView(checkpoint, crew, context.state, charge)
    spares = SpareAnswers(view, crew, context)
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for work in (view.tell_committed, spares.run, ending.watch, crew.run):
                tasks.start_soon(work)
            try:
                await spares.adopted(crew.gather(terms.least, wait_s=terms.wait_s, settle_s=job.limits.timeout_s))
                ending.is_adopted = True
                if terms.note is not None:
                    tasks.start_soon(keep_noted, terms.note, crew.statistics, context.clock.sleep)
                yield _fleet(crew, terms, inputs, view, context)
                await spares.store()
            except Exception as error:  # noqa: BLE001  raised again below, outside of the task group
                failure = error
            await crew.say_bye()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await ending.close()
    if failure is not None:
        raise failure


class _Ending:
    """What becomes of the workers at the end of a head.

    Args:
        hub: Has them.
        crew: Knows them.
        state: Whether another process owns the state, which then has the workers, too; None without one.

    Attributes:
        is_adopted: What the workers kept from before is stored. Until then those that keep something stay: it was paid
            for, and the next head takes it over.
    """

    def __init__(self, hub: Hub, crew: Crew, state: KeptState | None) -> None:
        self.is_adopted = False
        self._hub = hub
        self._crew = crew
        self._state = state
        self._is_lost = False

    async def watch(self) -> None:
        """Learn whether the state is lost, until cancelled."""
        if self._state is not None:
            self._is_lost = isinstance(await self._state.wait_end(), StateLostError)

    async def close(self) -> None:
        """End the workers that belong to this head."""
        if self._is_lost or self._crew.is_ousted:
            await self._hub.leave(())
        elif not self.is_adopted:
            await self._hub.leave([*self._crew.settled_names(), *self._hub.started])
        else:
            await self._hub.close()


def _crew(job: Job, hub: Hub, terms: FleetTerms, checkpoint: Checkpoint, context: RunContext) -> Crew:
    agreed = Terms(
        version=terms.version,
        fingerprint=terms.fingerprint,
        epoch=checkpoint.opened.epoch,
        attempt_s=job.limits.timeout_s,
    )
    return Crew(hub, agreed, engine=terms.engine, emit=context.emit, clock=context.clock, now=_now_of(context.clock))


def _now_of(clock: Clock) -> Callable[[], float]:
    return fleet_clock if isinstance(clock, SystemClock) else clock.monotonic


def _fleet(crew: Crew, terms: FleetTerms, inputs: RunInputs, view: DurableView, context: RunContext) -> Fleet:
    losses = LossCounts()
    detectors = [FleetDetector(crew, losses, backend.name) for backend in inputs.backends]
    backends = tuple(
        msgspec.structs.replace(backend, detector=detector)
        for backend, detector in zip(inputs.backends, detectors, strict=True)
    )
    preparation = FleetPreparation(crew, losses, detectors) if inputs.preparation is not None else None
    return Fleet(
        inputs=msgspec.structs.replace(
            inputs,
            backends=backends,
            preparation=preparation,
            capacity=crew,
            concurrency=inputs.concurrency if inputs.primary.most_in_flight is None else _MOST_AT_ONCE,
            prefetch_images=PREFETCH_IMAGES,
            prefetch_at_once=PREFETCH_AT_ONCE,
            row_ids=view.row_ids,
        ),
        checkpoint=view,
        context=msgspec.structs.replace(context, workers=crew.statistics, workers_wanted=terms.most),
    )


class DurableView(OpenedView):
    """The checkpoint itself; workers are told what has become durable.

    Args:
        checkpoint: Open, and locked.
        crew: The workers.
        state: Where answers become durable, beyond this machine; None where the file is enough.
        charge: Counts adopted answers as spent; None where they are.
    """

    def __init__(
        self, checkpoint: Checkpoint, crew: Crew, state: KeptState | None, charge: Charge | None = None
    ) -> None:
        super().__init__(checkpoint, checkpoint.opened)
        self._charge = charge
        self._state = state
        self._uncommitted: deque[tuple[int, list[LinkKey]]] = deque()
        self._added = anyio.Event()
        self._commit = checkpoint.commit
        self._crew = crew
        self.row_ids = RowIds()
        """Those of the run, once it has begun; before, nobody else adds rows."""
        self.commit = self._committed

    async def _committed(self, batch: Batch) -> None:
        await self._commit(batch)
        if not self.row_ids.begun.is_set() and batch.new:
            self.opened = msgspec.structs.replace(
                self.opened, next_id=max(self.opened.next_id, *(row.id + 1 for row in batch.new))
            )
        self._note_durable([(row.key, row.etag) for row in (*batch.new, *batch.positioned)])

    def _note_durable(self, objects: list[LinkKey]) -> None:
        """Tell the workers what is durable, at once or when S3 has it."""
        if self._state is None:
            self._crew.durable(objects)
        elif objects:
            self._uncommitted.append((self._state.mark(), objects))
            self._added.set()

    async def tell_committed(self) -> None:
        """Tell the workers what S3 has, until cancelled or until it can have no more."""
        if self._state is None:
            return
        while True:
            while self._uncommitted:
                mark, objects = self._uncommitted.popleft()
                try:
                    await self._wait_committed(self._state, mark)
                except AsyncFilterError:
                    return  # the run ends by it; the workers keep what they have
                self._crew.durable(objects)
            self._added = anyio.Event()
            await self._added.wait()

    async def _wait_committed(self, state: KeptState, mark: int) -> None:
        """Wait for a commit; a copy that S3 does not take is not waited for: full workers would end a run that goes on.

        Raises:
            AsyncFilterError: As ``KeptState.wait_committed``.
        """
        while state.is_authoritative or not state.is_behind():
            with anyio.move_on_after(_LOOK_S):
                await state.wait_committed(mark)
                return

    async def add_spare(self, answers: Sequence[LateAnswer], totals: Totals | None = None) -> int:
        """Store answers as cached rows, but for those of objects whose labels are stored; how many were stored.

        Args:
            answers: Any number of them.
            totals: Sums to write with the last ones; ``adopted`` is filled in.
        """
        wanted = await self._unknown(answers)
        for start in range(0, len(wanted), _BATCH_ROWS):
            begun = self.row_ids if self.row_ids.begun.is_set() else RowIds.after(self.opened.next_id - 1)
            rows = [self._spare(answer, begun.new()) for answer in wanted[start : start + _BATCH_ROWS]]
            if totals is not None:
                totals.adopted += len(rows)
                if self._charge is not None:
                    self._charge(totals, len(rows))
            await self._committed(Batch(new=rows, totals=totals))
        self._note_durable([(answer.image.key, answer.image.etag) for answer in answers])
        return len(wanted)

    async def _unknown(self, answers: Sequence[LateAnswer]) -> list[LateAnswer]:
        """One answer for each object whose labels are not stored."""
        found = {(answer.image.key, answer.image.etag): answer for answer in answers}
        keys = sorted({key for key, _ in found})
        for start in range(0, len(keys), _BATCH_ROWS):
            for row in await self.by_keys(keys[start : start + _BATCH_ROWS]):
                if row.decision is not None or row.detection is not None:
                    found.pop((row.key, row.etag), None)
        return list(found.values())

    def _spare(self, answer: LateAnswer, id_: int) -> StoredImage:
        return StoredImage(
            id=id_,
            seq=None,
            key=answer.image.key,
            etag=answer.image.etag,
            size_bytes=answer.image.size_bytes,
            detection=answer.detection,
        )


class SpareAnswers:
    """Stores answers that belong to no ask under way as they arrive: nothing of them is paid for again.

    Args:
        view: Stores them.
        crew: Gets them.
        context: Of the run.
    """

    def __init__(self, view: DurableView, crew: Crew, context: RunContext) -> None:
        self._view = view
        self._crew = crew
        self._context = context
        self._totals: Totals | None = msgspec.structs.replace(view.opened.totals)
        self._offered = self._adopted = 0
        self._failure: AsyncFilterError | None = None
        self._one_at_once = anyio.Lock()

    async def run(self) -> None:
        """Store what arrives, until cancelled or until nothing can be stored."""
        while True:
            await self._crew.late_arrived()
            if self._totals is None:
                # Rows have ids from the run now.
                await self._view.row_ids.begun.wait()
            try:
                await self.store()
            except AsyncFilterError as error:
                self._failure = error  # the run ends by it, too; the workers keep what they have
                return

    async def store(self) -> None:
        """Store what has arrived; a cancellation waits, since its workers may be ended then."""
        with anyio.CancelScope(shield=True):
            async with self._one_at_once:
                await self._store()

    async def _store(self) -> None:
        late = self._crew.late_answers()
        if not late:
            return
        stored = await self._view.add_spare(late, self._totals)
        if self._totals is not None:
            self._offered += len(late)
            self._adopted += stored

    async def adopted(self, gathered: Awaitable[None]) -> None:
        """Store what the workers of a former head have kept, until ``gathered`` ends, however it does.

        Raises:
            AsyncFilterError: As ``gathered``.
            CheckpointError: It cannot be stored.
        """
        try:
            await gathered
        finally:
            if self._failure is None:
                await self.store()
        if self._failure is not None:
            raise self._failure
        view, totals, self._totals = self._view, self._totals, None
        self._crew.begin()
        if self._offered:
            view.opened = msgspec.structs.replace(view.opened, totals=totals or view.opened.totals)
            self._context.emit(
                AnswersAdopted(
                    at_unix_s=self._context.clock.unix(),
                    offered=self._offered,
                    adopted=self._adopted,
                    from_epoch=view.opened.epoch - 1,
                )
            )


class _BetweenStartAndEnd:
    """Holds events back until the first event of the run, and lets none follow the last one."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._held: list[Event] | None = []
        self._is_over = False
        self.on_end: Callable[[], None] | None = None

    def emit(self, event: Event) -> None:
        """Emit an event, hold it back, or drop it."""
        if self._is_over:
            return
        if self._held is not None and not isinstance(event, RunStarted):
            self._held.append(event)
            return
        if isinstance(event, RunEnded) and self.on_end is not None:
            self.on_end()
        self._is_over = isinstance(event, RunEnded)
        self._emit(event)
        held, self._held = self._held, None
        for late in held or ():
            self._emit(late)
