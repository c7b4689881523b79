"""Leases: durable promises that a model is stopped by a given moment, and what follows from one. Decisions only.

A lease begins as ``intent``, before the service is asked to start the model, and ends as ``released``, when the service
has said that the model does not run. In between it is ``starting`` and ``running``; ``stopping`` from the moment at
which it was decided to end, and this is never taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from asyncfilter.custom_labels.processes import Host, Process, is_dead
from asyncfilter.ports.model_service import VersionStatus

LATE_S = 120.0
"""How late a start may take effect after it was sent, seconds. Until then, that a model does not run proves nothing:
the request may still be on its way, or the service may show an older state."""


class LeaseState(StrEnum):
    """The states of a lease, in their order."""

    INTENT = "intent"
    """Nothing is known to have been started."""
    STARTING = "starting"
    """The service has accepted the start, or may have done so."""
    RUNNING = "running"
    """The service has shown the model running."""
    STOPPING = "stopping"
    """The model is to be stopped."""
    RELEASED = "released"
    """The model does not run by this lease any more."""


class LeaseKind(StrEnum):
    """What ends a lease before its time."""

    TIME = "time"
    """Nothing."""
    RUN = "run"
    """The end of the run that owns it."""


class EndReason(StrEnum):
    """Why a lease ends."""

    EXPIRED = "expired"
    """Its time is over."""
    OWNER_DEAD = "owner_dead"
    """The process that owns it has ended without releasing it."""
    ASKED = "asked"
    """The user or the run that owns it stops the model."""
    FAILED = "failed"
    """The model could not be started, or the service has stopped it by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A row of the ledger.

    Attributes:
        id: Unique in the ledger.
        arn: The model version.
        endpoint: Where the service is; empty for AWS itself.
        profile: The profile of the AWS settings with which it was taken; None for the default.
        units: Inference units that run at least.
        max_units: Units up to which the service may scale; None without scaling.
        state: How far it is.
        kind: What ends it before its time.
        started_at: When it was taken, just before the start; seconds since 1970-01-01 UTC, as all times here.
        expires_at: When it ends at the latest.
        expires_boot_s: The same by the clock of the holder's boot; None when another host has moved the end.
        sent_at: When the last start was about to be sent; None before that, and once its effect was seen.
        reason: Why it ends; None while it is to last.
        ended_at: When the service said that the model does not run; None before that.
        holder: The process that took it; the owner where ``kind`` is ``RUN``.
        run_id: The run that owns it.
        watcher: The process that waits for its end.
    """

    id: str
    arn: str
    endpoint: str
    profile: str | None
    units: int
    max_units: int | None
    state: LeaseState
    kind: LeaseKind
    started_at: float
    expires_at: float
    expires_boot_s: float | None
    holder: Process
    sent_at: float | None = None
    reason: EndReason | None = None
    ended_at: float | None = None
    run_id: str | None = None
    watcher: Process | None = None

    @property
    def most_units(self) -> int:
        """Most units that may run, all of which are paid for."""
        return max(self.units, self.max_units or 0)

    @property
    def is_open(self) -> bool:
        """Whether the model may run by it."""
        return self.state is not LeaseState.RELEASED

    @property
    def lasts(self) -> bool:
        """Whether it is open, and its end is not decided."""
        return self.state in {LeaseState.INTENT, LeaseState.STARTING, LeaseState.RUNNING}


def is_expired(lease: Lease, host: Host) -> bool:
    """Whether the time of a lease is over.

    On the boot that took it, a clock that cannot be set decides too, so that one that is set back gives no model more
    time. A clock that is set forward ends leases early, which costs no money.
    """
    if host.unix_s() >= lease.expires_at:
        return True
    same_boot = lease.holder.boot_id == host.me.boot_id
    return same_boot and lease.expires_boot_s is not None and host.boot_s() >= lease.expires_boot_s


def end_reason(lease: Lease, host: Host) -> EndReason | None:
    """Why a lease must end now; None when it may last, or has ended."""
    if not lease.is_open:
        return None
    if lease.state is LeaseState.STOPPING:
        return lease.reason or EndReason.ASKED
    if is_expired(lease, host):
        return EndReason.EXPIRED
    if lease.kind is LeaseKind.RUN and is_dead(lease.holder, host):
        return EndReason.OWNER_DEAD
    return None


def is_unattended(lease: Lease, host: Host) -> bool:
    """Whether no process is starting the model of a lease that lasts, so that the model's state decides about it."""
    return lease.lasts and (lease.state is LeaseState.RUNNING or is_dead(lease.holder, host))


def is_abandoned(lease: Lease, host: Host) -> bool:
    """Whether the process that was to start the model ended before the service was known to have accepted it."""
    return lease.state is LeaseState.INTENT and is_dead(lease.holder, host)


def is_settled(lease: Lease, host: Host) -> bool:
    """Whether a start that was sent has had its effect by now, if it has any."""
    return lease.sent_at is None or host.unix_s() - lease.sent_at > LATE_S


# -- The service's word ------------------------------------------------------------------------------------------------

MISSING = "MISSING"
"""Stands for the state of a version that does not exist."""

NOT_RUNNING = frozenset(
    {
        MISSING,
        VersionStatus.STOPPED,
        VersionStatus.FAILED,
        VersionStatus.TRAINING_COMPLETED,
        VersionStatus.COPYING_COMPLETED,  # trained elsewhere and never started
    }
)
"""The states in which a model certainly does not run. In any other one, known or not, it may."""

RUNS = frozenset({VersionStatus.STARTING, VersionStatus.RUNNING})
"""The states in which a model runs, or will."""


class StopStep(Enum):
    """What brings a model closer to its stop."""

    STOP = "ask the service to stop it"
    WAIT = "wait"
    RELEASE = "it does not run"


def stop_step(status: str, *, settled: bool) -> StopStep:
    """The next step towards the stop of a model.

    Args:
        status: The service's word, or ``MISSING``.
        settled: No start can take effect any more; see ``is_settled``.
    """
    if status in NOT_RUNNING:
        return StopStep.RELEASE if settled or status == MISSING else StopStep.WAIT
    return StopStep.WAIT if status == VersionStatus.STOPPING else StopStep.STOP


# -- Several leases on one model ---------------------------------------------------------------------------------------


def others(lease: Lease, leases: Sequence[Lease]) -> list[Lease]:
    """Those of ``leases`` by which the model of ``lease`` is to go on running without it."""
    return [
        one
        for one in leases
        if one.lasts and one.id != lease.id and (one.arn, one.endpoint) == (lease.arn, lease.endpoint)
    ]
