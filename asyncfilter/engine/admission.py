"""Admission: images enter the engine in the order of examination, each with all it needs to pass.

Invariant: money is reserved in that order, so that a budget stop is a prefix of it; a worker is free before money is
held, so that nobody who holds money waits for one who needs it; the turn comes last, so that an attempt leaves at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import msgspec
from anyio.abc import ObjectSendStream, TaskGroup

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import Journal
from asyncfilter.engine.limiter import RateLimiter
from asyncfilter.engine.monitor import Monitor
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.preparing import Preparing
from asyncfilter.engine.producer import Producer
from asyncfilter.engine.purse import Purse
from asyncfilter.engine.repeating import DrainedError
from asyncfilter.engine.replay import Replay, Verdicts
from asyncfilter.engine.twins import Batch, Twins
from asyncfilter.engine.way import Options
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, OutcomeChange, RulesApplied
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job, Order
from asyncfilter.model import StopReason
from asyncfilter.ports import Checkpoint, StoredImage, Totals


class Admission:
    """Admits everything there is, in three steps: decisions made anew, failed images, the listing."""

    def __init__(
        self,
        *,
        job: Job,
        options: Options,
        producer: Producer,
        preparing: Preparing,
        checkpoint: Checkpoint,
        monitor: Monitor,
        journal: Journal,
        pool: WorkerPool[Passage],
        purse: Purse,
        limiter: RateLimiter,
        twins: Twins,
        totals: Totals,
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._job = job
        self._options = options
        self._producer = producer
        self._preparing = preparing
        self._checkpoint = checkpoint
        self._monitor = monitor
        self._journal = journal
        self._pool = pool
        self._purse = purse
        self._limiter = limiter
        self._twins = twins
        self._totals = totals
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._decided_by = decided_by(job)
        self._replay = Replay(job, checkpoint)
        self._replayed: tuple[Verdicts, int] | None = None

    async def run(self, tasks: TaskGroup) -> None:
        """Admit until nothing is left, with producers in ``tasks``; cancelled when the run ends before."""
        self._tasks = tasks
        await self._apply_rules()
        if self._options.retry_failed:
            self._monitor.forgive()
        if self._monitor.check_stop():
            return
        if self._options.stored_only:
            self._ending.request(StopReason.COMPLETED)
            return
        if self._options.retry_failed:
            await self._admit(self._preparing.ahead(self._producer.retries(self._monitor.watermark.seq)))
        await self._list()

    # -- Decisions made anew -------------------------------------------------------------------------------------------

    async def _apply_rules(self) -> None:
        """Decide every stored image again when rules, actions or stop rules are not those it was decided by."""
        mark = self._monitor.watermark
        if self._checkpoint.opened.decided_by == self._decided_by:
            return
        found = await self._replay.look(mark)
        if found.images:
            self._tell_replay(found, dropped=mark.tally.examined - found.watermark.tally.examined)
        self._monitor.start_at(found.watermark)
        if self._options.dry_run:
            return
        if self._checkpoint.opened.decided_by is not None:
            # A process that dies half way leaves decisions of two kinds: nobody may take them for those of one job.
            await self._checkpoint.decided(None, self._checkpoint.opened.watermark)
        self._replayed = (found, mark.seq)
        self._journal.keeps_place = False
        await self._admit(self._producer.replay(self._replay.second_look(found.watermark.seq)))
        await self._monitor.wait_settled()
        await self.finish_replay()

    async def finish_replay(self) -> None:
        """Keep decisions made anew, once all that follows from them is done; else they are made again."""
        if self._replayed is None or self._ending.is_requested:
            return
        (found, up_to_seq), self._replayed = self._replayed, None
        await self._journal.flush()
        mark = self._monitor.watermark
        if found.stop_reason is not None and mark.seq < up_to_seq:
            await self._checkpoint.unseat_after(mark.seq)
            mark.cursor, mark.listing_done = None, False
        await self._checkpoint.decided(self._decided_by, msgspec.structs.replace(mark, tally=mark.tally.copy()))
        self._journal.keeps_place = True

    def _tell_replay(self, found: Verdicts, dropped: int) -> None:
        self._emit(
            RulesApplied(
                at_unix_s=self._clock.unix(),
                images=found.images,
                changes=[
                    OutcomeChange(before=before, after=after, images=images)
                    for (before, after), images in sorted(found.changes.items())
                ],
                actions=found.actions,
                stale=found.stale,
                dropped=dropped,
            )
        )

    # -- The listing ---------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        await self._monitor.wait_settled()
        await self._journal.flush()  # rows that were replaced must have lost their place before keys are looked up
        mark = self._monitor.watermark
        if mark.listing_done and self._job.source.order is Order.RANDOM:
            await self._checkpoint.drop_listing()
        if mark.listing_done or mark.cursor is None:
            self._monitor.begin_pass()
        await self._admit(self._preparing.ahead(self._producer.listing(mark.cursor)))
        if self._ending.is_requested:
            return
        await self._monitor.wait_settled()
        self._monitor.end_pass(self._producer.trailing_listed, self._producer.trailing_skipped)
        await self._journal.flush()
        self._ending.request(StopReason.COMPLETED)

    # -- One by one ----------------------------------------------------------------------------------------------------

    async def _admit(self, batches: AsyncIterator[list[Passage]]) -> None:
        send, receive = anyio.create_memory_object_stream[Batch](self._preparing.buffered_batches)
        self._tasks.start_soon(self._produce, batches, send)
        async with receive:
            async for batch in receive:
                self._twins.begin(batch)
                for passage in batch.passages:
                    if not self._monitor.has_room:
                        await self._monitor.wait_room()
                    if self._monitor.may_be_last and not passage.is_seated:
                        await self._monitor.wait_judged()
                    if passage.replaces is not None:
                        passage.replaced_effect, passage.replaced_stale = self._replay.counted(passage.replaces)
                    if passage.stored is not None:
                        self._admit_known(passage, passage.stored)
                    else:
                        await self._admit_new(passage)

    async def _produce(self, batches: AsyncIterator[list[Passage]], send: ObjectSendStream[Batch]) -> None:
        async with send:
            try:
                async for passages in batches:
                    await send.send(await self._twins.look_up(passages))
            except (anyio.BrokenResourceError, DrainedError):
                return  # the run drains: nobody takes any more
            except AsyncFilterError as error:
                self._ending.request(StopReason.FAILED, error)
            except Exception as error:  # noqa: BLE001  a foreign source may raise anything; what is paid must be kept
                wrapped = AsyncFilterError(f"the source raised {type(error).__name__}: {error}")
                wrapped.__cause__ = error
                self._ending.request(StopReason.FAILED, wrapped)

    def _admit_known(self, passage: Passage, stored: StoredImage) -> None:
        is_retry = stored.id != passage.row_id
        passage.same_as = stored.same_as
        passage.is_skipped = self._job.source.skip_duplicates and stored.same_as is not None
        passage.decision, failure, _ = self._replay.decide(stored)
        passage.failure = None if is_retry else failure
        self._monitor.admit(passage)
        if not passage.is_seated:
            self._totals.from_checkpoint += 1
            self._twins.lead(passage)
        is_changed = (passage.decision, passage.failure) != (stored.decision, stored.failure)
        if self._options.dry_run or (passage.is_seated and not is_changed):
            self._journal.ready(passage)
        else:
            passage.detection = stored.detection if is_retry else None
            self._journal.record(passage)

    async def _admit_new(self, passage: Passage) -> None:
        if not await self._preparing.is_wanted(passage):
            self._monitor.admit(passage)
            self._journal.record(passage)
            return
        if await self._twins.follow(passage):
            self._monitor.admit(passage)
            return
        await self._pool.wait_room()
        reservation = await self._purse.reserve(passage.image.seq)
        if reservation is None:
            await self._monitor.wait_judged()
            self._ending.request(StopReason.BUDGET)
            await self._leave()
            return
        has_turn = False
        try:
            has_turn = await self._limiter.acquire()
        finally:
            if not has_turn:
                self._purse.settle(reservation, billed=False)
        if not has_turn:
            await self._leave()
            return
        passage.reservation = reservation
        self._monitor.admit(passage)
        self._pool.submit(passage)

    async def _leave(self) -> None:
        """The end was requested, which cancels the scope this runs in: let that happen before another image comes."""
        await anyio.sleep_forever()
