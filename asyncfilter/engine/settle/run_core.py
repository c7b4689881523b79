"""What all parts of one run share: the job, the checkpoint, the clock, and the signals between its tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asyncfilter.engine.core.cautions import Cautions
from asyncfilter.engine.core.listener import GuardedListener
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.retry import Repeater
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.stopping import Interrupt, StopSignal
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.job.spec import Job
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.retrying import CAP_S
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports.checkpoint import Checkpoint


class RunCore:
    """What all parts of one run share.

    Args:
        job: The job.
        context: The run's id, listener, clock and interrupt.
        checkpoint: Open, and locked by this run.
        options: The options of this run.

    Attributes:
        emit: The context's listener, guarded: the run ends when it raises.
        has_own_labels: See ``RunContext``.
        model: See ``RunContext``.
        answers: See ``RunContext``; a preview asks nobody.
        state: See ``RunContext``.
        workers: See ``RunContext``; ``workers_wanted`` too.
        cautions: Emits what is probably a mistake, and keeps it for the summary.
        outcomes: Compute the outcome of an image.
        stop_signal: Ends the run, and holds the reason.
        pending: Wakes the settle loop.
        totals: The sums that do not depend on order, such as calls; the budget counts the money.
    """

    def __init__(
        self,
        job: Job,
        *,
        context: RunContext,
        checkpoint: Checkpoint,
        options: Options,
    ) -> None:
        self.job = job
        self.run_id = context.run_id
        self.checkpoint = checkpoint
        self.options = options
        self.interrupt = context.interrupt or Interrupt()
        self.clock = context.clock
        self.has_own_labels = context.has_own_labels
        self.model = context.model
        self.answers = None if options.is_preview else context.answers
        self.state = context.state
        self.rng = context.rng
        self.workers = context.workers
        self.workers_wanted = context.workers_wanted
        self.outcomes = Outcomes(job, compile_rules(job))
        self.stop_signal = StopSignal()
        self.pending = PendingSignal()
        self.emit = GuardedListener(context.emit, self.stop_signal)
        self.cautions = Cautions(self.emit, self.clock)
        self.totals = checkpoint.opened.totals.copy()

    def repeater(self, pause: Callable[[float], Awaitable[bool]], throttle_cap_s: float = CAP_S) -> Repeater:
        """The job's retry policy, which waits by ``pause``."""
        attempts = self.job.limits.max_attempts
        return Repeater(max_attempts=attempts, pause=pause, rng=self.rng, throttle_cap_s=throttle_cap_s)
