"""Waits for a state at the service: a look, a pause, and again, until the service says that it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from asyncfilter.clock import Clock
from asyncfilter.errors import ThrottledError, TransientError, WaitEndedError

T = TypeVar("T")

DEFAULT_POLL_S = 10.0
"""Pause between two looks, seconds."""

PATIENCE_S = 600.0
"""Longest time without an answer of the service, seconds; then its error ends the wait."""


class Poller:
    """Waits of one command, which together are bounded by its ``--timeout``.

    Args:
        clock: Gives the time.
        poll_s: Pause between two looks, seconds.
        timeout_s: Longest time of all waits together, seconds from now; None for no bound.
        tell: Called with a sentence whenever the state changes, or the service does not answer.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        poll_s: float = DEFAULT_POLL_S,
        timeout_s: float | None = None,
        tell: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self.clock = clock
        self.tell = tell
        self._poll_s = poll_s
        self._end_at = None if timeout_s is None else clock.monotonic() + timeout_s
        self._timeout_s = timeout_s

    async def until(
        self, what: str, look: Callable[[], Awaitable[T]], is_over: Callable[[T], bool], state: Callable[[T], str]
    ) -> T:
        """Look until ``is_over`` holds for what was seen; returns that.

        Args:
            what: What is waited for, such as ``training of birds.v1``.
            look: One look, which changes nothing.
            is_over: Whether the wait is over.
            state: The state that was seen, in a word or two.

        Raises:
            WaitEndedError: The time of the waits is over.
            CallError: The service has not answered for ``PATIENCE_S``.
        """
        reported: str | None = None
        answered_at = self.clock.monotonic()
        while True:
            try:
                seen = await look()
            except (ThrottledError, TransientError) as error:
                if self.clock.monotonic() - answered_at > PATIENCE_S:
                    raise
                self.tell(f"{what}: no answer ({error.message}); looking again")
            else:
                answered_at = self.clock.monotonic()
                if is_over(seen):
                    return seen
                if (now := state(seen)) != reported:
                    self.tell(f"{what}: {now}")
                    reported = now
            await self.pause(what)

    async def pause(self, what: str) -> None:
        """Wait as long as between two looks.

        Raises:
            WaitEndedError: The time of the waits is over.
        """
        left_s = self._poll_s
        if self._end_at is not None:
            left_s = min(left_s, self._end_at - self.clock.monotonic())
            if left_s <= 0:
                raise WaitEndedError(
                    f"{what}: not over after {self._timeout_s:g} s; it goes on at the service",
                    hint="Repeat the same command to take the wait up again.",
                )
        await self.clock.sleep(left_s)


async def within(timeout_s: float | None, verb: Callable[[], Awaitable[T]], *, what: str, grace_s: float = 0.0) -> T:
    """Run a verb, and cut it where it takes longer: the repetitions of one call, too, and a call that gets no answer.

    What is cut is as after Ctrl-C: the ledger has what was asked for.

    Args:
        timeout_s: Longest time, seconds; None for no bound.
        verb: With all arguments bound.
        what: What takes long, such as ``the training of birds.v1``.
        grace_s: So much longer it may take, seconds, since a wait of it that ends by itself says what it was for.

    Raises:
        WaitEndedError: It was cut.
    """
    with anyio.move_on_after(None if timeout_s is None else timeout_s + grace_s):
        return await verb()
    raise WaitEndedError(
        f"{what}: not over after {timeout_s:g} s",
        hint="Repeat the same command, which goes on with it, or leave --timeout out.",
    )
