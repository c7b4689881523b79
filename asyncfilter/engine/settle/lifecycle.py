"""The start and end of every run: its entry in the history, the user's interrupt, the drain and the last figures.

A drain has the same steps for every stop reason: what was recorded becomes durable, released actions finish unless the
run ends at once, the last figures become durable.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from anyio.abc import TaskGroup

from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.name_watch import NameWatch
from asyncfilter.engine.settle.redecide import Redecider
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.run_summary import RunSummary
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.sink_stage import SinkStage
from asyncfilter.errors import AbortedError, AnswersError, ExitCode
from asyncfilter.events import Draining, LaneTerms, RunEnded
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.model import AnswersState, Summary
from asyncfilter.policy.job_warnings import job_warnings
from asyncfilter.policy.removal_query import removal_query
from asyncfilter.ports.keeping import KeptState


class RunLifecycle:
    """Begins, drains and finishes a run, for ``run`` and ``refilter``.

    Args:
        core: What all parts of the run share.
        sequencer: Holds the settled position.
        committer: Writes the last figures.
        sink_stage: Finishes released actions.
        loop: Runs in a task of its own.
        redecider: Records, at the end, that the stored decisions are those of the job.
        summary: Makes the summary.
        names: Says which names in the rules are probably mistakes.
    """

    def __init__(
        self,
        core: RunCore,
        *,
        sequencer: Sequencer,
        committer: GroupCommitter,
        sink_stage: SinkStage,
        loop: SettleLoop,
        redecider: Redecider,
        summary: RunSummary,
        names: NameWatch,
    ) -> None:
        self._job = core.job
        self._run_id = core.run_id
        self._checkpoint = core.checkpoint
        self._options = core.options
        self._answers = core.answers
        self._state = core.state
        self._interrupt = core.interrupt
        self._stop_signal = core.stop_signal
        self._emit = core.emit
        self._cautions = core.cautions
        self._clock = core.clock
        self._sequencer = sequencer
        self._committer = committer
        self._sink_stage = sink_stage
        self._loop = loop
        self._redecider = redecider
        self._summary = summary
        self.names = names

    @property
    def actions(self) -> int:
        """Actions in flight or waiting."""
        return self._sink_stage.unfinished

    async def begin(self, *, tps_origin: str, warnings: Sequence[str] = (), lanes: Sequence[LaneTerms] = ()) -> None:
        """Write the run to the history, and emit its first event and the cautions about the job.

        A run ahead of the job's own says none: the command that makes it says them before it asks for consent.

        Args:
            tps_origin: The origin of the rate, as text for people.
            warnings: Further warnings.
            lanes: The lanes of the run.
        """
        await self._checkpoint.begin_run(self._run_id, self._clock.unix())
        self._emit(self._summary.started(tps_origin=tps_origin, lanes=lanes))
        if self._state is not None:
            self._state.emit_to(self._emit)
        if not self._options.is_preview:
            for message in (*job_warnings(self._job), *warnings):
                self._cautions.say(message)
        await self.names.begin()

    def start(self, tasks: TaskGroup) -> None:
        """Start the settle loop, the sink's workers, and the task that waits for the interrupt, in ``tasks``."""
        self._sink_stage.start(tasks)
        tasks.start_soon(self._loop.run)
        if self._state is not None:
            tasks.start_soon(self._stop_signal.follow_state, self._state)
        tasks.start_soon(self._stop_signal.follow, self._interrupt, tasks.cancel_scope)

    def report_drain(self, in_flight: int) -> None:
        """Emit the reason of the drain, and the number of calls in flight."""
        reason, error = self._stop_signal.reason, self._stop_signal.error
        if reason is not None:
            self._emit(
                Draining(
                    at_unix_s=self._clock.unix(),
                    reason=reason.value,
                    message=error.message if error is not None else None,
                    in_flight=in_flight,
                )
            )

    async def drain(self) -> None:
        """Return when all records are durable and released actions are finished; no call may be in flight."""
        # Durable outcomes release actions, and finished actions are recorded in turn: so a flush before and after.
        await self._loop.flush()
        await self._sink_stage.drain()
        await self._loop.flush()
        await self._redecider.finish()

    def caution(self, message: str) -> None:
        """Say a sentence about something that stops no run; the summary has it, too."""
        self._cautions.say(message)

    def check_aborted(self) -> None:
        """Raise when the user aborted the run.

        Raises:
            AbortedError: What is durable stays.
        """
        if self._interrupt.abort.is_set():
            raise AbortedError("aborted: what was in flight counts as spent", hint="Run the same command to go on.")

    async def finish(self) -> Summary:
        """Write the last figures, and emit and return the summary.

        Raises:
            CheckpointError: The checkpoint cannot be written.
        """
        is_dry, sequencer = self._options.dry_run, self._sequencer
        await self._committer.close(sequencer.watermark)
        await self.names.finish()
        # A dry run keeps the labels that it paid for, but none of its positions.
        kept = self._checkpoint.opened.watermark if is_dry else sequencer.watermark
        await self._checkpoint.drop_positions_after(kept.seq)
        overshoot = sequencer.overshoot if is_dry else await self._checkpoint.overshoot()
        summary = self._summary.summary(
            overshoot=overshoot, pending_removals=await self._pending_removals(), answers=await self._answers_state()
        )
        await self._checkpoint.end_run(self._run_id, self._clock.unix(), summary.stop_reason, summary.counts)
        if self._state is not None:
            summary = await self._committed(self._state, summary)
        self._emit(RunEnded(at_unix_s=self._clock.unix(), summary=summary))
        return summary

    async def _committed(self, state: KeptState, summary: Summary) -> Summary:
        """The summary once everything in it is committed; a caution says why, where something is not."""
        left = await state.flush()
        found, code = await state.summary(), summary.exit_code
        if found.behind_rows and left is not None:
            self._cautions.say(f"{found.behind_rows:,} rows are not in {found.uri} yet: {left}")
            if state.is_authoritative and code in {ExitCode.OK, ExitCode.SOME_FAILED}:
                code = ExitCode.INTERRUPTED
        state.emit_to(None)
        return msgspec.structs.replace(summary, state=found, cautions=self._cautions.said, exit_code=code)

    async def _answers_state(self) -> AnswersState | None:
        try:
            return await self._answers.state() if self._answers is not None else None
        except AnswersError as error:
            self._cautions.say(f"{error.message}: how many answers wait is not known")
            return None

    async def _pending_removals(self) -> int:
        which = removal_query(self._job, decided_by(self._job))
        return 0 if which.is_empty or self._options.dry_run else await self._checkpoint.count_pending_removals(which)
