"""What a link keeps about an ask that is under way, and what head and workers must agree about."""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from asyncfilter.fleet.wires import Loss
from asyncfilter.model import ObjectRef


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


class SessionEndedError(Exception):
    """A session is over: its worker left (no reason), or was lost."""

    def __init__(self, reason: Loss | None, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
