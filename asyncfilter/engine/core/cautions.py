"""The cautions of one run: each is emitted once, and the summary has them all."""

from __future__ import annotations

from collections.abc import Iterable

from asyncfilter.clock import Clock
from asyncfilter.events import Emit, JobWarning


class Cautions:
    """Emits what is probably a mistake and stops no run; a sentence that was said is not said again.

    Args:
        emit: The listener of the run.
        clock: Time of the events.
    """

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self._said: dict[str, None] = {}

    @property
    def said(self) -> tuple[str, ...]:
        """All sentences, in the order in which they were said."""
        return tuple(self._said)

    def take_back(self, message: str) -> None:
        """Leave a sentence out of the summary: what came later refuted it."""
        self._said.pop(message, None)

    def note(self, messages: Iterable[str]) -> None:
        """Put sentences into the summary that have been said before this run."""
        self._said.update(dict.fromkeys(messages))

    def say(self, message: str) -> None:
        """Emit a sentence that is for people, unless this run has said it."""
        if message not in self._said:
            self._said[message] = None
            self._emit(JobWarning(at_unix_s=self._clock.unix(), message=message))
