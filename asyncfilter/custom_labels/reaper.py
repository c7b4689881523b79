"""The reaper: stops models whose lease has expired or lost its owner, and pursues that to its end.

What it has decided is in the ledger before the service is asked, so that the next one continues where it
stopped. Reapers do not exclude each other: to stop a model twice does no harm. A lease is released only on the
service's word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace

import anyio

from asyncfilter.custom_labels.lease import (
    LATE_S,
    NOT_RUNNING,
    RUNS,
    EndReason,
    Lease,
    LeaseState,
    StopStep,
    end_reason,
    is_abandoned,
    is_settled,
    is_unattended,
    others,
    stop_step,
)
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.processes import Host
from asyncfilter.custom_labels.reached_model import ReachedModel
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    AsyncFilterError,
    LedgerError,
    ResourceInUseError,
    ResourceMissingError,
    ThrottledError,
    TransientError,
    WaitEndedError,
)
from asyncfilter.ports.model_service import VersionStatus

OpenModel = Callable[[Lease], AbstractAsyncContextManager[ReachedModel]]
"""Opens the service that has the model of a lease, with the credentials of the lease's profile."""

PATIENCE_S = 120.0
"""Longest time without an answer of the service before a stop is told as failed, seconds; the next look goes on."""


WHY = {
    EndReason.EXPIRED: "its lease has expired",
    EndReason.OWNER_DEAD: "the process that owned its lease has ended",
    EndReason.ASKED: "as asked",
    EndReason.FAILED: "its start has failed",
}
"""Why a model is stopped, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopFailure:
    """A lease whose model could not be stopped, and why."""

    lease: Lease
    error: AsyncFilterError


@dataclass(slots=True, kw_only=True)
class Reaped:
    """What a reaper has done.

    Attributes:
        stopped: Leases whose model it has stopped, and the service has said so.
        passed_on: Leases that have ended while the model goes on running by another one.
        failed: Leases whose model may still run.
        kept: Leases that last.
    """

    stopped: list[Lease] = field(default_factory=list)
    passed_on: list[Lease] = field(default_factory=list)
    failed: list[StopFailure] = field(default_factory=list)
    kept: list[Lease] = field(default_factory=list)


class Reaper:
    """Ends leases.

    Args:
        leases: The table.
        host: Reads the clocks, and knows which processes live.
        open_model: Opens the service of a lease.
        poller: Waits between looks, and says how it goes.
        patience_s: Longest time without an answer of the service, seconds.
    """

    def __init__(
        self, leases: Leases, host: Host, open_model: OpenModel, poller: Poller, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._leases = leases
        self._host = host
        self._open_model = open_model
        self._poller = poller
        self._patience_s = patience_s

    async def reap(self) -> Reaped:
        """End every lease that must end; those that cannot be ended do not keep others from it.

        Raises:
            WaitEndedError: The time of the waits is over; the ledger has what is left to do.
            LedgerError: The ledger cannot be used.
        """
        due = [one for one in self._leases.open() if end_reason(one, self._host) or is_abandoned(one, self._host)]
        return await self._all(due, asked=False)

    async def stop(self, leases: Sequence[Lease]) -> Reaped:
        """End these leases although they could last; raises as ``reap`` does."""
        return await self._all(leases, asked=True)

    async def _all(self, leases: Sequence[Lease], *, asked: bool) -> Reaped:
        reaped = Reaped()
        unfinished: list[LedgerError | WaitEndedError] = []

        async def one(lease: Lease) -> None:
            try:
                await self._attend(lease, reaped, asked=asked)
            except (LedgerError, WaitEndedError) as error:
                unfinished.append(error)
            except AsyncFilterError as error:
                reaped.failed.append(StopFailure(lease=lease, error=error))

        async with anyio.create_task_group() as tasks:
            for lease in leases:
                tasks.start_soon(one, lease)
        if unfinished:
            raise min(unfinished, key=lambda error: error.exit_code)
        failed = {failure.lease.id for failure in reaped.failed}
        reaped.kept = [lease for lease in self._leases.open() if lease.id not in failed]
        return reaped

    async def _attend(self, lease: Lease, reaped: Reaped, *, asked: bool) -> None:
        ended = self.decide(lease, asked=asked)
        if ended is None:
            await self.look_after(lease)
        elif ended.state is LeaseState.STOPPING:
            self._poller.tell(f"stopping {ended.arn}: {WHY[ended.reason or EndReason.ASKED]}")
            reaped.stopped.append(await self.pursue(ended))
        elif lease.is_open:
            reaped.passed_on.append(ended)

    def decide(self, lease: Lease, *, asked: bool = False) -> Lease | None:
        """Decide whether a lease ends now: see ``Leases.end``.

        A ledger that can be read and not written, on a full disk, keeps no model from being stopped.

        Raises:
            LedgerError: The ledger cannot be read; or not be written, and it is not certain that the model is to stop.
        """
        try:
            return self._leases.end(lease.id, asked=asked)
        except LedgerError:
            present = self._leases.open()
            reason = EndReason.ASKED if asked else end_reason(lease, self._host)
            if reason is None or lease not in present or others(lease, present):
                raise
            return replace(lease, state=LeaseState.STOPPING, reason=reason)

    async def look_after(self, lease: Lease) -> None:
        """Compare a lease that lasts with its model, unless a process is just starting it.

        A start whose process has died has taken place or not; and a model may have been stopped by somebody else, who
        then may start it again for himself.
        """
        if not is_unattended(lease, self._host):
            return
        async with self._open_model(lease) as model:
            status = await model.status()
        if status in RUNS:
            self._leases.seen(lease.id, running=status == VersionStatus.RUNNING)
        elif status in NOT_RUNNING and is_settled(lease, self._host):
            self._leases.release(lease.id)

    async def pursue(self, lease: Lease) -> Lease:
        """Stop the model of a lease that is ``STOPPING``; returns the released lease.

        Raises:
            WaitEndedError: The time of the waits is over.
            AsyncFilterError: The model cannot be stopped now: access is denied, or the service does not answer.
        """
        pursuit = _Pursuit(self._host, settled=is_settled(lease, self._host))
        async with self._open_model(lease) as model:
            while True:
                try:
                    if await self._turn(model, pursuit) is StopStep.RELEASE:
                        return self._leases.release(lease.id) or lease
                    pursuit.answered()
                except (ThrottledError, TransientError) as error:
                    if pursuit.unanswered_s() > self._patience_s:
                        raise
                    self._poller.tell(f"stopping {lease.arn}: no answer ({error.message}); trying again")
                await self._poller.pause(f"stop of {lease.arn}")

    async def _turn(self, model: ReachedModel, pursuit: _Pursuit) -> StopStep:
        """A look, and what follows from it.

        Raises:
            TransientError: It takes longer than the patience: calls that are throttled are repeated for many minutes.
        """
        with anyio.move_on_after(self._patience_s):
            step = pursuit.next_step(await model.status())
            if step is StopStep.STOP:
                await _ask_to_stop(model)
            return step
        raise TransientError(f"the service has not answered for {self._patience_s:g} s", may_be_billed=True)


class _Pursuit:
    """What was seen of a model while it is being stopped.

    Args:
        host: Reads the clock.
        settled: No start can take effect any more.
    """

    def __init__(self, host: Host, *, settled: bool) -> None:
        self._host = host
        self._settled = settled
        self._idle_since_s: float | None = None
        self._answered_s = host.boot_s()

    def answered(self) -> None:
        """The service has answered all that a turn has asked for; a look alone is not enough where it has to stop."""
        self._answered_s = self._host.boot_s()

    def next_step(self, status: str) -> StopStep:
        """The step after the service has shown ``status``."""
        now_s = self._host.boot_s()
        if status not in NOT_RUNNING:
            self._settled, self._idle_since_s = True, None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s > LATE_S:
            self._settled = True
        return stop_step(status, settled=self._settled)

    def unanswered_s(self) -> float:
        """How long the service has not answered a whole turn."""
        return self._host.boot_s() - self._answered_s


async def _ask_to_stop(model: ReachedModel) -> None:
    # Both mean: not in this state, which the next look shows. A model that starts can be stopped once it runs.
    with suppress(ResourceInUseError, ResourceMissingError):
        await model.service.stop_version(model.arn)
