"""The pipeline: the one task group of a run. It assembles the parts, admits images in order, and brings all to an end.

The way of one image:

1. ``producer`` finds it in the listing; free checks are made, and the checkpoint is asked what it knows.
2. ``admission`` takes it in order. Known labels cost nothing. Otherwise it waits for a worker, for money, for its turn.
3. ``call`` examines it and settles the money.
4. ``journal`` makes the response durable.
5. ``monitor`` counts it in order, applies the stop rules and releases it.
6. ``actions`` carries out what follows from its verdict.
7. ``journal`` keeps that it is done; the watermark moves behind it.

Draining is the same whatever the reason: admission ends, calls in flight finish and are kept, released actions finish
unless the run leaves in haste, the last figures become durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import anyio
import msgspec

from asyncfilter.clock import Clock, SystemClock
from asyncfilter.engine.actions import Actions
from asyncfilter.engine.admission import Admission
from asyncfilter.engine.call import PaidCalls
from asyncfilter.engine.census import Census
from asyncfilter.engine.ending import Ending, Interrupt
from asyncfilter.engine.journal import Journal
from asyncfilter.engine.limiter import RateLimiter
from asyncfilter.engine.monitor import Monitor
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.preparing import Preparing
from asyncfilter.engine.producer import Producer
from asyncfilter.engine.purse import Purse
from asyncfilter.engine.repeating import Repeater
from asyncfilter.engine.supervisor import Supervisor
from asyncfilter.engine.twins import Twins
from asyncfilter.engine.way import Options, Way
from asyncfilter.errors import AbortedError, AsyncFilterError
from asyncfilter.events import Cautioned, Draining, Emit, Event, RunEnded, RunStarted, ignore
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, StopReason, Summary
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.cautions import cautions
from asyncfilter.policy.counts import counts, exit_code
from asyncfilter.policy.effects import Effects as Plan
from asyncfilter.policy.rate import RateController
from asyncfilter.policy.removal import condemnation
from asyncfilter.policy.retrying import CAP_S, PACED_CAP_S
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports import Checkpoint, Sink, Totals, Watermark

GRANT_S = 0.1
"""Possible spending is made durable for the calls of this time ahead; a killed run counts as much as spent in vain."""

LEAST_GRANT_CALLS = 4

ACTIONS_AT_ONCE = 64
"""Copies under way at the most; at 100 ms each that is 640 a second, and S3 takes 3,500 (S3 guide, *Performance*)."""


class Pipeline:
    """One run.

    Args:
        job: What to do.
        run_id: Names the run in the checkpoint's history.
        checkpoint: Open, and held by this run.
        sink: Carries out actions.
        way: Source, detector and their limits.
        options: What was asked of this run.
        interrupt: The user's wish to leave.
        emit: Told of everything that happens.
        clock: Time.
        rng: Draws the jitter of repetitions.
        since: The sums before this run, where it paid for something before the pipeline began.
    """

    def __init__(
        self,
        job: Job,
        *,
        run_id: str,
        checkpoint: Checkpoint,
        sink: Sink,
        way: Way,
        options: Options | None = None,
        interrupt: Interrupt | None = None,
        emit: Emit = ignore,
        clock: Clock | None = None,
        rng: Random | None = None,
        since: Totals | None = None,
    ) -> None:
        self._job = job
        self._run_id = run_id
        self._checkpoint = checkpoint
        self._sink = sink
        self._way = way
        self._options = options or Options()
        self._interrupt = interrupt or Interrupt()
        self._listener = emit
        self._clock = clock or SystemClock()
        self._rng = rng or Random()
        self._opened = checkpoint.opened
        self._since = since or self._opened.totals
        self._totals = msgspec.structs.replace(self._opened.totals)
        self._ending = Ending()
        self._started_s = self._clock.monotonic()
        self._budget = Budget(
            limit_micros=job.limits.budget_micros,
            spent_micros=self._totals.spent_micros,
            billed_calls=self._totals.billed_calls,
            price_micros=way.price_micros,
        )
        self._controller = RateController(way.limit_tps)
        self._limiter = RateLimiter(self._controller, self._clock)
        self._purse = Purse(self._budget, lambda: self._journal.touch())  # noqa: PLW0108  made below
        self._journal = Journal(
            checkpoint=checkpoint,
            purse=self._purse,
            totals=self._totals,
            block_micros=self._block_micros,
            advance=lambda: self._monitor.advance(),  # noqa: PLW0108  made below
            watermark=lambda: self._monitor.watermark,
            ending=self._ending,
            clock=self._clock,
        )
        self._journal.keeps_place = not self._options.dry_run
        self._monitor = Monitor(
            watermark=_own(self._opened.watermark),
            stop=job.stop,
            limits=job.limits,
            plan=None if self._options.dry_run else Plan(job),
            checkpoint=checkpoint,
            journal=self._journal,
            release=lambda passage, effect: self._actions.submit(passage, effect),  # noqa: PLW0108  made below
            ending=self._ending,
            emit=self._emit,
            clock=self._clock,
        )
        self._actions = Actions(
            sink=sink,
            limit=ACTIONS_AT_ONCE,
            repeat=self._repeater(self._ending.pause_action),
            acted=self._monitor.acted,
            failed=self._monitor.failed,
            ending=self._ending,
            emit=self._emit,
            clock=self._clock,
        )
        self._examined_before = self._opened.watermark.tally.examined
        self._census = Census(source=way.source, check=way.check, repeat=self._repeater(self._ending.pause))
        self._supervisor = Supervisor(
            controller=self._controller,
            budget=self._budget,
            hourly_micros=way.hourly_micros,
            margin_s=job.limits.timeout_s,
            ending=self._ending,
            emit=self._emit,
            clock=self._clock,
        )
        self._preparing = Preparing(
            preparation=way.preparation, repeat=self._repeater(self._ending.pause), ending=self._ending
        )
        self._twins = Twins(
            checkpoint=checkpoint,
            rules=compile_rules(job),
            journal=self._journal,
            budget=self._budget,
            totals=self._totals,
            skips=job.source.skip_duplicates,
            pass_seq=lambda: self._monitor.watermark.pass_seq,
            submit=lambda passage: self._pool.submit(passage),  # noqa: PLW0108  made below
            dismiss=self._preparing.shelf.clear,
        )
        self._pool = WorkerPool(self._calls().examine, way.concurrency)

    async def run(self) -> Summary:
        """Run to the end, whatever it is.

        Returns:
            The summary; ``exit_code`` says whether the run did what it should.

        Raises:
            AbortedError: Interrupted twice; what is durable stays.
            CheckpointError: The checkpoint cannot be written.
        """
        await self._checkpoint.begin_run(self._run_id, self._clock.unix())
        self._tell_start()
        async with anyio.create_task_group() as tasks:
            self._pool.start(tasks)
            self._preparing.start(tasks)
            self._actions.pool.start(tasks)
            admission = self._admission()
            tasks.start_soon(self._journal.run)
            tasks.start_soon(self._supervisor.run)
            if self._options.counts_ahead and not self._opened.watermark.listing_done:
                tasks.start_soon(self._census.count, self._opened.watermark.cursor)
            tasks.start_soon(self._obey, tasks.cancel_scope)
            with anyio.CancelScope() as scope:
                self._ending.on_request(scope.cancel)
                await admission.run(tasks)
            await self._drain(admission)
            tasks.cancel_scope.cancel()
        if self._interrupt.abort.is_set():
            raise AbortedError("aborted: what was in flight counts as spent", hint="Run the same command to go on.")
        return await self._finish()

    def progress(self) -> Progress:
        """How the run stands at this moment, also before ``run`` was entered and after it ended."""
        statistics = self._limiter.statistics()
        monitor, totals = self._monitor, self._sums()
        overshoot = monitor.overshoot if self._ending.is_requested else 0
        return Progress(
            counts=counts(monitor.watermark.tally, totals, overshoot=overshoot),
            this_run=counts(monitor.this_run, totals, overshoot=overshoot, since=self._since),
            rate_tps=float(statistics.attempts_last_s),
            allowed_tps=statistics.rate_tps,
            limit_tps=statistics.limit_tps or statistics.rate_tps,
            in_flight=self._pool.in_flight,
            actions=self._actions.pool.unfinished,
            ending=self._ending.reason,
            expected=None if self._census.images is None else self._examined_before + self._census.images,
            listing_done=monitor.watermark.listing_done,
            budget_micros=self._job.limits.budget_micros,
            price_micros=self._budget.next_price_micros,
            elapsed_s=self._clock.monotonic() - self._started_s,
        )

    # -- Assembly ------------------------------------------------------------------------------------------------------

    def _calls(self) -> PaidCalls:
        return PaidCalls(
            detector=self._way.detector,
            rules=compile_rules(self._job),
            purse=self._purse,
            limiter=self._limiter,
            journal=self._journal,
            shelf=self._preparing.shelf,
            repeat=self._repeater(self._ending.pause, PACED_CAP_S),
            totals=self._totals,
            examined=self._twins.examined,
            ending=self._ending,
            emit=self._emit,
            clock=self._clock,
        )

    def _admission(self) -> Admission:
        producer = Producer(
            source=self._way.source,
            checkpoint=self._checkpoint,
            bucket=self._job.source.bucket,
            check=self._way.check,
            repeat=self._repeater(self._ending.pause),
            skips_duplicates=self._job.source.skip_duplicates,
            retry_failed=self._options.retry_failed,
            next_seq=self._opened.watermark.seq + 1,
            next_id=self._opened.next_id,
        )
        return Admission(
            job=self._job,
            options=self._options,
            producer=producer,
            preparing=self._preparing,
            checkpoint=self._checkpoint,
            monitor=self._monitor,
            journal=self._journal,
            pool=self._pool,
            purse=self._purse,
            limiter=self._limiter,
            twins=self._twins,
            totals=self._totals,
            ending=self._ending,
            emit=self._emit,
            clock=self._clock,
        )

    def _emit(self, event: Event) -> None:
        """Tell the listener; one that fails ends the run in order, because what it was to keep is missing now."""
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001  whatever a listener raises, what is paid must be kept
            self._listener = ignore
            wrapped = AsyncFilterError(f"a listener to events raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._ending.request(StopReason.FAILED, wrapped)

    def _repeater(self, pause: Callable[[float], Awaitable[bool]], throttle_cap_s: float = CAP_S) -> Repeater:
        attempts = self._job.limits.max_attempts
        return Repeater(max_attempts=attempts, pause=pause, rng=self._rng, throttle_cap_s=throttle_cap_s)

    def _block_micros(self) -> int:
        calls = max(LEAST_GRANT_CALLS, round(self._controller.rate_tps(self._clock.monotonic()) * GRANT_S))
        return calls * self._budget.next_price_micros + self._supervisor.block_micros

    # -- The end -------------------------------------------------------------------------------------------------------

    async def _obey(self, scope: anyio.CancelScope) -> None:
        """Drain when the user asks to leave; abort when asked again."""
        await self._interrupt.drain.wait()
        self._ending.request(self._interrupt.reason)
        await self._interrupt.abort.wait()
        scope.cancel()

    async def _drain(self, admission: Admission) -> None:
        self._tell_end()
        self._limiter.close()
        self._purse.close()
        await self._pool.wait_done()
        await self._journal.flush()
        if self._ending.is_hasty:
            self._actions.pool.abandon()
        await self._actions.pool.wait_done()
        await self._journal.flush()
        await admission.finish_replay()

    async def _finish(self) -> Summary:
        """Make the last figures durable and put the summary together."""
        self._supervisor.settle()
        await self._journal.close()
        kept = self._opened.watermark if self._options.dry_run else self._monitor.watermark
        await self._checkpoint.unseat_after(kept.seq)
        overshoot = self._monitor.overshoot if self._options.dry_run else await self._checkpoint.overshoot()
        summary = self._summary(overshoot, await self._pending_removals())
        await self._checkpoint.end_run(self._run_id, self._clock.unix(), summary.stop_reason, summary.counts)
        self._emit(RunEnded(at_unix_s=self._clock.unix(), summary=summary))
        return summary

    async def _pending_removals(self) -> int:
        which = condemnation(self._job, decided_by(self._job))
        return 0 if which.is_empty or self._options.dry_run else await self._checkpoint.count_condemned(which)

    def _summary(self, overshoot: int, pending_removals: int) -> Summary:
        reason, error = self._ending.reason or StopReason.COMPLETED, self._ending.error
        life = counts(self._monitor.watermark.tally, self._sums(), overshoot=overshoot)
        this_run = counts(self._monitor.this_run, self._sums(), overshoot=self._monitor.overshoot, since=self._since)
        wall_s = self._clock.monotonic() - self._started_s
        return Summary(
            run_id=self._run_id,
            name=self._job.name,
            stop_reason=reason,
            counts=life,
            this_run=this_run,
            budget_micros=self._job.limits.budget_micros,
            tps_mean=this_run.attempts / wall_s if wall_s > 0 else 0.0,
            tps_limit=self._way.limit_tps,
            wall_s=wall_s,
            resumed=not self._opened.is_new,
            checkpoint=self._checkpoint.location,
            error=error.message if error is not None else None,
            hint=error.hint if error is not None else None,
            exit_code=exit_code(reason, error, any_failed=bool(life.failed)),
            pending_removals=pending_removals,
        )

    def _sums(self) -> Totals:
        budget = self._budget
        return msgspec.structs.replace(self._totals, spent_micros=budget.spent_micros, billed_calls=budget.billed_calls)

    def _tell_start(self) -> None:
        self._emit(
            RunStarted(
                at_unix_s=self._clock.unix(),
                run_id=self._run_id,
                name=self._job.name,
                checkpoint=self._checkpoint.location,
                resumed=not self._opened.is_new,
                listing_from=self._opened.watermark.cursor,
                tps_limit=self._way.limit_tps,
                tps_origin=self._way.tps_origin,
                budget_micros=self._job.limits.budget_micros,
                spent_micros=self._totals.spent_micros,
                dry_run=self._options.dry_run,
            )
        )
        for message in cautions(self._job):
            self._emit(Cautioned(at_unix_s=self._clock.unix(), message=message))

    def _tell_end(self) -> None:
        reason, error = self._ending.reason, self._ending.error
        if reason is not None:
            self._emit(
                Draining(
                    at_unix_s=self._clock.unix(),
                    reason=reason.value,
                    message=error.message if error is not None else None,
                    in_flight=self._pool.in_flight,
                )
            )


def _own(mark: Watermark) -> Watermark:
    return msgspec.structs.replace(mark, tally=mark.tally.copy())
