"""What a link keeps about the asks that are under way, and what head and workers must agree about."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection

import msgspec

from asyncfilter.errors import LostError, NotSentError
from asyncfilter.fleet.messages import FrameError
from asyncfilter.model import Detection, ObjectRef

_NOTHING = "an answer to nothing that is under way"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a head and its workers must agree about.

    Attributes:
        version: Of asyncfilter.
        fingerprint: Of the job, as far as workers use it.
        epoch: Of this head; a worker obeys the highest that it has seen, and of two equal ones the first that lives.
        attempt_s: Longest time of an attempt, seconds.
        most: Most asks under way at one worker.
        head: Names this head; made at random.
    """

    version: str
    fingerprint: str
    epoch: int
    attempt_s: float
    most: int = 4096
    head: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))


class Ask:
    """One ask under way."""

    __slots__ = ("asked_s", "future", "held", "image", "is_attempt", "raw", "until_s")

    def __init__(
        self, image: ObjectRef, *, is_attempt: bool, asked_s: float, until_s: float, held: int | None = None
    ) -> None:
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.image = image
        self.is_attempt = is_attempt
        self.held = held
        self.asked_s = asked_s
        self.until_s = until_s
        self.raw: msgspec.Raw | None = None


class Asks:
    """The asks under way at one worker, by their ids, and those of its session that were given up.

    Args:
        name: Of the worker.

    Attributes:
        attempts: Paid attempts under way.
    """

    def __init__(self, name: str) -> None:
        self.attempts = 0
        self._name = name
        self._under_way: dict[int, Ask] = {}
        self._given_up: dict[int, ObjectRef] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def get(self, id_: int) -> Ask | None:
        """The ask under way of an id."""
        return self._under_way.get(id_)

    def is_overdue(self, now_s: float) -> bool:
        """Whether one should have ended before."""
        return any(now_s > ask.until_s for ask in self._under_way.values())

    def new_session(self) -> None:
        """Forget what was given up: a worker answers no ask of a former session."""
        self._given_up.clear()

    def add(self, id_: int, ask: Ask) -> None:
        """Take an ask for under way."""
        self._under_way[id_] = ask
        self.attempts += ask.is_attempt

    def give_up(self, id_: int) -> bool:
        """Let the answer of an ask belong to nobody; False where the ask has ended."""
        ask = self._under_way.pop(id_, None)
        if ask is None:
            return False
        self.attempts -= ask.is_attempt
        self._given_up[id_] = ask.image
        return True

    def given_up(self, id_: int) -> ObjectRef:
        """The image of an ask that was given up; it is forgotten.

        Raises:
            FrameError: There is none.
        """
        image = self._given_up.pop(id_, None)
        if image is None:
            raise FrameError(_NOTHING)
        return image

    def finish(self, id_: int, result: object, *, is_attempt: bool) -> Ask | None:
        """End one ask with a result or an error; None where it was given up.

        Args:
            id_: Of the ask.
            result: What it ends with.
            is_attempt: The answer may be that of an attempt.

        Raises:
            FrameError: It is not under way, or is one of the other kind.
        """
        ask = self._under_way.get(id_)
        if ask is None:
            self.given_up(id_)
            return None
        fits = is_attempt if ask.is_attempt else not isinstance(result, Detection)
        if not fits:
            raise FrameError(_NOTHING)
        self.attempts -= ask.is_attempt
        del self._under_way[id_]
        if not ask.future.done():
            if isinstance(result, Exception):
                ask.future.set_exception(result)
            else:
                ask.future.set_result(result)
        return ask

    def fail(self, unsent: Collection[int]) -> int:
        """End all of them, for the worker was lost; how many attempts of them may have been made.

        Args:
            unsent: The ``id`` of each message that was not sent.
        """
        asks, self._under_way, self.attempts = self._under_way, {}, 0
        lost = 0
        for ask in asks.values():
            if ask.future.done():
                continue
            if id(ask.raw) in unsent:
                ask.future.set_exception(NotSentError(f"{self._name} was lost before it was asked"))
                continue
            lost += ask.is_attempt
            ask.future.set_exception(LostError(f"{self._name} was lost", may_be_billed=ask.is_attempt))
        return lost
