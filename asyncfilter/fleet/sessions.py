"""How a session with a worker ends: by the first of its works that ends, whatever the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from asyncfilter.fleet.messages import FrameError
from asyncfilter.fleet.wires import Loss, WireLostError


class SessionEndedError(Exception):
    """A session is over: its worker left (no reason), or was lost."""

    def __init__(self, reason: Loss | None, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


async def hold(*works: Callable[[], Awaitable[None]]) -> SessionEndedError:
    """Do the works of a session at the same time until one ends, and return how the session has ended."""
    ended: list[SessionEndedError] = []

    async def until_ended(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except WireLostError as error:
            ended.append(SessionEndedError(error.reason, is_final=error.is_final))
        except FrameError:
            ended.append(SessionEndedError(Loss.PROCESS))
        except SessionEndedError as error:
            ended.append(error)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(until_ended, work)
    return ended[0] if ended else SessionEndedError(Loss.CONNECTION)
