"""Models in virtual time: a service that runs them, hosts with processes, and a ledger, all of which can fail.

``Service`` keeps what really runs. It is the judge of the tests: each time a model begins to run by us, and each time a
lease is released, the ledger must have a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from asyncfilter.custom_labels.lease import Lease, end_reason
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.ledger import Ledger, open_ledger
from asyncfilter.custom_labels.processes import Process
from asyncfilter.custom_labels.reached_model import ReachedModel
from asyncfilter.custom_labels.reaper import Reaper
from asyncfilter.custom_labels.starting import OnTaken, Starter
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.custom_labels.watching import Watcher
from asyncfilter.errors import (
    AsyncFilterError,
    ResourceInUseError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.ports.model_service import ListPage, ModelVersion, Project, VersionStatus
from asyncfilter.testing import LoopClock
from asyncfilter.testing.crash import Crash

ACCOUNT = "123456789012"
START_S = 480.0
STOP_S = 120.0
UNIX_S = 1_700_000_000.0


def arn_of(name: str = "v1") -> str:
    """The ARN of a version of the project birds."""
    return f"arn:aws:rekognition:us-east-1:{ACCOUNT}:project/birds/version/{name}/1700000000000"


ARN = arn_of()


class Killer:
    """Numbers the moments at which a process can be killed, and kills it at one of them.

    Args:
        at: The number of the moment, from 1; 0 for none.
    """

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.moments: list[str] = []

    def moment(self, name: str) -> None:
        """Come to a moment.

        Raises:
            Crash: It is the one. A process that is dead does nothing more, so that every later one is, too.
        """
        self.moments.append(name)
        if self.at and len(self.moments) >= self.at:
            raise Crash(name)


class Trouble:
    """Faults of the service, by the number of the call: see ``KINDS``.

    Args:
        plan: A kind for each call that changes something, in their order; an empty text, and the end, are no fault.
        looks: The same for looks.
    """

    KINDS = ("", "throttled", "lost before", "lost after", "late", "reset", "twice")

    def __init__(self, plan: Sequence[str] = (), looks: Sequence[str] = ()) -> None:
        self._plan = iter(plan)
        self._looks = iter(looks)

    def of_change(self) -> str:
        """The fault of the next change."""
        return next(self._plan, "")

    def of_look(self) -> str:
        """The fault of the next look."""
        return next(self._looks, "")


@dataclass
class Model:
    """What really is at the service.

    Attributes:
        by_us: Whether the running model was started by one of our requests.
        changes_at: When the present state ends by itself, seconds of the loop.
        fails: Whether its next start fails.
    """

    arn: str
    status: str = VersionStatus.TRAINING_COMPLETED
    units: int = 0
    max_units: int | None = None
    by_us: bool = False
    changes_at: float | None = None
    fails: bool = False
    ran_s: float = 0.0
    since: float = 0.0
    stops: list[str] = field(default_factory=list)


class Service:
    """``ModelService``, as far as leases use it. Time is the loop's.

    Args:
        trouble: Its faults.
        start_s: How long a start takes.
        stop_s: How long a stop takes.
    """

    region = "us-east-1"
    endpoint = ""
    account = ACCOUNT

    def __init__(self, trouble: Trouble | None = None, *, start_s: float = START_S, stop_s: float = STOP_S) -> None:
        self.models = {ARN: Model(ARN)}
        self.trouble = trouble or Trouble()
        self.start_s, self.stop_s = start_s, stop_s
        self.on_start: Callable[[str], object] = lambda _arn: None
        self.on_stop: Callable[[str], object] = lambda _arn: None
        self.calls: list[str] = []
        self._late: list[tuple[float, Callable[[], object]]] = []

    # -- What really happens

    def settle(self) -> None:
        """Let everything happen that is due by now."""
        now = anyio.current_time()
        due = sorted([one for one in self._late if one[0] <= now], key=lambda one: one[0])
        self._late = [one for one in self._late if one[0] > now]
        for at, effect in due:
            self._advance(at)
            effect()
        self._advance(now)

    def _advance(self, now: float) -> None:
        for model in self.models.values():
            if model.changes_at is None or model.changes_at > now:
                continue
            if model.status == VersionStatus.STARTING:
                model.status = VersionStatus.FAILED if model.fails else VersionStatus.RUNNING
                if model.fails:
                    model.by_us = False
            elif model.status == VersionStatus.STOPPING:
                model.status, model.by_us = VersionStatus.STOPPED, False
            model.changes_at = None

    @property
    def running(self) -> list[str]:
        """ARNs of models that cost money now and were started by us."""
        self.settle()
        costly = {VersionStatus.STARTING, VersionStatus.RUNNING}
        return [model.arn for model in self.models.values() if model.by_us and model.status in costly]

    def start_elsewhere(self, arn: str = ARN, units: int = 1) -> None:
        """Somebody else starts a model."""
        self._start(arn, units, None, by_us=False)

    def _start(self, arn: str, units: int, max_units: int | None, *, by_us: bool) -> None:
        model = self.models[arn]
        startable = {VersionStatus.TRAINING_COMPLETED, VersionStatus.STOPPED, VersionStatus.FAILED}
        if model.status not in startable:
            raise ResourceInUseError(f"{arn} is {model.status}", code="ResourceInUseException")
        model.status, model.units, model.max_units, model.by_us = VersionStatus.STARTING, units, max_units, by_us
        model.changes_at = anyio.current_time() + self.start_s
        if by_us:
            self.on_start(arn)

    def _stop(self, arn: str) -> None:
        model = self.models[arn]
        model.stops.append(model.status)
        if model.status != VersionStatus.RUNNING:
            raise ResourceInUseError(f"{arn} is {model.status}", code="ResourceInUseException")
        model.status = VersionStatus.STOPPING
        model.changes_at = anyio.current_time() + self.stop_s

    # -- Calls

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        await self._answer(self.trouble.of_look(), lambda: None)
        arn = f"arn:aws:rekognition:us-east-1:{self.account}:project/birds/1700000000000"
        return ListPage(items=(Project(name="birds", arn=arn, status="CREATED"),))

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        await self._answer(self.trouble.of_look(), lambda: None)
        if self.account != ACCOUNT:
            return ListPage(items=())
        found = [model for model in self.models.values() if model.arn.split("/")[3] in names]
        return ListPage(
            items=tuple(
                ModelVersion(
                    name=model.arn.split("/")[3],
                    arn=model.arn,
                    status=model.status,
                    min_units=model.units,
                    max_units=model.max_units,
                )
                for model in found
            )
        )

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        self.calls.append("start")

        def effect() -> None:
            self._start(version_arn, min_units, max_units, by_us=True)

        await self._answer(self.trouble.of_change(), effect)
        return str(self.models[version_arn].status)

    async def stop_version(self, version_arn: str) -> str:
        self.calls.append("stop")

        def effect() -> None:
            self._stop(version_arn)
            self.on_stop(version_arn)

        await self._answer(self.trouble.of_change(), effect)
        return str(self.models[version_arn].status)

    async def caller(self) -> str:
        """The account of the credentials in use."""
        return self.account

    async def _answer(self, fault: str, effect: Callable[[], None]) -> None:
        await anyio.sleep(0.2)
        self.settle()
        if fault == "throttled":
            raise ThrottledError("slow down", cause=ThrottleCause.RATE)
        if fault == "lost before":
            raise TransientError("connection refused", may_be_billed=False)
        if fault == "reset":
            raise TransientError("connection reset", may_be_billed=True)
        if fault == "lost after":
            effect()
            raise TransientError("no answer", may_be_billed=True)
        if fault == "late":
            self._late.append((anyio.current_time() + 45.0, _unless_refused(effect)))
            raise TransientError("no answer in time", may_be_billed=True)
        if fault == "twice":
            effect()
        effect()


def _unless_refused(effect: Callable[[], None]) -> Callable[[], None]:
    def quietly() -> None:
        with suppress(AsyncFilterError):
            effect()

    return quietly


class KilledService:
    """A service whose caller can be killed before and after each call."""

    def __init__(self, service: Service, killer: Killer) -> None:
        self._service = service
        self._killer = killer
        self.region, self.endpoint = service.region, service.endpoint

    def __getattr__(self, name: str) -> object:
        method = getattr(self._service, name)

        async def call(*args: object, **kwargs: object) -> object:
            self._killer.moment(f"before {name}")
            try:
                return await method(*args, **kwargs)
            finally:
                self._killer.moment(f"after {name}")

        return call


class FakeHost:
    """``Host`` in virtual time: one process on a host that others share.

    Attributes:
        skew_s: How far the clock that people set is off.
    """

    def __init__(self, machine: Machine, pid: int) -> None:
        self._machine = machine
        self.me = Process(
            host=machine.name, boot_id=machine.boot_id, pid_namespace="pid:[1]", pid=pid, started=machine.processes[pid]
        )

    def started(self, pid: int) -> str | None:
        return self._machine.processes.get(pid)

    def unix_s(self) -> float:
        return self._machine.unix_s()

    def boot_s(self) -> float:
        return anyio.current_time() - self._machine.booted_at


class Machine:
    """A host with its processes and its clocks."""

    def __init__(self, name: str = "alpha") -> None:
        self.name = name
        self.boot_id = f"{name}-boot-1"
        self.processes: dict[int, str] = {}
        self.skew_s = 0.0
        self.booted_at = 0.0
        self._pids = 100

    def unix_s(self) -> float:
        return UNIX_S + anyio.current_time() + self.skew_s

    def process(self) -> FakeHost:
        """A new process."""
        self._pids += 1
        self.processes[self._pids] = str(anyio.current_time())
        return FakeHost(self, self._pids)

    def kill(self, host: FakeHost) -> None:
        """A process dies."""
        self.processes.pop(host.me.pid, None)

    def reboot(self) -> None:
        """All processes die, and the clock of the boot begins anew."""
        self.processes.clear()
        self.boot_id = f"{self.name}-boot-{anyio.current_time()}"
        self.booted_at = anyio.current_time()


class KilledLedger(Ledger):
    """A ledger whose process can be killed before and after each commit."""

    def __init__(self, path: Path, db: sqlite3.Connection, killer: Killer, after: Callable[[], object]) -> None:
        super().__init__(path, db)
        self._killer = killer
        self._after = after

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self._killer.moment("before commit")
        with super().transaction() as db:
            yield db
        self._after()
        self._killer.moment("after commit")


@dataclass
class LeaseSetup:
    """A service, a state folder, and the processes that use them."""

    folder: Path
    service: Service = field(default_factory=Service)
    machine: Machine = field(default_factory=Machine)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service.on_start = self._check_row
        self.service.on_stop = self._check_stop

    def process(self, killer: Killer | None = None, machine: Machine | None = None) -> Commands:
        """A process in which commands run."""
        return Commands(self, (machine or self.machine).process(), killer or Killer(), machine or self.machine)

    def leases(self) -> list[Lease]:
        """All open leases, as anybody sees them."""
        with open_ledger(self.folder) as ledger:
            return Leases(ledger, self.machine.process()).open()

    def _check_row(self, arn: str) -> None:
        assert [lease for lease in self.leases() if lease.arn == arn], "a model of ours runs and no row says so"

    def _check_stop(self, arn: str) -> None:
        host = self.machine.process()
        lasting = [lease for lease in self.leases() if lease.arn == arn and lease.lasts]
        assert all(end_reason(lease, host) for lease in lasting), "a model was stopped by which a lease goes on"

    def check(self) -> None:
        """Every model that runs by us has an open row."""
        for arn in self.service.running:
            self._check_row(arn)


class Commands:
    """One process: its host, its ledger, and the objects that a command makes."""

    def __init__(self, setup: LeaseSetup, host: FakeHost, killer: Killer, machine: Machine) -> None:
        self.setup = setup
        self.host = host
        self.killer = killer
        self._machine = machine
        opened = open_ledger(setup.folder)
        opened._db.execute("PRAGMA synchronous = OFF")
        self.leases = Leases(KilledLedger(opened.path, opened._db, killer, setup.check), host)

    def poller(self, timeout_s: float | None = None) -> Poller:
        return Poller(LoopClock(UNIX_S), timeout_s=timeout_s, tell=self.setup.told.append)

    def model(self, arn: str = ARN) -> ReachedModel:
        service = KilledService(self.setup.service, self.killer)
        return ReachedModel(arn=arn, service=service, account=self.setup.service.caller)  # type: ignore[arg-type]

    @asynccontextmanager
    async def open_model(self, lease: Lease) -> AsyncIterator[ReachedModel]:
        yield self.model(lease.arn)

    def reaper(self, timeout_s: float | None = None) -> Reaper:
        return Reaper(self.leases, self.host, self.open_model, self.poller(timeout_s))

    def starter(self, arn: str = ARN, on_taken: OnTaken | None = None) -> Starter:
        options = {} if on_taken is None else {"on_taken": on_taken}
        return Starter(self.model(arn), self.leases, self.host, self.poller(), reaper=self.reaper(), **options)

    def watcher(self) -> Watcher:
        clock = LoopClock(UNIX_S)
        return Watcher(self.leases, self.reaper(), self.host, clock, tell=self.setup.told.append)

    def die(self) -> None:
        """The process is gone."""
        self._machine.kill(self.host)
