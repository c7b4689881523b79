"""The start of a model under a lease: the row first, then the request, and the wait until it runs.

After a request whose answer was lost, or that was refused because the model is in use, the model counts as ours, since
it did not run when we looked. A model that runs without a lease of ours is left alone, unless it is adopted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from asyncfilter.custom_labels.lease import (
    MISSING,
    NOT_RUNNING,
    RUNS,
    Lease,
    LeaseState,
    is_settled,
    is_unattended,
)
from asyncfilter.custom_labels.lease_table import BeingStoppedError, Leases, OtherUnitsError, Wish
from asyncfilter.custom_labels.paced import is_certainly_undone
from asyncfilter.custom_labels.processes import Host
from asyncfilter.custom_labels.reached_model import ReachedModel
from asyncfilter.custom_labels.reaper import Reaper
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    AsyncFilterError,
    LeaseError,
    ResourceInUseError,
    ResourceMissingError,
    ThrottledError,
    TransientError,
)
from asyncfilter.ports.model_service import ModelVersion, VersionStatus

FOREIGN = "MODEL_RUNS_WITHOUT_LEASE"
OTHER_UNITS = "OTHER_UNITS"
NOT_TRAINED = "MODEL_NOT_TRAINED"
START_FAILED = "MODEL_START_FAILED"
ENDED = "LEASE_ENDED"

PATIENCE_S = 600.0
"""Longest time in which it stays unknown whether a start was accepted, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """What a start would meet.

    Attributes:
        version: The model as it is.
        leases: Leases of ours that last on it, the oldest first.
    """

    version: ModelVersion
    leases: tuple[Lease, ...]

    @property
    def runs(self) -> bool:
        """Whether it runs, or is starting."""
        return self.version.status in RUNS

    @property
    def is_foreign(self) -> bool:
        """Whether it runs without a lease of ours."""
        return self.runs and not self.leases

    def completed(self, wish: Wish) -> Wish:
        """The wish with units: by default those with which the model runs, else one.

        Raises:
            LeaseError: The model runs with other units.
        """
        if self.leases:
            units, max_units = self.leases[0].units, self.leases[0].max_units
        elif self.runs:
            units, max_units = max(1, self.version.min_units), self.version.max_units
        else:
            return replace(wish, units=wish.units or 1)
        if wish.units is None and wish.max_units is None:
            return replace(wish, units=units, max_units=max_units)
        if ((wish.units or 1), wish.max_units) != (units, max_units):
            raise other_units(self.version.arn, units, max_units)
        return wish


OnTaken = Callable[[Lease], Awaitable[object]]
"""Called with a lease whose row is durable, before the service is asked to start its model."""


async def _nothing(_lease: Lease) -> None:
    """There is no watcher."""


class Starter:
    """Starts one model.

    Args:
        model: At its service.
        leases: The table.
        host: Reads the clocks.
        poller: Waits between looks.
        reaper: Goes on with a stop that another process may have left.
        on_taken: Starts a watcher of the lease that outlives this process; an error of it ends the start.
    """

    def __init__(
        self,
        model: ReachedModel,
        leases: Leases,
        host: Host,
        poller: Poller,
        *,
        reaper: Reaper,
        on_taken: OnTaken = _nothing,
    ) -> None:
        self._model = model
        self._leases = leases
        self._host = host
        self._poller = poller
        self._reaper = reaper
        self._on_taken = on_taken

    async def look(self) -> FoundModel:
        """What a start would meet; a model that is being stopped is waited for first.

        Raises:
            ResourceMissingError: There is no such version.
            LeaseError: It cannot be started in its state.
        """
        while True:
            # Before the look: a lease that is released in between must not make its model seem foreign.
            before = self._present()
            version = await self._model.version()
            if version is None:
                raise ResourceMissingError(f"there is no model {self._model.arn}", code="ResourceNotFoundException")
            if version.status in NOT_RUNNING:
                self._release_ended(before)
            present = self._present()
            if ending := [lease for lease in present if not lease.lasts]:
                self._poller.tell(f"{self._model.arn}: waiting until it is stopped")
                await self._reaper.pursue(ending[0])
            elif version.status == VersionStatus.STOPPING:
                await self._poller.pause(f"stop of {self._model.arn}")
            elif before == present or version.status not in RUNS:
                _check_state(version)
                return FoundModel(version=version, leases=tuple(present))

    async def start(self, wish: Wish, *, adopts: bool = False) -> Lease:
        """Take a lease, and start the model unless it runs; returns before it is running.

        Args:
            wish: The lease.
            adopts: A model that runs without a lease of ours is taken over, with the units that it has.

        Raises:
            LeaseError: The model runs without a lease of ours, or with other units.
            RefusedError: The service refuses the start.
            AccessError: The service cannot be asked.
        """
        while True:
            found_model = await self.look()
            if found_model.is_foreign and not adopts:
                raise foreign(self._model.arn)
            try:
                lease = self._leases.take(found_model.completed(wish), runs=found_model.is_foreign)
            except BeingStoppedError:
                continue  # another process has just decided so: the look waits for it
            except OtherUnitsError as error:
                raise other_units(error.lease.arn, error.lease.units, error.lease.max_units) from error
            await self._watched(lease)
            if found_model.runs:
                return lease
            if lease.holder == self._host.me:
                await self._send(lease)
                return lease
            # By one lease one process starts the model; if it dies, the next round takes its place.
            await self._poller.pause(f"start of {lease.arn} by process {lease.holder.pid}")

    async def until_running(self, lease: Lease, *, meanwhile: Callable[[], object] = lambda: None) -> ModelVersion:
        """Wait until the model runs.

        Args:
            lease: Of the model.
            meanwhile: Called at each look; an error of it ends the wait.

        Raises:
            LeaseError: It failed to start, or was stopped before it ran.
            WaitEndedError: The time of the waits is over; the start goes on.
        """

        async def look() -> ModelVersion:
            meanwhile()
            version = await self._model.version()
            if version is None:
                self._leases.release(lease.id)
                raise ResourceMissingError(f"there is no model {lease.arn} any more", code="ResourceNotFoundException")
            self._follow(lease, version)
            return version

        return await self._poller.until(
            f"start of {lease.arn}", look, lambda seen: seen.status == VersionStatus.RUNNING, lambda seen: seen.status
        )

    # -- Parts

    def _present(self) -> list[Lease]:
        return self._leases.of(self._model.arn, self._model.service.endpoint)

    def _release_ended(self, leases: list[Lease]) -> None:
        """Release leases by which the model, which does not run, has run, or whose start has failed."""
        for lease in leases:
            if is_unattended(lease, self._host) and is_settled(lease, self._host):
                self._leases.release(lease.id)

    async def _watched(self, lease: Lease) -> None:
        try:
            await self._on_taken(lease)
        except AsyncFilterError:
            if lease.state is LeaseState.INTENT:
                self._leases.release(lease.id)
            raise

    async def _send(self, lease: Lease) -> None:
        """Ask for the start until the service has accepted it, or certainly has not."""
        doubt = _Doubt(self._host)
        while self._leases.sending(lease.id):
            if await self._attempt(lease, doubt):
                self._leases.accepted(lease.id)
                return
            await self._poller.pause(f"start of {lease.arn}")
        raise ended(lease)

    async def _attempt(self, lease: Lease, doubt: _Doubt) -> bool:
        """Ask once; whether the service has accepted this or an earlier request."""
        try:
            await self._model.service.start_version(lease.arn, min_units=lease.units, max_units=lease.max_units)
        except ResourceInUseError:
            return await self._is_ours(lease)
        except (ThrottledError, TransientError) as error:
            if not is_certainly_undone(error):
                doubt.begin()
            elif not doubt.exists:
                self._leases.release(lease.id)
                raise
            if doubt.is_old:
                raise
            self._poller.tell(f"start of {lease.arn}: no answer ({error.message}); looking whether it was accepted")
            return await self._was_accepted()
        except AsyncFilterError:
            if not doubt.exists:  # else the lease stays, and ends like every other by the service's word
                self._leases.release(lease.id)
            raise
        return True

    async def _is_ours(self, lease: Lease) -> bool:
        """Whether a model that is in use counts as started by us; False while it is being stopped.

        It did not run when we looked. A refusal may answer a repetition of our own request, which the network has
        made; only other units show that another program was faster.

        Raises:
            LeaseError: Another program has started it.
        """
        version = await self._model.version()
        if version is None or version.status not in RUNS:
            return False
        if version.min_units not in {0, lease.units}:
            self._leases.release(lease.id)
            raise foreign(lease.arn)
        return True

    async def _was_accepted(self) -> bool:
        try:
            return await self._model.status() in RUNS
        except (ThrottledError, TransientError):
            return False

    def _follow(self, lease: Lease, version: ModelVersion) -> None:
        """Note what the service shows of a model that was started."""
        if version.status in RUNS:
            if not self._leases.seen(lease.id, running=version.status == VersionStatus.RUNNING):
                raise ended(lease)
            return
        present = self._leases.get(lease.id)
        if present is None or not present.lasts or version.status == VersionStatus.STOPPING:
            raise ended(lease)
        if version.status in NOT_RUNNING and is_settled(present, self._host):
            self._leases.release(lease.id)
            said = f": {version.message}" if version.message else ""
            raise LeaseError(f"{lease.arn} was not started: it is {version.status}{said}", code=START_FAILED)


class _Doubt:
    """Whether a start may have been accepted without an answer, and since when."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._since_s: float | None = None

    @property
    def exists(self) -> bool:
        return self._since_s is not None

    @property
    def is_old(self) -> bool:
        """Whether the service has not resolved it for ``PATIENCE_S``."""
        return self._since_s is not None and self._host.boot_s() - self._since_s > PATIENCE_S

    def begin(self) -> None:
        """An answer was lost."""
        if self._since_s is None:
            self._since_s = self._host.boot_s()


def _check_state(version: ModelVersion) -> None:
    if version.status not in RUNS and version.status not in NOT_RUNNING - {MISSING}:
        raise LeaseError(
            f"{version.arn} is {version.status}: it cannot be started",
            code=NOT_TRAINED,
            hint="Start a version whose training is complete (asyncfilter model status PROJECT shows them).",
        )


def foreign(arn: str) -> LeaseError:
    """The error for a model that runs without a lease of ours."""
    return LeaseError(
        f"{arn} runs already, and not by a lease of ours: who started it pays for it and stops it",
        code=FOREIGN,
        hint="Add --adopt to take it over, so that it is stopped when the lease ends.",
    )


def other_units(arn: str, units: int, max_units: int | None) -> LeaseError:
    """The error for a model that runs with ``units`` and is wanted with others."""
    scaling = "" if max_units is None else f" to {max_units}"
    return LeaseError(
        f"{arn} runs with {units}{scaling} inference units, and a model that runs keeps its units",
        code=OTHER_UNITS,
        hint="Name the same units, or stop it first (asyncfilter model stop PROJECT VERSION).",
    )


def ended(lease: Lease) -> LeaseError:
    """The error for a lease that ended before its model ran."""
    return LeaseError(f"the lease on {lease.arn} has ended before the model ran", code=ENDED)
