"""The model of a run: what is over is stopped first; with ``detector.start`` the run starts its model and stops it.

The lease is owned by the run: whatever ends the process, its watcher or the next command stops the model.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from asyncfilter.custom_labels.lease import Lease
from asyncfilter.custom_labels.lease_table import Leases, Wish
from asyncfilter.custom_labels.processes import Host, ThisHost
from asyncfilter.custom_labels.reaper import Reaper
from asyncfilter.custom_labels.starting import Starter
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import AsyncFilterError, LeaseError, WaitEndedError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import Aws, Job, ModelStart
from asyncfilter.wiring.leases import open_lease, open_leases, profile_of, reached, stop_due
from asyncfilter.wiring.model_use import ModelUse
from asyncfilter.wiring.models import open_models
from asyncfilter.wiring.watcher import start_watcher

BUDGET = "BUDGET_TOO_SMALL"


async def hold_model(job: Job, use: ModelUse, unit_hour_micros: int) -> RunModel | None:
    """Start the job's model for a run, and wait until it runs; every model whose lease is over is stopped first.

    Args:
        job: Has a model.
        use: The run.
        unit_hour_micros: The price of a unit for an hour.

    Returns:
        The model; None when the job does not start it, or when it runs without a lease of ours and is left running.

    Raises:
        RefusedError: The model cannot be started.
        LedgerError: The ledger cannot be used; nothing was started.
        AccessError: The service cannot be asked.
    """
    for failure in await stop_due(use.tell):
        use.tell(f"could not stop {failure.lease.arn}, which may go on costing money: {failure.error.message}")
    if job.detector.start is None:
        return None
    async with AsyncExitStack() as stack:
        leases = stack.enter_context(open_leases())
        held = await _start(job, job.detector.start, use, leases, unit_hour_micros)
        if held is not None:
            held.keep(stack.pop_all())
        return held


async def _start(job: Job, start: ModelStart, use: ModelUse, leases: Leases, unit_hour_micros: int) -> RunModel | None:
    arn = job.detector.model or ""
    aws = Aws(profile=job.aws.profile, region=ModelArn.parse(arn).region)
    poller = Poller(use.clock, poll_s=start.poll_s, tell=use.tell)
    host = ThisHost()
    async with open_models(aws) as models:

        async def watch(lease: Lease) -> None:
            await start_watcher(lease, leases, use.clock, poll_s=start.poll_s)

        reaper = Reaper(leases, host, open_lease, poller)
        starter = Starter(reached(models, arn), leases, host, poller, reaper=reaper, on_taken=watch)
        if (await starter.look()).is_foreign:
            use.tell(f"{arn} runs without a lease of yours: it is used, and left running")
            return None
        wish = Wish(
            arn=arn,
            endpoint=models.service.endpoint,
            profile=profile_of(aws),
            units=start.units,
            max_units=start.max_units,
            for_s=start.for_s,
            run_id=use.run_id,
        )
        held = RunModel(leases, host, poller, wish)
        budget = _Budget(job.limits.budget_micros, use.spent_micros, unit_hour_micros * held.most_units)
        budget.check(0.0)
        try:
            lease = await starter.start(wish)
            await starter.until_running(lease, meanwhile=lambda: budget.check(held.ran_s()))
        except BaseException:
            await use.stop(held)
            raise
        return held


class RunModel:
    """``HeldModel``: a model under a lease of this run.

    Args:
        leases: The table, open until the model is stopped.
        host: Reads the clocks.
        poller: Waits between looks.
        wish: The lease.
    """

    def __init__(self, leases: Leases, host: Host, poller: Poller, wish: Wish) -> None:
        self._leases = leases
        self._host = host
        self._poller = poller
        self._wish = wish
        self._stack = AsyncExitStack()
        self._started_s = host.boot_s()
        self._stopped_s: float | None = None

    @property
    def most_units(self) -> int:
        """Most units that are paid for."""
        return max(self._wish.units or 1, self._wish.max_units or 0)

    def keep(self, stack: AsyncExitStack) -> None:
        """Close what is on ``stack`` once the model is stopped."""
        self._stack = stack

    def ran_s(self) -> float:
        """See ``HeldModel``."""
        return (self._host.boot_s() if self._stopped_s is None else self._stopped_s) - self._started_s

    def left_s(self) -> float:
        """See ``HeldModel``."""
        return self._wish.for_s - self.ran_s()

    async def stop(self) -> str | None:
        """See ``HeldModel``; a signal that ends the process at once leaves the stop to the watcher."""
        if self._stopped_s is not None:
            return None
        problem: str | None = None
        with anyio.CancelScope(shield=True):
            try:
                problem = await self._stop()
            finally:
                self._stopped_s = self._host.boot_s()
                await self._stack.aclose()
        return problem

    async def _stop(self) -> str | None:
        mine = [lease for lease in self._leases.open() if lease.run_id == self._wish.run_id]
        reaper = Reaper(self._leases, self._host, open_lease, self._poller)
        try:
            reaped = await reaper.stop(mine)
        except (WaitEndedError, AsyncFilterError) as error:
            return f"{self._wish.arn} could not be stopped, its watcher goes on trying: {error.message}"
        for failure in reaped.failed:
            return f"{failure.lease.arn} could not be stopped, its watcher goes on trying: {failure.error.message}"
        return None


@dataclass(frozen=True, slots=True)
class _Budget:
    """The budget while a model starts, before the run counts its time."""

    limit_micros: int | None
    spent_micros: int
    hour_micros: int

    def check(self, ran_s: float) -> None:
        """Check that the budget covers the time so far and one minute more.

        Raises:
            LeaseError: It does not.
        """
        minutes = int(ran_s // 60) + 1
        if self.limit_micros is not None and self.spent_micros + self.hour_micros * minutes // 60 > self.limit_micros:
            raise LeaseError(
                "limits.budget_usd does not cover the time in which the model starts",
                code=BUDGET,
                hint="Raise limits.budget_usd.",
            )
