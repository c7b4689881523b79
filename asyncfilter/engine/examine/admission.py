"""Admission: images enter the engine in the order of examination, each with everything that its call needs.

Invariants:

- Money is reserved in that order, so that the images that a budget pays for are a prefix of it; and only while what is
  left covers one more attempt of every image in flight, so that a budget stop strands nothing.
- Once a stop is certain, nothing more is admitted.
- A worker is free before money is reserved, so that no image that holds money waits for a worker that waits for money.
- The permit comes last, so that the attempt is sent immediately.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import msgspec
from anyio.abc import ObjectSendStream, TaskGroup

from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.month_watch import MonthWatch
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.retry import DrainedError
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.examine.duplicates import DuplicateTracker, LookedUp
from asyncfilter.engine.examine.empty_listing import EmptyListing
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.engine.examine.prefetch import PrefetchStage
from asyncfilter.engine.examine.producer import Producer
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.redecide import Redecider
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.take_over import TakeOver
from asyncfilter.errors import AsyncFilterError, unexpected
from asyncfilter.job.spec import Job, Order
from asyncfilter.model import StopReason
from asyncfilter.policy.empty_listing import NothingToExamineError
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Totals


class Admission:
    """Admits all images: those that newer answers are about, redecided ones, failed ones, and those of the listing."""

    def __init__(
        self,
        *,
        job: Job,
        options: Options,
        producer: Producer,
        prefetch: PrefetchStage,
        listing: ListingStore,
        origin: str,
        is_ranged: bool,
        outcomes: Outcomes,
        redecider: Redecider,
        take_over: TakeOver,
        sequencer: Sequencer,
        committer: GroupCommitter,
        loop: SettleLoop,
        pending: PendingSignal,
        pool: WorkerPool[WorkItem],
        budget_gate: BudgetGate,
        month_watch: MonthWatch,
        backends: Backends,
        duplicates: DuplicateTracker,
        empty_listing: EmptyListing,
        totals: Totals,
        stop_signal: StopSignal,
    ) -> None:
        self._job = job
        self._options = options
        self._producer = producer
        self._prefetch = prefetch
        self._listing = listing
        self._origin = origin
        self._is_ranged = is_ranged
        self._outcomes = outcomes
        self._redecider = redecider
        self._take_over = take_over
        self._sequencer = sequencer
        self._committer = committer
        self._loop = loop
        self._pending = pending
        self._pool = pool
        self._budget_gate = budget_gate
        self._month_watch = month_watch
        self._backends = backends
        self._duplicates = duplicates
        self._empty_listing = empty_listing
        self._totals = totals
        self._stop_signal = stop_signal

    async def run(self, tasks: TaskGroup) -> None:
        """Admit until nothing is left, with producers in ``tasks``; cancelled when the run ends earlier."""
        await self._take_over.begin()
        await self._redecider.run()
        await self._take_over.record()
        if self._options.retry_failed:
            self._sequencer.restart_error_window()
        # A rule may hold at the stored position already; then no image is admitted.
        stop = self._sequencer.due_stop()
        if stop is not None:
            self._stop_signal.request(stop.reason, stop.cause)
            return
        if self._options.retry_failed:
            retries = self._producer.retries(self._sequencer.watermark.seq)
            await self._admit(self._prefetch.ahead(retries), tasks)
        await self._list(tasks)

    # -- The listing ---------------------------------------------------------------------------------------------------

    async def _list(self, tasks: TaskGroup) -> None:
        await self._sequencer.wait_settled()
        await self._loop.flush()  # replaced rows must have lost their positions before keys are looked up
        mark = self._sequencer.watermark
        if mark.listing_done and not self._origin and await self._is_stored():
            # The stored listing is used up: a new pass has to see new and changed objects.
            await self._listing.drop_listing()
        if mark.listing_done or mark.cursor is None or mark.origin != self._origin:
            self._sequencer.begin_pass(self._origin)
        await self._admit(self._prefetch.ahead(self._producer.listing(mark.cursor)), tasks)
        if self._stop_signal.is_requested:
            return
        self._loop.hurry()
        await self._sequencer.wait_settled()
        self._sequencer.end_pass(self._producer.trailing_listed, self._producer.trailing_skipped)
        # `end_pass` changed the watermark outside of a round, and no other change may follow that would write it.
        self._pending.set()
        await self._loop.flush()
        if self._producer.has_stored_none:
            tally = self._sequencer.watermark.tally
            found = await self._empty_listing.explain(tally.listed, tally.skipped, self._producer.skipped_keys)
            self._stop_signal.request(StopReason.NOTHING_TO_EXAMINE, NothingToExamineError(found))
        self._stop_signal.request(StopReason.COMPLETED)

    async def _is_stored(self) -> bool:
        """Whether the checkpoint has a listing of the store, also one of a run with ranges before this one."""
        is_used = self._is_ranged or self._job.source.order is Order.RANDOM
        return is_used or await self._listing.listing_ranges() is not None

    # -- One by one ----------------------------------------------------------------------------------------------------

    async def _admit(self, batches: AsyncIterator[list[WorkItem]], tasks: TaskGroup) -> None:
        send, receive = anyio.create_memory_object_stream[LookedUp](self._prefetch.buffered_batches)
        tasks.start_soon(self._produce, batches, send)
        async with receive:
            async for batch in receive:
                self._duplicates.begin(batch)
                for item in batch.items:
                    if not self._sequencer.has_room:
                        await self._sequencer.wait_room()
                    # An admitted image may turn out not to count, as a duplicate: only then may the next one be
                    # admitted.
                    if self._sequencer.may_be_last:
                        await self._sequencer.wait_judged()
                    if item.replaces is not None:
                        replaced = self._outcomes.as_stored(item.replaces)
                        item.replaced_effect, item.replaced_stale = replaced.counted, len(replaced.stale)
                        self._sequencer.certain_stop.replace(item.replaces.decision)
                    if item.stored is not None:
                        self._admit_known(item, item.stored)
                    else:
                        await self._admit_new(item)

    async def _produce(self, batches: AsyncIterator[list[WorkItem]], send: ObjectSendStream[LookedUp]) -> None:
        async with send:
            try:
                async for items in batches:
                    await send.send(await self._duplicates.look_up(items))
            except (anyio.BrokenResourceError, DrainedError):
                return  # the run drains: no further batch is admitted
            except AsyncFilterError as error:
                self._stop_signal.request(StopReason.FAILED, error)
            except Exception as error:  # noqa: BLE001  a source may raise anything; what is paid must be kept
                self._stop_signal.request(StopReason.FAILED, unexpected(error, "the source"))

    def _admit_known(self, item: WorkItem, stored: StoredImage) -> None:
        item.take_outcome(stored, self._outcomes.of(msgspec.structs.replace(stored, answer=item.answer)))
        if item.is_new:
            item.failure = None  # what failed is tried again
        self._sequencer.admit(item)
        self._totals.from_checkpoint += 1
        self._duplicates.add_leader(item)
        if self._options.dry_run:
            self._committer.ready(item)
        else:
            # A new row needs its own copy of the labels; an existing row has them and gets a position only.
            item.detection = stored.detection if item.is_new else None
            self._committer.record(item)

    async def _admit_new(self, item: WorkItem) -> None:
        if not await self._prefetch.is_wanted(item):
            self._sequencer.admit(item)
            self._committer.record(item)
            return
        # Before worker, money and permit: a duplicate needs none of them.
        if await self._duplicates.try_follow(item):
            self._sequencer.admit(item)
            return
        await self._pool.wait_room()
        await self._admit_paid(item)

    async def _admit_paid(self, item: WorkItem) -> None:
        """Admit an image that a worker is free for, once there is money and a permit."""
        reservation = await self._budget_gate.reserve(item.image.seq)
        if reservation is None:
            # An image before this one may meet a stop rule, which is then the reason.
            await self._sequencer.wait_judged()
            self._stop_signal.request(StopReason.BUDGET)
            await self._wait_cancelled()
            return
        backend = None
        try:
            backend = await self._backends.acquire()
            # A stop may have become certain meanwhile.
            if self._sequencer.certain_stop.last_seq is not None:
                backend = None
        finally:
            # Also when this task is cancelled while it waits: the money is released in any case.
            if backend is None:
                self._budget_gate.settle(reservation, billed=False)
        if backend is None:
            await self._wait_cancelled()
            return
        if not self._month_watch.is_current(reservation):
            # Its month ended while the image waited, and with it its price.
            self._budget_gate.settle(reservation, billed=False)
            await self._admit_paid(item)
            return
        # No await from here on: the attempt is sent at once, and the image has its position before an outcome can
        # arrive.
        item.reservation, item.backend = reservation, backend
        self._budget_gate.enter(item.image.seq)
        self._sequencer.admit(item)
        self._pool.submit(item)

    async def _wait_cancelled(self) -> None:
        """Wait until the requested end cancels this scope, so that no further image is admitted."""
        await anyio.sleep_forever()
