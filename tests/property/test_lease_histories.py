"""Any history of commands, deaths, reboots, faults and other users on one model: who pays, and until when.

Commands run at the same time and are killed at random moments. Whatever comes of it: a model that we have started has
a row while it runs, is not stopped while a lease on it goes on, and does not run after the last one once somebody has
looked. A model that somebody else has started while no lease of ours was open is never stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter.custom_labels.lease_table import Wish
from asyncfilter.errors import AsyncFilterError
from asyncfilter.ports.model_service import VersionStatus
from asyncfilter.testing import run_virtually
from asyncfilter.testing.crash import Crash
from tests.kit.models import ARN, Commands, Killer, LeaseSetup, Service, Trouble

HOUR_S = 3600.0
LONGEST_S = 3 * HOUR_S


@dataclass(frozen=True)
class Act:
    """One thing that happens, ``after_s`` seconds after the one before."""

    kind: str
    after_s: float
    killed_at: int
    for_s: float


ACTS = st.builds(
    Act,
    kind=st.sampled_from(
        (
            "start",
            "start",
            "run",
            "watch",
            "reap",
            "reap",
            "stop",
            "foreign start",
            "foreign stop",
            "reboot",
            "clock back",
        )
    ),
    after_s=st.sampled_from((0.0, 1.0, 60.0, 700.0, HOUR_S)),
    killed_at=st.integers(0, 30),
    for_s=st.sampled_from((30.0, 900.0, HOUR_S, LONGEST_S)),
)


class History:
    """Carries acts out."""

    def __init__(self, setup: LeaseSetup) -> None:
        self._world = setup
        self._model = setup.service.models[ARN]
        self._foreign_since: int | None = None

    async def act(self, act: Act) -> None:
        """One act, to its end."""
        match act.kind:
            case "start":
                await self._command(act, lambda commands: self._start(commands, act.for_s, None))
            case "run":
                await self._command(act, self._run(act))
            case "watch":
                await self._command(act, self._watch)
            case "reap":
                await self._command(act, lambda commands: commands.reaper(timeout_s=900).reap())
            case "stop":
                await self._command(act, self._stop)
            case "foreign start":
                self._foreign_start()
            case "foreign stop":
                self._foreign_stop()
            case "reboot":
                self._world.machine.reboot()
            case "clock back":
                self._world.machine.skew_s -= 600.0

    def check_foreign(self) -> None:
        """Nobody of ours has stopped the model of somebody else."""
        self._world.service.settle()
        if self._foreign_since is not None:
            assert len(self._model.stops) == self._foreign_since, "a foreign model was stopped"

    async def _command(self, act: Act, run: Callable[[Commands], Awaitable[object]]) -> None:
        commands = self._world.process(Killer(act.killed_at))
        try:
            await run(commands)
        except* (Crash, AsyncFilterError):
            pass
        commands.die()
        self._world.check()

    async def _start(self, commands: Commands, for_s: float, run_id: str | None) -> None:
        starter = commands.starter()
        lease = await starter.start(Wish(arn=ARN, for_s=for_s, run_id=run_id))
        await starter.until_running(lease)

    def _run(self, act: Act) -> Callable[[Commands], Awaitable[object]]:
        async def run(commands: Commands) -> None:
            await self._start(commands, act.for_s, f"run {id(commands)}")
            await anyio.sleep(600)
            mine = [lease for lease in commands.leases.open() if lease.holder == commands.host.me]
            await commands.reaper().stop(mine)

        return run

    async def _watch(self, commands: Commands) -> None:
        for lease in commands.leases.open():
            await commands.watcher().watch(lease.id)

    async def _stop(self, commands: Commands) -> None:
        await commands.reaper(timeout_s=900).stop(commands.leases.open())

    def _foreign_start(self) -> None:
        self._world.service.settle()
        startable = {VersionStatus.TRAINING_COMPLETED, VersionStatus.STOPPED, VersionStatus.FAILED}
        if self._model.status in startable and not self._world.leases() and not self._world.service._late:
            self._world.service.start_elsewhere()
            self._foreign_since = len(self._model.stops)

    def _foreign_stop(self) -> None:
        self.check_foreign()
        if self._foreign_since is not None and self._model.status == VersionStatus.RUNNING:
            self._world.service._stop(ARN)
            self._foreign_since = None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(ACTS, min_size=1, max_size=8),
    changes=st.lists(st.sampled_from(Trouble.KINDS), max_size=6),
    looks=st.lists(st.sampled_from(("", "", "throttled", "reset")), max_size=8),
)
def test_any_history(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act], changes: list[str], looks: list[str]
) -> None:
    """See the module."""

    async def scenario() -> None:
        setup = LeaseSetup(
            tmp_path_factory.mktemp("state"), Service(Trouble(changes, looks), start_s=60.0, stop_s=20.0)
        )
        history = History(setup)
        with anyio.move_on_after(40 * HOUR_S):
            async with anyio.create_task_group() as tasks:
                for act in acts:
                    await anyio.sleep(act.after_s)
                    tasks.start_soon(history.act, act)
        await anyio.sleep(LONGEST_S + HOUR_S)
        for _ in range(2):
            reaped = await setup.process().reaper().reap()
            assert not reaped.failed
            await anyio.sleep(200)
        assert setup.service.running == []
        assert setup.leases() == []
        history.check_foreign()

    run_virtually(scenario)
