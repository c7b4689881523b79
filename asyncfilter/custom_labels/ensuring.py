"""Makes sure that something is there: it is looked for before it is asked for, and again after an uncertain answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncfilter.custom_labels.paced import is_certainly_undone
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    AsyncFilterError,
    RefusedError,
    ResourceExistsError,
    ResourceInUseError,
    ThrottledError,
    TransientError,
)

ATTEMPTS = 5
"""How often something is asked for whose outcome cannot be seen."""

T = TypeVar("T")


async def ensure(
    what: str,
    look: Callable[[], Awaitable[T | None]],
    make: Callable[[], Awaitable[object]],
    poller: Poller,
) -> T:
    """What ``look`` finds; where that is nothing, it is made first.

    The service must refuse to make a second one of the same name, so that a repetition makes and costs nothing.

    Args:
        what: For messages.
        look: Looks for it; None when it is not there.
        make: Asks for it, once.
        poller: Waits between the attempts.

    Raises:
        RefusedError: The service refuses, and it is not there.
        CallError: The service does not answer.
        AccessError: The account may not.
    """
    trouble: AsyncFilterError | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            await poller.pause(what)
        if (found := await look()) is not None:
            return found
        try:
            trouble = await _ask(make)
        except RefusedError:
            # The quota that is used up may be used by what an uncertain attempt has made.
            if trouble is not None and (found := await look()) is not None:
                return found
            raise
        if (found := await look()) is not None:
            return found
    raise trouble or TransientError(f"{what}: the service has accepted it, and does not show it", may_be_billed=True)


async def _ask(make: Callable[[], Awaitable[object]]) -> AsyncFilterError | None:
    """Ask once; returns the error after which it may be there all the same, None for none.

    Raises:
        AsyncFilterError: It is certainly not there.
    """
    try:
        await make()
    except (ResourceExistsError, ResourceInUseError) as error:
        return error  # there is one that cannot be seen yet, or its surroundings are in use
    except (ThrottledError, TransientError) as error:
        if is_certainly_undone(error):
            raise
        return error
    return None
