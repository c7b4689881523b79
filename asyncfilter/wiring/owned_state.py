"""A checkpoint whose state is in S3: taken, brought up to date on this machine, and shipped as long as it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from asyncfilter.checkpoint import (
    SqliteCheckpoint,
    archive_checkpoint,
    checkpoint_exists,
    open_checkpoint,
    read_epoch,
    read_identity,
)
from asyncfilter.checkpoint.lock import holder
from asyncfilter.checkpoint.place import without_links
from asyncfilter.checkpoint.schema import FORMAT_VERSION
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.errors import (
    AsyncFilterError,
    CheckpointError,
    CheckpointLockedError,
    UsageError,
)
from asyncfilter.events import JobWarning
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job
from asyncfilter.model import StateSummary
from asyncfilter.ports.keeping import KeptState
from asyncfilter.ports.state_store import StateStore
from asyncfilter.records.progress import Batch
from asyncfilter.state.answers_shipping import AnswersShipping, answers_shipped
from asyncfilter.state.away import translated_outage
from asyncfilter.state.fetching import read_head
from asyncfilter.state.head import Head
from asyncfilter.state.names import StateKind, place_of
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.shipping import StateShipping, running
from asyncfilter.state.taking import Claim, Report, Taken, take
from asyncfilter.state.tenure import COMMIT_EVERY_S
from asyncfilter.state.working_copy import WorkingCopy, bring_up, check_beginning, check_first_file
from asyncfilter.wiring.states import Where, open_state_store


async def has_state(job: Job) -> bool:
    """Whether the state of a job was begun."""
    return await begun_state(job) is not None


async def begun_state(job: Job) -> Head | None:
    """The head of a job's state, which is not owned; None where none was begun.

    Raises:
        StateAwayError: Its store does not answer.
        AccessError: The account may not read it.
        CheckpointError: What is there is no head of this state.
    """
    place = place_of(job)
    if place is None:
        return None
    async with open_state_store(job.aws) as store:
        with translated_outage(place.uri, "read"):
            seen = await read_head(store, place)
    return None if seen is None else seen.head


async def open_owned(
    job: Job, context: RunContext, stack: AsyncExitStack, *, is_fresh: bool = False
) -> SqliteCheckpoint:
    """Own the state of a job, and open its file, which is ``kept`` by it; both are let go when ``stack`` is closed.

    Args:
        job: Has a state.
        context: Of the command.
        stack: Closes it.
        is_fresh: Begin a new state and a new file; what was there is kept under other names.

    Raises:
        StateHeldError: Another process owns the state.
        CheckpointError: State or file cannot be used.
        AccessError: The account may not use the state.
    """
    return await stack.enter_async_context(_owned(job, context, is_fresh=is_fresh))


@asynccontextmanager
async def _owned(job: Job, context: RunContext, *, is_fresh: bool) -> AsyncIterator[SqliteCheckpoint]:
    if job.state is None:
        raise ValueError("the job has no state in S3")
    _check_free(job.checkpoint)
    async with open_state_store(job.aws) as store:
        opening = _Opening(job, store, context, is_authoritative=job.state.is_authoritative)
        owner, taken = await opening.take(is_fresh=is_fresh)
        try:
            copy = await opening.bring_up(owner, taken, is_fresh=is_fresh)
            checkpoint = await open_checkpoint(
                job.checkpoint,
                identity=identity(job),
                name=job.name,
                above_epoch=owner.head.epoch - 1,
                ships=True,
            )
        except BaseException:
            with anyio.move_on_after(5, shield=True):
                await _let_go(owner)
            raise
        async with checkpoint, running(await opening.shipping(owner, taken, copy, checkpoint)) as shipping:
            checkpoint.kept = shipping
            async with answers_shipped(_answers_of(job, store, context.clock, opening.warn), opening.warn):
                yield checkpoint


def _answers_of(job: Job, store: StateStore, clock: Clock, report: Report) -> AnswersShipping:
    """People's answers of a job, and their state beside that of its checkpoint."""
    place = place_of(job)
    assert place is not None  # noqa: S101  the job has a state
    return AnswersShipping(
        store=store,
        place=place.answers,
        path=job.answers_path,
        host=ThisHost(),
        clock=clock,
        now_s=_now_of(clock),
        report=report,
    )


async def ship_answers(job: Job) -> None:
    """Write the answers file of a job to its state in S3, if it has one and the file has changed.

    Raises:
        AsyncFilterError: File or state cannot be used.
    """
    if job.state is not None:
        async with open_state_store(job.aws) as store:
            await _answers_of(job, store, SystemClock(), _ignore).ship()


def _check_free(path: Path) -> None:
    """Check that no run of this machine works on the file, before the state is taken from it."""
    if (who := holder(without_links(path))) is not None:
        hint = "Wait until that run ends, or set another `checkpoint:` for this job."
        raise CheckpointLockedError(f"{path}: held by {who}", hint=hint)


async def _let_go(owner: StateOwner) -> None:
    try:
        await owner.rewrite(owner=None)
    except AsyncFilterError:
        return  # another process waits 15 s


@dataclass(frozen=True, slots=True)
class _Opening:
    job: Job
    store: StateStore
    context: RunContext
    is_authoritative: bool

    async def take(self, *, is_fresh: bool) -> tuple[StateOwner, Taken]:
        place, path = place_of(self.job), self.job.checkpoint
        assert place is not None  # noqa: S101  the job has a state
        above = await to_thread.run_sync(read_epoch, path) if checkpoint_exists(path) else 0
        claim = Claim(
            place=place,
            identity=identity(self.job),
            newest_format=FORMAT_VERSION,
            file_format=1,
            above_epoch=above,
            run_id=self.context.run_id,
        )
        begins = _nothing if is_fresh else partial(check_beginning, place, path, is_authoritative=self.is_authoritative)
        return await take(
            self.store,
            claim,
            host=ThisHost(),
            clock=self.context.clock,
            now_s=_now_of(self.context.clock),
            report=self.warn,
            begins=begins,
            is_fresh=is_fresh,
        )

    async def bring_up(self, owner: StateOwner, taken: Taken, *, is_fresh: bool) -> WorkingCopy | None:
        """Make the file of this machine that of the state, while the head shows that this process runs."""
        path = self.job.checkpoint
        if is_fresh:
            if checkpoint_exists(path):
                await to_thread.run_sync(archive_checkpoint, path)
            return None
        if taken.head is None:
            return None
        if taken.head.snapshot is None:
            # The owner before has committed nothing: the file of this machine is all there is.
            if self.is_authoritative:
                await to_thread.run_sync(check_first_file, owner.place, path, taken.head)
            return None
        async with _heartbeat(owner, self.context.clock):
            with translated_outage(owner.place.uri, "read"):
                copy = await bring_up(self.store, owner.place, taken.head, path)
        if copy.aside is not None:
            self.warn(f"{path} is the file of {owner.place.uri} now; the file that was there is {copy.aside}")
        if copy.spent_micros:
            usd = copy.spent_micros / 1_000_000
            self.warn(f"{path} had spent ${usd:.2f} after its last commit to {owner.place.uri}: it is counted now")
        return copy

    async def shipping(
        self, owner: StateOwner, taken: Taken, copy: WorkingCopy | None, checkpoint: SqliteCheckpoint
    ) -> StateShipping:
        """What ships the opened file."""
        shipping = StateShipping(
            owner,
            checkpoint,
            without_links(self.job.checkpoint),
            taken=taken,
            restored=None if copy is None else copy.restored,
            is_authoritative=self.is_authoritative,
            clock=self.context.clock,
        )
        assert checkpoint.shipping is not None  # noqa: S101  it was opened to ship
        await checkpoint.shipping.bind(owner.head.state_id, checkpoint.opened.epoch, owner.head.commit)
        if shipping.is_authoritative:
            _commit_removals_first(checkpoint, shipping)
        return shipping

    def warn(self, message: str) -> None:
        """Report something that stops no run."""
        self.context.emit(JobWarning(at_unix_s=self.context.clock.unix(), message=message))


def _nothing() -> None:
    return


def _now_of(clock: Clock) -> Callable[[], float]:
    """A clock that goes on while the machine sleeps; the clock of a test as it is."""
    return ThisHost().boot_s if isinstance(clock, SystemClock) else clock.monotonic


@asynccontextmanager
async def _heartbeat(owner: StateOwner, clock: Clock) -> AsyncIterator[None]:
    """Rewrite the head now and then while something else takes long."""
    error: Exception | None = None

    async def beat() -> None:
        while True:
            await clock.sleep(COMMIT_EVERY_S)
            try:
                await owner.rewrite()
            except AsyncFilterError:
                return  # whatever it is, the next rewrite raises it

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        try:
            yield
        except Exception as exc:  # noqa: BLE001  raised again below, outside of the group
            error = exc
        tasks.cancel_scope.cancel()
    if error is not None:
        raise error


def _commit_removals_first(checkpoint: SqliteCheckpoint, state: KeptState) -> None:
    """Let a batch with entries of the removal journal wait for the commit that has them: the effect follows it."""
    to_file = checkpoint.commit

    async def commit(batch: Batch) -> None:
        await to_file(batch)
        if batch.removals:
            mark = state.mark()
            state.hurry()
            await state.wait_committed(mark)

    checkpoint.commit = commit


# -- `state push` ------------------------------------------------------------------------------------------------------


async def push_state(path: Path, where: Where) -> StateSummary:
    """Begin a state from a checkpoint file that no run uses.

    Raises:
        StateExistsError: There is one.
        CheckpointError: The file cannot be used.
        UsageError: ``where`` is no state of a checkpoint.
    """
    if where.place.kind is not StateKind.CHECKPOINT:
        raise UsageError(
            f"{where.place.uri}: expected the address of a checkpoint, which ends with .{StateKind.CHECKPOINT}"
        )
    clock = SystemClock()
    settings = await to_thread.run_sync(read_identity, path)
    async with (
        open_state_store(where.aws) as store,
        await open_checkpoint(path, identity=settings, name=where.place.name, ships=True) as checkpoint,
    ):
        claim = Claim(
            place=where.place,
            identity=settings,
            newest_format=FORMAT_VERSION,
            file_format=1,
            above_epoch=checkpoint.opened.epoch - 1,
            run_id="",
        )
        owner, taken = await take(
            store,
            claim,
            host=ThisHost(),
            clock=clock,
            now_s=_now_of(clock),
            report=_ignore,
            begins=_nothing,
            only_new=True,
        )
        shipping = StateShipping(
            owner, checkpoint, without_links(path), taken=taken, restored=None, is_authoritative=True, clock=clock
        )
        assert checkpoint.shipping is not None  # noqa: S101  it was opened to ship
        await checkpoint.shipping.bind(owner.head.state_id, checkpoint.opened.epoch, owner.head.commit)
        async with running(shipping):
            if left := await shipping.flush():
                raise CheckpointError(f"{where.place.uri}: not everything is there: {left}", hint=_PUSH_AGAIN)
        return await shipping.summary()


_PUSH_AGAIN = "Run the job with this address as its checkpoint_copy, which goes on from the file."


def _ignore(_message: str) -> None:
    return
