"""The parts that ``run`` and ``refilter`` have in common: each is made once, after those that it uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.actions import SinkStage
from asyncfilter.engine.core.listener import GuardedListener
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.ending import Ending, Interrupt
from asyncfilter.engine.journal import GroupCommitter
from asyncfilter.engine.monitor import Sequencer
from asyncfilter.engine.repeating import Repeater
from asyncfilter.engine.settle.lifecycle import RunLifecycle
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.redecide import Redecider
from asyncfilter.engine.settle.run_summary import RunSummary
from asyncfilter.engine.settle.stored_decisions import StoredDecisions
from asyncfilter.engine.settle.target_claims import TargetClaims
from asyncfilter.engine.way import Options
from asyncfilter.events import Emit
from asyncfilter.job.spec import Job
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.retrying import CAP_S
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports import Checkpoint, Sink, Totals, Watermark


class RunCore:
    """What all parts of one run share.

    Args:
        job: What is done.
        run_id: Names the run in the checkpoint's history.
        checkpoint: Open, and held by this run.
        options: What was asked of this run.
        interrupt: The user's wish to end it.
        emit: Told of everything that happens.
        clock: Time.
        rng: Draws the jitter of retries.

    Attributes:
        emit: As given, guarded: a listener that raises ends the run.
        outcomes: Say what an image comes to.
        ending: Why the run ends.
        pending: Wakes the settle loop.
        totals: The sums that are counted in no order; money apart.
    """

    def __init__(
        self,
        job: Job,
        *,
        run_id: str,
        checkpoint: Checkpoint,
        options: Options,
        interrupt: Interrupt,
        emit: Emit,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.job = job
        self.run_id = run_id
        self.checkpoint = checkpoint
        self.options = options
        self.interrupt = interrupt
        self.clock = clock
        self.rng = rng
        self.outcomes = Outcomes(job, compile_rules(job))
        self.ending = Ending()
        self.pending = PendingSignal()
        self.emit = GuardedListener(emit, self.ending)
        self.totals = msgspec.structs.replace(checkpoint.opened.totals)

    def repeater(self, pause: Callable[[float], Awaitable[bool]], throttle_cap_s: float = CAP_S) -> Repeater:
        """The job's retry policy, which waits by ``pause``."""
        attempts = self.job.limits.max_attempts
        return Repeater(max_attempts=attempts, pause=pause, rng=self.rng, throttle_cap_s=throttle_cap_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The settle loop with everything around it."""

    committer: GroupCommitter
    sequencer: Sequencer
    loop: SettleLoop
    redecider: Redecider
    summary: RunSummary
    lifecycle: RunLifecycle


def assemble_settlement(
    core: RunCore,
    *,
    sink: Sink,
    spending: SpendingRecord | None = None,
    budget: Budget | None = None,
    tps_limit: float | None = None,
    since: Totals | None = None,
) -> Settlement:
    """Make the parts that settle what a run finds.

    Args:
        core: What the run's parts share.
        sink: Carries out actions.
        spending: The money that goes with every commit; None where nothing is paid.
        budget: The money; None where nothing is paid.
        tps_limit: The rate that may be used, for the summary.
        since: The sums before this run, where it paid for something before the pipeline began.
    """
    job, checkpoint, ending, emit, clock = core.job, core.checkpoint, core.ending, core.emit, core.clock
    is_dry, opened = core.options.dry_run, checkpoint.opened
    committer = GroupCommitter(checkpoint=checkpoint, spending=spending, pending=core.pending)
    committer.writes_watermark = not is_dry
    sequencer = _sequencer(core)
    sink_stage = SinkStage(
        sink=sink,
        committer=committer,
        repeat=core.repeater(ending.pause_action),
        ending=ending,
        emit=emit,
        clock=clock,
    )
    loop = SettleLoop(
        committer=committer,
        sequencer=sequencer,
        sink_stage=sink_stage,
        pending=core.pending,
        ending=ending,
        clock=clock,
    )
    decisions = StoredDecisions(job, checkpoint, core.outcomes)
    redecider = Redecider(
        job,
        checkpoint=checkpoint,
        decisions=decisions,
        outcomes=core.outcomes,
        sequencer=sequencer,
        committer=committer,
        loop=loop,
        ending=ending,
        emit=emit,
        clock=clock,
        dry_run=is_dry,
    )
    summary = RunSummary(
        job,
        run_id=core.run_id,
        checkpoint=checkpoint,
        sequencer=sequencer,
        ending=ending,
        clock=clock,
        since=since or opened.totals,
        totals=core.totals,
        budget=budget,
        tps_limit=tps_limit,
    )
    lifecycle = RunLifecycle(
        job,
        run_id=core.run_id,
        checkpoint=checkpoint,
        options=core.options,
        interrupt=core.interrupt,
        sequencer=sequencer,
        committer=committer,
        sink_stage=sink_stage,
        loop=loop,
        redecider=redecider,
        summary=summary,
        ending=ending,
        emit=emit,
        clock=clock,
    )
    return Settlement(
        committer=committer,
        sequencer=sequencer,
        loop=loop,
        redecider=redecider,
        summary=summary,
        lifecycle=lifecycle,
    )


def _sequencer(core: RunCore) -> Sequencer:
    opened = core.checkpoint.opened.watermark
    is_dry, effects = core.options.dry_run, core.outcomes.effects
    # Two objects could map to one target now, or what earlier runs wrote lies where other templates had it.
    needs_claims = not is_dry and (effects.needs_owners or bool(opened.tally.effects))
    return Sequencer(
        watermark=_own(opened),
        stop=core.job.stop,
        limits=core.job.limits,
        outcomes=None if is_dry else core.outcomes,
        claims=TargetClaims(core.checkpoint, is_active=needs_claims),
        emit=core.emit,
        clock=core.clock,
    )


def _own(mark: Watermark) -> Watermark:
    return msgspec.structs.replace(mark, tally=mark.tally.copy())
