"""The parts that ``run`` and ``refilter`` have in common: each is made once, after the parts that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.lifecycle import RunLifecycle
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.name_watch import NameWatch
from asyncfilter.engine.settle.redecide import Redecider
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.run_summary import RunSummary
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.sink_stage import SinkStage
from asyncfilter.engine.settle.stored_decisions import StoredDecisions
from asyncfilter.engine.settle.take_over import TakeOver
from asyncfilter.engine.settle.target_claims import TargetClaims
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.certain_stop import CertainStop
from asyncfilter.policy.lane_counts import LaneState
from asyncfilter.ports.examine import Sink
from asyncfilter.records.progress import Totals, Watermark


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The settle loop and the parts around it."""

    committer: GroupCommitter
    sequencer: Sequencer
    loop: SettleLoop
    redecider: Redecider
    take_over: TakeOver
    summary: RunSummary
    lifecycle: RunLifecycle


def assemble_settlement(
    core: RunCore,
    *,
    sink: Sink,
    spending: SpendingRecord | None = None,
    budget: Budget | None = None,
    tps_limit: float | None = None,
    lanes: Callable[[], Mapping[str, LaneState]] | None = None,
    since: Totals | None = None,
) -> Settlement:
    """Make the parts that settle the outcomes of a run.

    Args:
        core: What all parts of the run share.
        sink: Carries out actions.
        spending: The money that is written with every commit; None where nothing is paid.
        budget: The money; None where nothing is paid.
        tps_limit: The rate that may be used, for the summary.
        lanes: Returns the lanes as they are, for the summary; None without lanes.
        since: The sums before this run, where it paid for something (reference images) before the pipeline began.
    """
    certain_stop = CertainStop(core.job.stop)
    committer = _committer(core, certain_stop, spending)
    sequencer = _sequencer(core, certain_stop)
    sink_stage = _sink_stage(core, sink, committer)
    loop = SettleLoop(
        committer=committer,
        sequencer=sequencer,
        sink_stage=sink_stage,
        pending=core.pending,
        stop_signal=core.stop_signal,
        clock=core.clock,
    )
    decisions = StoredDecisions(core.job, core.checkpoint, core.outcomes)
    redecider = Redecider(core, decisions=decisions, sequencer=sequencer, committer=committer, loop=loop)
    take_over = TakeOver(
        core, decisions=decisions, sequencer=sequencer, committer=committer, sink_stage=sink_stage, loop=loop
    )
    totals = since or core.checkpoint.opened.totals
    summary = RunSummary(core, sequencer=sequencer, since=totals, budget=budget, tps_limit=tps_limit, lanes=lanes)
    lifecycle = RunLifecycle(
        core,
        sequencer=sequencer,
        committer=committer,
        sink_stage=sink_stage,
        loop=loop,
        redecider=redecider,
        summary=summary,
        names=NameWatch(core, sequencer),
    )
    return Settlement(
        committer=committer,
        sequencer=sequencer,
        loop=loop,
        redecider=redecider,
        take_over=take_over,
        summary=summary,
        lifecycle=lifecycle,
    )


def _committer(core: RunCore, certain_stop: CertainStop, spending: SpendingRecord | None) -> GroupCommitter:
    committer = GroupCommitter(
        checkpoint=core.checkpoint,
        spending=spending,
        pending=core.pending,
        certain_stop=certain_stop,
        keeps_recorded=core.outcomes.effects.needs_hashes,
    )
    committer.writes_watermark = not core.options.dry_run
    return committer


def _sequencer(core: RunCore, certain_stop: CertainStop) -> Sequencer:
    opened = core.checkpoint.opened.watermark
    is_dry, effects = core.options.dry_run, core.outcomes.effects
    # Two objects can map to one target, or earlier runs wrote targets by other templates.
    needs_claims = not is_dry and (effects.needs_owners or bool(opened.tally.effects))
    return Sequencer(
        watermark=_own(opened),
        stop=core.job.stop,
        limits=core.job.limits,
        outcomes=None if is_dry else core.outcomes,
        claims=TargetClaims(core.checkpoint, is_active=needs_claims),
        certain_stop=certain_stop,
        emit=core.emit,
        clock=core.clock,
    )


def _sink_stage(core: RunCore, sink: Sink, committer: GroupCommitter) -> SinkStage:
    return SinkStage(
        sink=sink,
        committer=committer,
        repeat=core.repeater(core.stop_signal.pause_action),
        stop_signal=core.stop_signal,
        emit=core.emit,
        clock=core.clock,
        state=core.state if core.state is not None and core.state.is_authoritative else None,
    )


def _own(mark: Watermark) -> Watermark:
    return msgspec.structs.replace(mark, tally=mark.tally.copy())
