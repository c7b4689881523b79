"""The verbs about leases: start and stop of a model, and the end of all leases that are over."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from asyncfilter.clock import SystemClock
from asyncfilter.custom_labels.finding import the_project, the_version
from asyncfilter.custom_labels.lease import RUNS, EndReason, Lease, LeaseKind, end_reason, is_abandoned
from asyncfilter.custom_labels.lease_table import Leases, Wish
from asyncfilter.custom_labels.ledger import existing_ledger, open_ledger
from asyncfilter.custom_labels.processes import ThisHost, is_dead
from asyncfilter.custom_labels.reached_model import ReachedModel
from asyncfilter.custom_labels.reaper import PATIENCE_S, Reaped, Reaper, StopFailure
from asyncfilter.custom_labels.starting import FoundModel, OnTaken, Starter, foreign
from asyncfilter.custom_labels.waiting import Poller, within
from asyncfilter.errors import AccessError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.ports.model_service import ModelVersion
from asyncfilter.wiring.model_changes import Patience
from asyncfilter.wiring.models import Models, open_models
from asyncfilter.wiring.watcher import start_watcher

COMMAND_PATIENCE_S = 10.0
"""Longest time without an answer of the service that a command which is about something else waits, seconds."""

STOP_PATIENCE_S = PATIENCE_S
"""The same for a command that stops models."""

COMMAND_POLL_S = 2.0
"""Its pause between two looks, seconds: the user waits."""

Tell = Callable[[str], object]


@contextmanager
def open_leases() -> Iterator[Leases]:
    """The user's leases.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    with open_ledger() as ledger:
        yield Leases(ledger, ThisHost())


@asynccontextmanager
async def open_lease(lease: Lease) -> AsyncIterator[ReachedModel]:
    """The model of a lease at its own service, with the credentials of the lease's profile.

    Raises:
        AccessError: The service cannot be reached from here.
    """
    aws = Aws(profile=lease.profile, region=ModelArn.parse(lease.arn).region)
    async with open_models(aws) as models:
        if models.service.endpoint == lease.endpoint:
            yield reached(models, lease.arn)
            return
        seen = models.service.endpoint
    if not lease.endpoint:
        raise AccessError(
            f"{lease.arn} is at AWS, and the AWS settings lead to {seen}",
            hint="Unset AWS_ENDPOINT_URL, then stop it with asyncfilter model stop --expired.",
        )
    async with open_models(aws, endpoint_url=lease.endpoint) as models:
        yield reached(models, lease.arn)


def reached(models: Models, arn: str) -> ReachedModel:
    """A model at an open service."""
    return ReachedModel(arn=arn, service=models.service, account=models.account)


# -- The end of what is over -------------------------------------------------------------------------------------------


async def stop_due(tell: Tell, *, timeout_s: float | None = None) -> list[StopFailure]:
    """Stop every model whose lease has expired or lost its owner, ahead of a command that is about something else.

    Args:
        tell: Called with a sentence when something changes.
        timeout_s: Longest wait, seconds; None for no bound.

    Returns:
        What could not be stopped, which does not keep the command from its work.

    Raises:
        WaitEndedError: The time of the wait is over.
        LedgerError: The ledger cannot be used.
    """
    ledger = existing_ledger()
    if ledger is None:
        return []
    with ledger:
        host = ThisHost()
        leases = Leases(ledger, host)
        if not any(end_reason(lease, host) or is_abandoned(lease, host) for lease in leases.open()):
            return []
        poller = Poller(SystemClock(), poll_s=COMMAND_POLL_S, tell=tell)
        reaper = Reaper(leases, host, open_lease, poller, patience_s=COMMAND_PATIENCE_S)
        return (await within(timeout_s, reaper.reap, what="the stop of models whose lease is over")).failed


async def stop_expired(patience: Patience) -> Reaped:
    """Stop every model whose lease has expired or lost its owner, and wait until all are stopped.

    Raises:
        WaitEndedError: The time of the waits is over.
        LedgerError: The ledger cannot be used.
    """
    with open_leases() as leases:
        return await _reaper(leases, patience).reap()


def _reaper(leases: Leases, patience: Patience) -> Reaper:
    return Reaper(leases, ThisHost(), open_lease, patience.poller(), patience_s=STOP_PATIENCE_S)


def forget_lease(identifier: str, *, agrees: Callable[[Lease], object]) -> Lease | None:
    """Release a lease without the service's word: nothing stops its model any more. For a service that is gone.

    Args:
        identifier: Of the lease.
        agrees: Called with it first; an exception keeps it.

    Returns:
        The lease; None when there is no open one.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    with open_leases() as leases:
        lease = leases.get(identifier)
        if lease is None or not lease.is_open:
            return None
        agrees(lease)
        return leases.release(identifier, EndReason.ASKED)


# -- Start -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStart:
    """A start that the user is asked about.

    Attributes:
        wish: The lease, with units.
        found_model: What the start would meet.
    """

    wish: Wish
    found_model: FoundModel

    @property
    def extends(self) -> Lease | None:
        """The lease whose end the start moves; None when it takes a new one."""
        return next((lease for lease in self.found_model.leases if lease.kind is LeaseKind.TIME), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How a model is to be started.

    Attributes:
        for_s: How long the lease lasts, seconds.
        units: Inference units; None for those with which the model runs already, else 1.
        max_units: Units up to which the service may scale; None without scaling.
        adopts: A model that runs without a lease of ours is taken over.
        watches: A watcher waits for the end of the lease.
    """

    for_s: float
    units: int | None = None
    max_units: int | None = None
    adopts: bool = False
    watches: bool = True


async def plan_start(
    project: ProjectName, version: VersionName, options: StartOptions, patience: Patience, *, aws: Aws
) -> PlannedStart:
    """What a start would do; changes nothing.

    Raises:
        RefusedError: There is no such model, or it cannot be started so.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    with open_leases() as leases:
        async with open_models(aws) as models:
            found = await the_version(models.service, await the_project(models.service, project), version)
            found_model = await _starter(models, leases, found.arn, patience).look()
            if found_model.is_foreign and not options.adopts:
                raise foreign(found.arn)
            wish = Wish(
                arn=found.arn,
                endpoint=models.service.endpoint,
                profile=profile_of(aws),
                units=options.units,
                max_units=options.max_units,
                for_s=options.for_s,
            )
            return PlannedStart(wish=found_model.completed(wish), found_model=found_model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A model that runs, and its lease."""

    version: ModelVersion
    lease: Lease


async def start_model(planned: PlannedStart, options: StartOptions, patience: Patience, *, aws: Aws) -> Started:
    """Take the lease, start the model, and wait until it runs.

    Raises:
        RefusedError: The model cannot be started so, or has failed to start.
        WaitEndedError: The time of the waits is over; the start goes on, and the lease holds.
        LedgerError: The ledger cannot be used; then nothing was started.
        AccessError: The service cannot be asked.
    """
    with open_leases() as leases:
        async with open_models(aws) as models:

            async def watch(lease: Lease) -> None:
                if options.watches:
                    await start_watcher(lease, leases, models.clock, poll_s=patience.poll_s)

            starter = _starter(models, leases, planned.wish.arn, patience, on_taken=watch)
            lease = await starter.start(planned.wish, adopts=options.adopts)
            version = await starter.until_running(lease)
            return Started(version=version, lease=leases.get(lease.id) or lease)


def _starter(
    models: Models, leases: Leases, arn: str, patience: Patience, *, on_taken: OnTaken | None = None
) -> Starter:
    model, poller = reached(models, arn), patience.poller()
    reaper = Reaper(leases, ThisHost(), open_lease, poller)
    if on_taken is None:
        return Starter(model, leases, ThisHost(), poller, reaper=reaper)
    return Starter(model, leases, ThisHost(), poller, reaper=reaper, on_taken=on_taken)


def profile_of(aws: Aws) -> str | None:
    """The profile by which another process has the same credentials; keys in the environment come before one."""
    if aws.profile is not None or "AWS_ACCESS_KEY_ID" in os.environ:
        return aws.profile
    return os.environ.get("AWS_PROFILE")


# -- Stop --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStop:
    """A stop that the user may be asked about.

    Attributes:
        version: The model as it is.
        wish: A lease by which a model of others is stopped.
        leases: Leases of ours on it.
    """

    version: ModelVersion
    wish: Wish
    leases: tuple[Lease, ...]

    @property
    def is_foreign(self) -> bool:
        """Whether it runs without a lease of ours."""
        return self.version.status in RUNS and not self.leases

    @property
    def in_use(self) -> Lease | None:
        """A lease of a run that still goes on, as far as this host knows."""
        host = ThisHost()
        owned = [lease for lease in self.leases if lease.kind is LeaseKind.RUN]
        return next((lease for lease in owned if not is_dead(lease.holder, host)), None)


async def plan_stop(project: ProjectName, version: VersionName, *, aws: Aws) -> PlannedStop:
    """What a stop would do; changes nothing. Raises as ``plan_start``."""
    with open_leases() as leases:
        async with open_models(aws) as models:
            found = await the_version(models.service, await the_project(models.service, project), version)
            wish = Wish(
                arn=found.arn,
                endpoint=models.service.endpoint,
                profile=profile_of(aws),
                units=max(1, found.min_units),
                max_units=found.max_units,
                for_s=0.0,
            )
            return PlannedStop(version=found, wish=wish, leases=tuple(leases.of(found.arn, models.service.endpoint)))


async def stop_model(planned: PlannedStop, patience: Patience) -> Reaped:
    """Stop a model by its name, and wait until it is stopped.

    A model of others is stopped by a lease that is over at once, so that the stop is pursued like every other.

    Raises:
        WaitEndedError: The time of the waits is over.
        LedgerError: The ledger cannot be used.
    """
    with open_leases() as leases:
        ending = leases.of(planned.wish.arn, planned.wish.endpoint)
        if not ending and planned.version.status in RUNS:
            ending = [leases.take(planned.wish, runs=True)]
        return await _reaper(leases, patience).stop(ending)
