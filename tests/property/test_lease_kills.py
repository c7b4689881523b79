"""Leases through kills at every step: no model of ours runs without a row, none after its lease once somebody looked.

Each test runs a command in virtual time and kills it at one moment after the other: before and after each durable
write and each call of the service. Then others look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter.custom_labels.lease import RUNS, LeaseKind, LeaseState
from asyncfilter.custom_labels.lease_table import Wish
from asyncfilter.errors import AsyncFilterError
from asyncfilter.ports.model_service import VersionStatus
from asyncfilter.testing import run_virtually
from asyncfilter.testing.crash import Crash
from tests.kit.models import ARN, Commands, Killer, LeaseSetup, Model, Service, Trouble, arn_of

HOUR_S = 3600.0
OTHER = arn_of("v2")


async def start(commands: Commands, wish: Wish | None = None, **options: bool) -> None:
    """A whole ``model start``: lease, request, wait."""
    starter = commands.starter()
    lease = await starter.start(wish or Wish(arn=ARN, for_s=HOUR_S), **options)
    await starter.until_running(lease)


async def until_killed(program: Awaitable[object]) -> bool:
    """Run a program to its end or its kill; whether it was killed. Errors of the package are an end, too."""
    killed = False
    try:
        await program
    except* Crash:
        killed = True
    except* AsyncFilterError:
        pass
    return killed


async def look(setup: LeaseSetup) -> None:
    """Another command looks, in a process that is not killed."""
    commands = setup.process()
    reaped = await commands.reaper().reap()
    assert not reaped.failed, reaped.failed
    setup.check()
    commands.die()


def worlds(folder: Path, moments: Callable[[LeaseSetup, Killer], Awaitable[bool]]) -> int:
    """Run ``moments`` with a kill at each moment in turn, until one is not killed; how many moments there were."""
    at = 0
    while True:
        at += 1
        killer = Killer(at)

        async def one(killer: Killer = killer, at: int = at) -> bool:
            return await moments(LeaseSetup(folder / str(at), Service(start_s=25.0, stop_s=15.0)), killer)

        if not run_virtually(one):
            return at - 1


def test_kill_at_every_step_of_start(tmp_path: Path) -> None:
    """Whatever is left: rows for what runs; and after the hour, one look leaves nothing that runs."""

    async def killed_start(setup: LeaseSetup, killer: Killer) -> bool:
        commands = setup.process(killer)
        killed = await until_killed(start(commands))
        commands.die()
        setup.check()
        await look(setup)
        setup.check()
        await anyio.sleep(HOUR_S + 1)
        await look(setup)
        assert setup.service.running == []
        assert setup.leases() == []
        return killed

    assert worlds(tmp_path, killed_start) > 10


def test_kill_at_every_step_of_a_stop(tmp_path: Path) -> None:
    """A reaper that dies is followed by the next one."""

    async def killed_stop(setup: LeaseSetup, killer: Killer) -> bool:
        await start(setup.process())
        await anyio.sleep(HOUR_S)
        commands = setup.process(killer)
        killed = await until_killed(commands.reaper().reap())
        commands.die()
        setup.check()
        await look(setup)
        assert setup.service.models[ARN].status == VersionStatus.STOPPED
        assert setup.leases() == []
        return killed

    assert worlds(tmp_path, killed_stop) > 6


def test_kill_at_every_step_of_an_owned_start(tmp_path: Path) -> None:
    """A run that dies loses its model at the next look, long before the lease ends."""

    async def killed_run(setup: LeaseSetup, killer: Killer) -> bool:
        commands = setup.process(killer)
        killed = await until_killed(start(commands, Wish(arn=ARN, for_s=HOUR_S, run_id="r")))
        commands.die()
        await look(setup)
        assert setup.service.running == []
        return killed

    assert worlds(tmp_path, killed_run) > 10


def test_a_reboot_at_every_step(tmp_path: Path) -> None:
    """The clock of the boot begins anew and every process is gone; the calendar still says when a lease ends."""

    async def rebooted(setup: LeaseSetup, killer: Killer) -> bool:
        commands = setup.process(killer)
        killed = await until_killed(start(commands, Wish(arn=ARN, for_s=HOUR_S, run_id="r")))
        setup.machine.reboot()
        await look(setup)
        assert setup.service.running == []
        return killed

    assert worlds(tmp_path, rebooted) > 10


async def switch(commands: Commands, old: str, new: str) -> None:
    """``model improve --switch``, as ``wiring.improvements`` does it: the new one with the end of the old lease."""
    for arn in (old, new):
        timed = [lease for lease in commands.leases.of(arn, "") if lease.lasts and lease.kind is LeaseKind.TIME]
        if timed and await commands.model(arn).status() in RUNS:
            break
    else:
        return
    if arn == new:
        return
    left_s = timed[0].expires_at - commands.host.unix_s()
    starter = commands.starter(new)
    lease = await starter.start(Wish(arn=new, for_s=left_s))
    await starter.until_running(lease)
    await commands.reaper().stop(timed)


def test_kill_at_every_step_of_a_switch(tmp_path: Path) -> None:
    """One of the two runs all the time; the same command completes it, and the lease ends when it would have."""

    async def killed_switch(setup: LeaseSetup, killer: Killer) -> bool:
        setup.service.models[OTHER] = Model(OTHER)
        await start(setup.process())
        (lease,) = setup.leases()
        commands = setup.process(killer)
        killed = await until_killed(switch(commands, ARN, OTHER))
        commands.die()
        setup.check()
        await look(setup)
        assert setup.service.running
        await anyio.sleep(60)
        again = setup.process()
        await switch(again, ARN, OTHER)
        await again.reaper().reap()
        again.die()
        assert setup.service.running == [OTHER]
        (found,) = setup.leases()
        assert found.expires_at == pytest.approx(lease.expires_at, abs=2)
        await anyio.sleep(HOUR_S + 1)
        await look(setup)
        assert setup.service.running == []
        assert setup.leases() == []
        return killed

    assert worlds(tmp_path, killed_switch) > 15


FAULTS = st.lists(st.sampled_from(Trouble.KINDS), max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 40),
    second_at=st.integers(0, 40),
    changes=FAULTS,
    looks=st.lists(st.sampled_from(("", "", "throttled", "reset")), max_size=8),
    fails=st.booleans(),
    owned=st.booleans(),
    pause_s=st.sampled_from((0.0, 30.0, 200.0, HOUR_S)),
)
def test_kills_and_faults(
    tmp_path_factory: pytest.TempPathFactory,
    at: int,
    second_at: int,
    changes: list[str],
    looks: list[str],
    fails: bool,
    owned: bool,
    pause_s: float,
) -> None:
    """Lost, late and refused answers together with kills of the start and of the first look.

    The service is asked by nobody after the last look, and a late request takes effect within a minute: so one more
    look after that finds nothing that runs.
    """

    async def scenario() -> None:
        setup = LeaseSetup(tmp_path_factory.mktemp("state"), Service(Trouble(changes, looks)))
        setup.service.models[ARN].fails = fails
        commands = setup.process(Killer(at))
        await until_killed(start(commands, Wish(arn=ARN, for_s=HOUR_S, run_id="r" if owned else None)))
        commands.die()
        await anyio.sleep(pause_s)
        second = setup.process(Killer(second_at))
        await until_killed(second.reaper().reap())
        second.die()
        await anyio.sleep(HOUR_S + 1)
        await look(setup)
        assert setup.service.running == []
        await anyio.sleep(100)
        await look(setup)
        assert setup.service.running == []
        assert all(lease.state is not LeaseState.STOPPING for lease in setup.leases())

    run_virtually(scenario)
