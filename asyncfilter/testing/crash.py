"""Crashes at chosen moments: a process is killed at each of its awaits in turn, to test what it leaves behind.

for at in count(1):
    crash = CrashPlan(at)
    is_crashed = crashed(run_program, checkpoint=crashing(checkpoint, crash))
    ...  # check the data that is left, resume, check again
    if not is_crashed:
        break
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from inspect import iscoroutinefunction
from typing import ParamSpec, TypeVar, cast

from anyio.lowlevel import checkpoint as yield_to_others

P = ParamSpec("P")
T = TypeVar("T")


class Crash(BaseException):
    """The simulated kill of a process; like a real one, it is not caught by ``except Exception``."""


class CrashPlan:
    """Numbers the moments at which a process can be killed, and raises ``Crash`` at one of them.

    Args:
        at: The number of the moment, from 1; 0 for a process that is not killed.

    Attributes:
        moments: Names of the moments so far, in order.
    """

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.moments: list[str] = []

    async def point(self, moment: str) -> None:
        """Record a moment, after one iteration of the event loop in which other tasks can run.

        Raises:
            Crash: It is the chosen moment.
        """
        await yield_to_others()
        self.moments.append(moment)
        if len(self.moments) == self.at:
            raise Crash(moment)


class CrashingProxy:
    """A port whose process can be killed before and after each awaited call; ``crashing`` keeps the port's type.

    Args:
        port: Any object; its coroutine methods have the moments ``before NAME`` and ``after NAME``.
        plan: Has the moment of the crash. Several ports of one process share a plan.
        only: Names of the methods that have moments; all by default.
    """

    def __init__(self, port: object, plan: CrashPlan, *, only: Collection[str] | None = None) -> None:
        self._port = port
        self._plan = plan
        self._only = only

    def __getattr__(self, name: str) -> object:
        member = getattr(self._port, name)
        if not iscoroutinefunction(member) or (self._only is not None and name not in self._only):
            return member

        @wraps(member)
        async def call(*args: object, **kwargs: object) -> object:
            await self._plan.point(f"before {name}")
            result = await member(*args, **kwargs)
            await self._plan.point(f"after {name}")
            return result

        return call


def crashing(port: T, plan: CrashPlan, *, only: Collection[str] | None = None) -> T:
    """The port behind a ``CrashingProxy``."""
    return cast("T", CrashingProxy(port, plan, only=only))


def crashed(program: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Call ``program``; return whether a ``Crash`` ended it. Other exceptions are raised."""
    is_crashed = False
    try:
        program(*args, **kwargs)
    except* Crash:
        is_crashed = True
    return is_crashed


async def unless_crashed(program: Awaitable[T]) -> T | None:
    """The result of ``program``; None when a ``Crash`` ended it. Other exceptions are raised."""
    result = None
    try:
        result = await program
    except* Crash:
        pass
    return result
