"""The service's calls at their rate, and what of them is repeated, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import anyio
import pytest

from asyncfilter.custom_labels.paced import CALLS_A_SECOND, PATIENCE_S, PacedService
from asyncfilter.custom_labels.waiting import Poller, within
from asyncfilter.errors import (
    AsyncFilterError,
    ResourceLimitError,
    ThrottleCause,
    ThrottledError,
    TransientError,
    WaitEndedError,
)
from asyncfilter.ports.model_service import ListPage, Project
from asyncfilter.testing import LoopClock, run_virtually
from asyncfilter.testing.models import MemoryFiles, MemoryModelService

THROTTLE = ThrottledError("slower", cause=ThrottleCause.RATE)
UNSENT = TransientError("no connection", may_be_billed=False)
LOST = TransientError("no answer", may_be_billed=True)
LATE_THROTTLE = ThrottledError("a gateway", cause=ThrottleCause.SERVER, may_be_done=True)


class Troubled(MemoryModelService):
    """A service whose first answers are these errors."""

    def __init__(self, errors: Sequence[AsyncFilterError]) -> None:
        super().__init__(MemoryFiles())
        self._errors = list(errors)
        self.calls_s: list[float] = []

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        """A look."""
        self._fail()
        return await super().describe_projects(names=names, token=token)

    async def create_project(self, name: str) -> str:
        """A change."""
        self._fail()
        return await super().create_project(name)

    def _fail(self) -> None:
        self.calls_s.append(asyncio.get_running_loop().time())
        if self._errors:
            raise self._errors.pop(0)


def paced(service: MemoryModelService) -> PacedService:
    """The service, paced."""
    return PacedService(service, clock=LoopClock(), rng=Random(0))


def test_each_operation_has_its_rate() -> None:
    """From many tasks at once, calls of one operation are a quarter of a second apart, repetitions among them."""

    async def main() -> None:
        service = Troubled([THROTTLE, LOST, UNSENT])
        made = paced(service)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(made.describe_projects)
        gaps = [two - one for one, two in zip(service.calls_s, service.calls_s[1:], strict=False)]
        assert len(service.calls_s) == 23
        assert min(gaps) >= 1 / CALLS_A_SECOND - 1e-6

    run_virtually(main)


@pytest.mark.parametrize("error", [THROTTLE, UNSENT, LOST, LATE_THROTTLE])
def test_looks_are_repeated(error: AsyncFilterError) -> None:
    """Whatever became of the last one."""

    async def main() -> None:
        service = Troubled([error] * 3)
        assert (await paced(service).describe_projects()).items == []
        assert len(service.calls_s) == 4

    run_virtually(main)


@pytest.mark.parametrize(("error", "calls"), [(THROTTLE, 2), (UNSENT, 2), (LOST, 1), (LATE_THROTTLE, 1)])
def test_changes_are_repeated_only_when_nothing_happened(error: AsyncFilterError, calls: int) -> None:
    """After any other error the caller has to look first."""

    async def main() -> None:
        service = Troubled([error])
        if calls == 1:
            with pytest.raises(type(error)):
                await paced(service).create_project("birds")
        else:
            await paced(service).create_project("birds")
        assert len(service.calls_s) == calls

    run_virtually(main)


def test_refusals_are_final() -> None:
    """A limit is no throttle, as botocore has it."""

    async def main() -> None:
        service = Troubled([ResourceLimitError("full", code="LimitExceededException")])
        with pytest.raises(ResourceLimitError):
            await paced(service).create_project("birds")
        assert len(service.calls_s) == 1

    run_virtually(main)


def test_throttles_without_an_end_are_given_up() -> None:
    """After ten minutes."""

    async def main() -> None:
        service = Troubled([THROTTLE] * 10_000)
        with pytest.raises(ThrottledError):
            await paced(service).describe_projects()
        assert PATIENCE_S * 0.9 < service.calls_s[-1] <= PATIENCE_S

    run_virtually(main)


def test_waits_outlast_silence_and_end_in_time() -> None:
    """A wait goes on through minutes without an answer; ``timeout_s`` bounds all waits of a command together."""

    async def main() -> None:
        answers = [LOST] * 20 + ["going on"] * 3 + ["over"]

        async def look() -> str:
            found = answers.pop(0)
            if isinstance(found, AsyncFilterError):
                raise found
            return found

        told: list[str] = []
        poller = Poller(LoopClock(), poll_s=10, timeout_s=300, tell=told.append)
        assert await poller.until("it", look, lambda seen: seen == "over", str) == "over"
        assert told.count("it: going on") == 1
        answers.extend(["going on"] * 100)
        with pytest.raises(WaitEndedError, match="not over after 300 s"):
            await poller.until("it", look, lambda seen: seen == "over", str)
        assert asyncio.get_running_loop().time() == pytest.approx(300)

    run_virtually(main)


def test_a_bound_holds_within_one_call() -> None:
    """Throttles are repeated for ten minutes; a command with ``--timeout`` ends before."""

    async def main() -> None:
        service = paced(Troubled([THROTTLE] * 10_000))
        with pytest.raises(WaitEndedError, match="training of v1: not over after 30 s"):
            await within(30, service.describe_projects, what="training of v1")
        assert asyncio.get_running_loop().time() == pytest.approx(30)
        assert (await within(None, paced(Troubled([])).describe_projects, what="it")).items == []

    run_virtually(main)
