"""Leases in virtual time: whose models are stopped, when, and whose never."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path

import anyio
import pytest

from asyncfilter.custom_labels.lease import EndReason, Lease, LeaseKind, LeaseState
from asyncfilter.custom_labels.lease_table import Wish
from asyncfilter.custom_labels.reaper import Reaped
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    LeaseError,
    LedgerError,
    ResourceLimitError,
    ResourceMissingError,
    TransientError,
    WaitEndedError,
)
from asyncfilter.ports.model_service import VersionStatus
from asyncfilter.testing import run_virtually
from tests.kit.models import (
    ARN,
    START_S,
    STOP_S,
    UNIX_S,
    Commands,
    LeaseSetup,
    Machine,
    Model,
    Service,
    Trouble,
    arn_of,
)

HOUR_S = 3600.0
OTHER = arn_of("v2")

Scenario = Callable[[LeaseSetup], Awaitable[None]]


def virtually(scenario: Scenario) -> Callable[[Path], None]:
    """Run a test in virtual time, with a setup of its own."""

    @wraps(scenario)
    def test(tmp_path: Path) -> None:
        run_virtually(lambda: scenario(LeaseSetup(tmp_path)))

    del test.__wrapped__
    return test


async def start(
    commands: Commands, for_s: float = HOUR_S, *, arn: str = ARN, adopts: bool = False, **wish: object
) -> Lease:
    """A whole ``model start``."""
    starter = commands.starter(arn)
    lease = await starter.start(Wish(arn=arn, for_s=for_s, **wish), adopts=adopts)  # type: ignore[arg-type]
    await starter.until_running(lease)
    return lease


async def reap(setup: LeaseSetup, machine: Machine | None = None, timeout_s: float | None = None) -> Reaped:
    """Another command looks."""
    return await setup.process(machine=machine).reaper(timeout_s).reap()


# -- The end of a lease ------------------------------------------------------------------------------------------------


@virtually
async def test_stopped_at_its_time_and_not_before(setup: LeaseSetup) -> None:
    """A lease that lasts is left alone; one that is over is stopped, and released once the service says so."""
    lease = await start(setup.process())
    setup.process().die()
    early = await reap(setup)
    assert ([one.id for one in early.kept], early.stopped, early.failed) == ([lease.id], [], [])
    await anyio.sleep(HOUR_S)
    late = await reap(setup)
    assert [(one.state, one.reason) for one in late.stopped] == [(LeaseState.RELEASED, EndReason.EXPIRED)]
    assert late.kept == []
    assert setup.service.models[ARN].status == VersionStatus.STOPPED
    ended = late.stopped[0].ended_at
    assert ended is not None
    assert ended >= UNIX_S + HOUR_S + STOP_S


@virtually
async def test_the_death_of_the_starter_ends_no_lease_for_a_time(setup: LeaseSetup) -> None:
    """``start --for`` has no owner."""
    commands = setup.process()
    await start(commands)
    commands.die()
    assert len((await reap(setup)).kept) == 1
    assert setup.service.models[ARN].status == VersionStatus.RUNNING


@virtually
async def test_the_death_of_an_owner_ends_its_lease(setup: LeaseSetup) -> None:
    """While the run lives nobody stops its model; afterwards anybody does."""
    commands = setup.process()
    await start(commands, run_id="r")
    assert (await reap(setup)).stopped == []
    commands.die()
    assert [one.reason for one in (await reap(setup)).stopped] == [EndReason.OWNER_DEAD]


@virtually
async def test_a_process_that_got_the_number_of_the_owner_is_another(setup: LeaseSetup) -> None:
    """The number alone tells nothing: the owner started at another time."""
    commands = setup.process()
    await start(commands, run_id="r")
    commands.die()
    setup.machine.processes[commands.host.me.pid] = "later"
    assert [one.reason for one in (await reap(setup)).stopped] == [EndReason.OWNER_DEAD]


@virtually
async def test_another_host_waits_for_the_time(setup: LeaseSetup) -> None:
    """Whether a process of another host lives cannot be known from here, nor in another container of the same host."""
    await start(setup.process(), run_id="r")
    elsewhere = Machine("beta")
    assert len((await reap(setup, elsewhere)).kept) == 1
    container = Machine("alpha-in-a-box")
    container.boot_id = setup.machine.boot_id
    in_container = setup.process(machine=container)
    in_container.host.me = replace(in_container.host.me, pid_namespace="pid:[2]")
    assert len((await in_container.reaper().reap()).kept) == 1
    await anyio.sleep(HOUR_S)
    assert [one.reason for one in (await reap(setup, elsewhere)).stopped] == [EndReason.EXPIRED]


@virtually
async def test_a_starting_model_is_stopped_as_soon_as_it_runs(setup: LeaseSetup) -> None:
    """The service refuses to stop it before."""
    commands = setup.process()
    await commands.starter().start(Wish(arn=ARN, for_s=60.0))
    await anyio.sleep(61)
    reaped = await reap(setup)
    assert len(reaped.stopped) == 1
    assert anyio.current_time() < START_S + STOP_S + 40
    assert VersionStatus.STARTING in setup.service.models[ARN].stops


@virtually
async def test_two_reapers_at_once(setup: LeaseSetup) -> None:
    """Both end well, and the model is asked to stop once it runs."""
    await start(setup.process())
    await anyio.sleep(HOUR_S)
    found: list[Reaped] = []

    async def one() -> None:
        found.append(await reap(setup))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert [reaped.failed for reaped in found] == [[], []]
    assert setup.service.running == []
    assert setup.leases() == []


@virtually
async def test_a_bound_ends_the_wait_and_not_the_stop(setup: LeaseSetup) -> None:
    """After ``--timeout`` the ledger says what is left to do, and the next look goes on."""
    await start(setup.process())
    await anyio.sleep(HOUR_S)
    with pytest.raises(WaitEndedError):
        await reap(setup, timeout_s=5)
    assert [lease.state for lease in setup.leases()] == [LeaseState.STOPPING]
    assert [one.reason for one in (await reap(setup)).stopped] == [EndReason.EXPIRED]


@virtually
async def test_a_full_disk_keeps_no_model_running(setup: LeaseSetup) -> None:
    """The ledger can be read and not written: the model is stopped all the same, and the trouble is told."""
    await start(setup.process())
    await anyio.sleep(HOUR_S)
    commands = setup.process()

    def full() -> None:
        raise LedgerError("no space is left for it")

    commands.leases._ledger.transaction = full  # type: ignore[method-assign,assignment]
    with pytest.raises(LedgerError):
        await commands.reaper().reap()
    assert setup.service.models[ARN].status == VersionStatus.STOPPED
    assert [lease.state for lease in setup.leases()] == [LeaseState.RUNNING]
    assert len((await reap(setup)).stopped) == 1


# -- Clocks ------------------------------------------------------------------------------------------------------------


@virtually
async def test_a_clock_that_is_set_back_gives_no_more_time(setup: LeaseSetup) -> None:
    """On the boot that took the lease, the clock of the boot decides too."""
    await start(setup.process())
    setup.machine.skew_s = -86_400.0
    await anyio.sleep(HOUR_S)
    assert [one.reason for one in (await reap(setup)).stopped] == [EndReason.EXPIRED]


@virtually
async def test_a_clock_that_is_set_forward_ends_a_lease_early(setup: LeaseSetup) -> None:
    """That costs no money."""
    await start(setup.process())
    setup.machine.skew_s = 86_400.0
    assert [one.reason for one in (await reap(setup)).stopped] == [EndReason.EXPIRED]


@virtually
async def test_a_boot_keeps_the_lease_of_a_time_and_ends_that_of_a_run(setup: LeaseSetup) -> None:
    """After a reboot the calendar alone says when a lease ends; no process lives on."""
    setup.service.models[OTHER] = Model(OTHER)
    await start(setup.process(), for_s=2 * HOUR_S)
    await start(setup.process(), for_s=2 * HOUR_S, arn=OTHER, run_id="r")
    setup.machine.reboot()
    reaped = await reap(setup)
    assert [(one.arn, one.reason) for one in reaped.stopped] == [(OTHER, EndReason.OWNER_DEAD)]
    assert [one.arn for one in reaped.kept] == [ARN]
    await anyio.sleep(2 * HOUR_S)
    assert [one.arn for one in (await reap(setup)).stopped] == [ARN]


# -- Others' models ----------------------------------------------------------------------------------------------------


@virtually
async def test_a_foreign_model_is_left_alone(setup: LeaseSetup) -> None:
    """It is neither stopped nor leased; only by ``--adopt`` it becomes ours, with its units."""
    setup.service.start_elsewhere(units=2)
    await anyio.sleep(START_S)
    with pytest.raises(LeaseError) as caught:
        await start(setup.process())
    assert caught.value.code == "MODEL_RUNS_WITHOUT_LEASE"
    assert "--adopt" in (caught.value.hint or "")
    assert setup.leases() == []
    await anyio.sleep(10 * HOUR_S)
    assert (await reap(setup)) == Reaped()
    assert setup.service.models[ARN].stops == []
    with pytest.raises(LeaseError, match="2 inference units"):
        await start(setup.process(), adopts=True, units=1)
    adopted = await start(setup.process(), adopts=True)
    assert (adopted.units, adopted.state) == (2, LeaseState.RUNNING)
    await anyio.sleep(HOUR_S)
    assert len((await reap(setup)).stopped) == 1
    assert setup.service.calls == ["stop"]


@virtually
async def test_somebody_else_starts_it_between_look_and_request(setup: LeaseSetup) -> None:
    """The request is refused and the units are others: the row is released, and the other's model runs on."""
    commands = setup.process()
    starter = commands.starter(on_taken=lambda _lease: started_elsewhere(setup))
    with pytest.raises(LeaseError) as caught:
        await starter.start(Wish(arn=ARN, for_s=HOUR_S))
    assert caught.value.code == "MODEL_RUNS_WITHOUT_LEASE"
    assert setup.leases() == []
    await anyio.sleep(2 * HOUR_S)
    await reap(setup)
    assert setup.service.models[ARN].stops == []


async def started_elsewhere(setup: LeaseSetup) -> None:
    """Somebody else starts the model just now."""
    setup.service.start_elsewhere(units=3)


@virtually
async def test_a_model_that_others_stopped_is_released(setup: LeaseSetup) -> None:
    """A start of somebody else after that is not ended by a lease of ours that was still open."""
    commands = setup.process()
    lease = await start(commands)
    setup.service._stop(ARN)
    await anyio.sleep(STOP_S)
    (open_lease,) = setup.leases()
    assert (open_lease.id, open_lease.state) == (lease.id, LeaseState.RUNNING)
    await commands.reaper().look_after(open_lease)
    assert setup.leases() == []
    setup.service.start_elsewhere()
    await anyio.sleep(2 * HOUR_S)
    await reap(setup)
    assert setup.service.models[ARN].stops == [VersionStatus.RUNNING]


@virtually
async def test_credentials_of_another_account_prove_nothing(setup: LeaseSetup) -> None:
    """They do not see the model: the lease stays, and the model is told as one that may run on."""
    await start(setup.process())
    await anyio.sleep(HOUR_S)
    setup.service.account = "999999999999"
    reaped = await reap(setup)
    assert [type(failure.error) for failure in reaped.failed] == [AccessError]
    assert [lease.state for lease in setup.leases()] == [LeaseState.STOPPING]
    setup.service.account = "123456789012"
    assert len((await reap(setup)).stopped) == 1


@virtually
async def test_a_deleted_model_is_released(setup: LeaseSetup) -> None:
    """No such model, by the word of its own account."""
    await start(setup.process())
    del setup.service.models[ARN]
    await anyio.sleep(HOUR_S)
    assert len((await reap(setup)).stopped) == 1
    with pytest.raises(ResourceMissingError):
        await start(setup.process())


# -- Several leases on one model ---------------------------------------------------------------------------------------


@virtually
async def test_start_again_moves_the_end_later_only(setup: LeaseSetup) -> None:
    """The same lease; a shorter wish changes nothing; other units are refused."""
    first = await start(setup.process(), for_s=HOUR_S)
    longer = await start(setup.process(), for_s=2 * HOUR_S)
    shorter = await start(setup.process(), for_s=60.0)
    assert {first.id} == {longer.id, shorter.id} == {lease.id for lease in setup.leases()}
    assert first.expires_at < longer.expires_at == shorter.expires_at
    with pytest.raises(LeaseError) as caught:
        await start(setup.process(), units=2)
    assert caught.value.code == "OTHER_UNITS"
    assert setup.service.calls == ["start"]
    await anyio.sleep(HOUR_S)
    assert (await reap(setup)).stopped == []


@virtually
async def test_an_extension_from_another_host_counts_by_the_calendar(setup: LeaseSetup) -> None:
    """The clock of the first host's boot knows only the former end, and must not decide any more."""
    await start(setup.process(), for_s=HOUR_S)
    await start(setup.process(machine=Machine("beta")), for_s=3 * HOUR_S)
    await anyio.sleep(2 * HOUR_S)
    assert (await reap(setup)).stopped == []
    await anyio.sleep(2 * HOUR_S)
    assert len((await reap(setup)).stopped) == 1


@virtually
async def test_stopped_with_the_last_lease(setup: LeaseSetup) -> None:
    """A run and a time: whichever ends first leaves the model to the other."""
    run = setup.process()
    await start(setup.process(), for_s=HOUR_S)
    await start(run, for_s=3 * HOUR_S, run_id="r")
    assert len(setup.leases()) == 2
    await anyio.sleep(HOUR_S)
    reaped = await reap(setup)
    assert ([one.kind for one in reaped.passed_on], reaped.stopped) == ([LeaseKind.TIME], [])
    assert setup.service.models[ARN].status == VersionStatus.RUNNING
    run.die()
    assert [one.kind for one in (await reap(setup)).stopped] == [LeaseKind.RUN]


@virtually
async def test_two_leases_that_end_at_once(setup: LeaseSetup) -> None:
    """One passes the model on, the other stops it."""
    run = setup.process()
    await start(setup.process(), for_s=HOUR_S)
    await start(run, for_s=HOUR_S, run_id="r")
    await anyio.sleep(HOUR_S + 60)
    reaped = await reap(setup)
    assert (len(reaped.passed_on), len(reaped.stopped)) == (1, 1)
    assert setup.service.running == []


@virtually
async def test_two_processes_start_the_same_model(setup: LeaseSetup) -> None:
    """One start is sent, or a second one is refused and known to be ours; both wait until the model runs."""
    both: list[Lease] = []

    async def one() -> None:
        both.append(await start(setup.process()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert len({lease.id for lease in both}) == 1
    assert setup.service.models[ARN].status == VersionStatus.RUNNING
    await anyio.sleep(HOUR_S)
    assert len((await reap(setup)).stopped) == 1


@virtually
async def test_start_waits_for_a_stop_that_goes_on(setup: LeaseSetup) -> None:
    """A lease that is being ended is not taken back: the model is started again under a new one."""
    old = await start(setup.process())
    await anyio.sleep(HOUR_S)
    new: list[Lease] = []

    async def again() -> None:
        await anyio.sleep(15)
        new.append(await start(setup.process()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reap, setup)
        tasks.start_soon(again)
    assert new[0].id != old.id
    assert setup.service.calls == ["start", "stop", "start"]
    assert setup.service.models[ARN].status == VersionStatus.RUNNING


@virtually
async def test_start_goes_on_with_a_stop_that_was_left(setup: LeaseSetup) -> None:
    """The process that had decided it has died; a start finishes the stop before it begins."""
    lease = await start(setup.process())
    dead = setup.process()
    dead.leases.end(lease.id, asked=True)
    dead.die()
    assert (await start(setup.process())).id != lease.id
    assert setup.service.calls == ["start", "stop", "start"]


# -- Starts that fail --------------------------------------------------------------------------------------------------


@virtually
async def test_a_failed_start_ends_the_lease(setup: LeaseSetup) -> None:
    """The service says FAILED: exit code 1, nothing runs, no row is open."""
    setup.service.models[ARN].fails = True
    with pytest.raises(LeaseError) as caught:
        await start(setup.process())
    assert caught.value.code == "MODEL_START_FAILED"
    assert setup.leases() == []


@virtually
async def test_a_refused_start_ends_the_lease(setup: LeaseSetup) -> None:
    """A limit of the account: the request had no effect."""

    async def refused(*_args: object, **_kwargs: object) -> str:
        raise ResourceLimitError("two models run", code="LimitExceededException")

    setup.service.start_version = refused  # type: ignore[method-assign]
    with pytest.raises(ResourceLimitError):
        await start(setup.process())
    assert setup.leases() == []


@virtually
async def test_a_watcher_that_does_not_begin_ends_the_start(setup: LeaseSetup) -> None:
    """Nothing was asked of the service, and no row is left."""

    async def fails(_lease: Lease) -> None:
        raise AsyncFilterError("no watcher")

    with pytest.raises(AsyncFilterError, match="no watcher"):
        await setup.process().starter(on_taken=fails).start(Wish(arn=ARN, for_s=HOUR_S))
    assert (setup.leases(), setup.service.calls) == ([], [])


@virtually
async def test_an_untrained_model_is_not_started(setup: LeaseSetup) -> None:
    """Its state is named."""
    setup.service.models[ARN].status = VersionStatus.TRAINING_IN_PROGRESS
    with pytest.raises(LeaseError, match="TRAINING_IN_PROGRESS"):
        await start(setup.process())
    assert setup.leases() == []


@pytest.mark.parametrize("fault", ["lost after", "late", "reset", "twice"])
def test_a_start_without_an_answer_is_ours(tmp_path: Path, fault: str) -> None:
    """Carried out, later, not at all, or twice: one model runs under one lease, and is stopped at its end."""

    async def scenario() -> None:
        setup = LeaseSetup(tmp_path, Service(Trouble([fault])))
        await start(setup.process())
        assert len(setup.leases()) == 1
        await anyio.sleep(HOUR_S)
        assert len((await reap(setup)).stopped) == 1
        assert setup.service.running == []

    run_virtually(scenario)


def test_a_stop_that_is_always_throttled_is_told(tmp_path: Path) -> None:
    """The model can be looked at and never stopped: the reaper says so after its patience, and the next one goes on."""

    async def scenario() -> None:
        setup = LeaseSetup(tmp_path, Service(Trouble(["", *["throttled"] * 200])))
        lease = await start(setup.process())
        await anyio.sleep(HOUR_S)
        before_s = anyio.current_time()
        reaped = await reap(setup)
        assert ([one.lease.id for one in reaped.failed], reaped.stopped) == ([lease.id], [])
        assert anyio.current_time() - before_s < 300.0
        assert setup.service.models[ARN].status == VersionStatus.RUNNING
        setup.service.trouble = Trouble()
        assert [one.id for one in (await reap(setup)).stopped] == [lease.id]

    run_virtually(scenario)


def test_a_service_that_never_answers(tmp_path: Path) -> None:
    """The start gives up in time with the service's error; the lease stays, since the model may run."""

    async def scenario() -> None:
        setup = LeaseSetup(tmp_path, Service(Trouble(["reset"] * 1000)))
        with pytest.raises(TransientError):
            await start(setup.process())
        assert [lease.state for lease in setup.leases()] == [LeaseState.INTENT]

    run_virtually(scenario)


# -- The watcher -------------------------------------------------------------------------------------------------------


async def watched(setup: LeaseSetup, commands: Commands, **wish: object) -> Lease:
    """A lease on a model that starts."""
    return await commands.starter().start(Wish(arn=ARN, for_s=HOUR_S, **wish))  # type: ignore[arg-type]


@virtually
async def test_a_watcher_stops_the_model_with_nobody_there(setup: LeaseSetup) -> None:
    """It ends when the lease is released."""
    commands = setup.process()
    lease = await watched(setup, commands)
    commands.die()
    await setup.process().watcher().watch(lease.id)
    assert setup.service.models[ARN].status == VersionStatus.STOPPED
    assert HOUR_S < anyio.current_time() < HOUR_S + STOP_S + 60


@virtually
async def test_a_watcher_sees_its_owner_die(setup: LeaseSetup) -> None:
    """Within seconds, long before the lease ends."""
    commands = setup.process()
    lease = await watched(setup, commands, run_id="r")

    async def die() -> None:
        await anyio.sleep(1000)
        commands.die()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(die)
        tasks.start_soon(setup.process().watcher().watch, lease.id)
    assert setup.service.models[ARN].status == VersionStatus.STOPPED
    assert anyio.current_time() < 1000 + STOP_S + 30


@virtually
async def test_a_watcher_follows_an_end_that_moves(setup: LeaseSetup) -> None:
    """It reads the lease anew each time."""
    commands = setup.process()
    lease = await watched(setup, commands)

    async def extend() -> None:
        await anyio.sleep(1800)
        await start(setup.process(), for_s=2 * HOUR_S)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(extend)
        tasks.start_soon(setup.process().watcher().watch, lease.id)
    assert anyio.current_time() > 1800 + 2 * HOUR_S


@virtually
async def test_one_watcher_a_lease(setup: LeaseSetup) -> None:
    """A second one ends at once; one that died is followed."""
    commands = setup.process()
    lease = await watched(setup, commands)
    first = setup.process()
    assert first.leases.claim(lease.id) is not None
    await setup.process().watcher().watch(lease.id)
    assert anyio.current_time() < 60
    first.die()
    await setup.process().watcher().watch(lease.id)
    assert setup.service.running == []


@virtually
async def test_a_watcher_of_another_host_is_followed(setup: LeaseSetup) -> None:
    """Whether it lives cannot be seen from here, so the host that uses the lease watches it; the other one ends."""
    commands = setup.process()
    lease = await watched(setup, commands)
    elsewhere = setup.process(machine=Machine("beta"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setup.process().watcher().watch, lease.id)
        await anyio.sleep(60)
        tasks.start_soon(elsewhere.watcher().watch, lease.id)
        await anyio.sleep(60)
        assert setup.leases()[0].watcher == elsewhere.host.me
        assert "another process watches it" in setup.told


@virtually
async def test_a_watcher_gives_up_nothing(setup: LeaseSetup) -> None:
    """Hours without valid credentials: it stops the model as soon as they are there again."""
    commands = setup.process()
    lease = await watched(setup, commands)
    real = setup.service.describe_projects

    async def denied(**_options: object) -> object:
        raise AccessError("the credentials have expired")

    async def renew() -> None:
        await anyio.sleep(5 * HOUR_S)
        setup.service.describe_projects = real  # type: ignore[method-assign]

    setup.service.describe_projects = denied  # type: ignore[method-assign,assignment]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew)
        tasks.start_soon(setup.process().watcher().watch, lease.id)
    assert setup.service.models[ARN].status == VersionStatus.STOPPED
    assert anyio.current_time() < 5 * HOUR_S + STOP_S + 400


@virtually
async def test_a_watcher_finds_out_about_an_abandoned_start(setup: LeaseSetup) -> None:
    """A start that died before its request was sent: the row goes, and the watcher with it, long before the end."""
    commands = setup.process()
    lease = commands.leases.take(Wish(arn=ARN, for_s=HOUR_S))
    commands.die()
    await setup.process().watcher().watch(lease.id)
    assert setup.leases() == []
    assert anyio.current_time() < 1000


@virtually
async def test_a_lease_with_a_latest_end(setup: LeaseSetup) -> None:
    """As a switch takes it from the model that it replaces: to the same moment, whatever time was lost before it."""
    leases = setup.process().leases
    former = leases.take(Wish(arn=ARN, for_s=HOUR_S))
    end = former.expires_at
    await anyio.sleep(3.0)
    other = leases.take(Wish(arn=f"{ARN}2", for_s=HOUR_S, not_after=end))
    assert other.expires_at == end
    assert other.expires_boot_s == pytest.approx(former.expires_boot_s)
    assert leases.take(Wish(arn=f"{ARN}2", for_s=2 * HOUR_S, not_after=end)).expires_at == end
