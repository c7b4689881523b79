"""A run with a time limit: when its time is over it drains, so that what is in flight is finished and kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from asyncfilter.clock import Clock
from asyncfilter.engine.core.stopping import Interrupt

T = TypeVar("T")


async def run_for(
    seconds_s: float,
    run: Callable[[Interrupt], Awaitable[T]],
    *,
    begun: anyio.Event,
    clock: Clock,
    interrupt: Interrupt,
) -> tuple[T, bool]:
    """Call ``run``, and drain it ``seconds_s`` after it has begun.

    Args:
        seconds_s: Time from ``begun`` on.
        run: Called with an interrupt, which is requested by the user or when the time is over.
        begun: Set by ``run`` when the time begins.
        clock: Time.
        interrupt: The user's. A first request while the run drains because its time is over changes nothing.

    Returns:
        The result of ``run``, and whether its time was over before the user interrupted it.
    """
    inner, is_over, failure = Interrupt(), False, None
    results: list[T] = []

    async def watch() -> None:
        nonlocal is_over
        await begun.wait()
        await clock.sleep(seconds_s)
        is_over = not inner.drain.is_set()
        inner.finish()

    async def follow_user() -> None:
        await interrupt.drain.wait()
        inner.drain.set()
        await interrupt.abort.wait()
        inner.abort.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        tasks.start_soon(follow_user)
        try:
            results.append(await run(inner))
        except Exception as error:  # noqa: BLE001  raised again below, outside the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return results[0], is_over
