"""The head's end of one worker: a session after the other, each from its greeting until it is lost or over.

Invariants:

- Every ask ends: with its answer, its fault, or because its session ended. What was sent and not answered may have been
  billed; what was not sent was not.
- No frame of a worker is used unless it fits its types, and speaks of asks that are under way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from asyncfilter.clock import Clock
from asyncfilter.errors import LostError, NotSentError
from asyncfilter.fleet import messages
from asyncfilter.fleet.asks import Ask, Asks, Terms
from asyncfilter.fleet.faults import error_of
from asyncfilter.fleet.outbox import Outbox
from asyncfilter.fleet.sessions import SessionEndedError, hold
from asyncfilter.fleet.window import Window
from asyncfilter.fleet.wires import HEARTBEAT_S, SILENCE_S, Loss, Wire
from asyncfilter.model import Detection, ObjectRef

_STOOD_STILL_S = 1.0
"""A check that comes so late shows that the head itself stood still: silence of the workers then says nothing."""

PREPARATION_S = 600.0
"""An image that is not prepared after so long shows that the worker does not do what it should."""

_MARGIN_S = 10.0
"""What an attempt may take beyond its own time-out."""

_RESERVE = 2
"""Images under preparation for each core, and as many more: a core must not wait for the next one."""

_NUMBERS = 5_000
"""Numbers of answers in one message: as many fit into a frame, however large they are."""


class Listener(Protocol):
    """What a link tells; called from the event loop, and must not wait."""

    def joined(self, link: Link) -> None:
        """A worker fits and can be asked."""
        ...

    def changed(self, link: Link) -> None:
        """What it can take has changed."""
        ...

    def lost(self, link: Link, reason: Loss, asks: int) -> None:
        """It was lost with so many paid attempts under way."""
        ...

    def left(self, link: Link, reason: str) -> None:
        """It went, as it had said before."""
        ...

    def returned(self, link: Link, turns: int) -> None:
        """Turns came back unused."""
        ...

    def numbered(self, link: Link, number: int, image: ObjectRef) -> None:
        """An attempt was answered; the worker keeps the answer under ``number``."""
        ...

    def kept(self, link: Link, number: int, image: ObjectRef, detection: Detection) -> None:
        """An answer that belongs to no ask under way."""
        ...

    def settled(self, link: Link) -> None:
        """All its kept answers have arrived."""
        ...

    async def room(self) -> None:
        """Wait while many answers that belong to no ask under way are not stored yet."""
        ...

    def refused(self, link: Link, hello: messages.Hello | None, epoch: int | None) -> None:
        """It does not fit (``hello``), or obeys a head of a later ``epoch``, or another one of the same (neither)."""
        ...


class Link:
    """One worker, as the head knows it.

    Args:
        wire: Carries frames.
        terms: What it must agree with.
        listener: Is told what happens.
        clock: Sleeps.
        now: Seconds that go on while this machine is suspended.
    """

    def __init__(self, wire: Wire, terms: Terms, listener: Listener, *, clock: Clock, now: Callable[[], float]) -> None:
        self.wire = wire
        self.name = wire.name
        self.hello: messages.Hello | None = None
        self.process = ""
        """Differs after every start of the worker's process."""
        self.is_open = False
        self.is_reserved = False
        self.limit = 0
        """Paid attempts that may be under way."""
        self.promised = 0
        """Preparations that are about to be asked for."""
        self.asks = Asks(wire.name)
        self.outbox = Outbox(clock)
        self.window = Window(terms.most)
        self.held: set[int] = set()
        self._terms = terms
        self._listener = listener
        self._clock = clock
        self._now = now
        self._session = ""
        self._number = 0
        self._heard_s = 0.0
        self._leaving: str | None = None
        self._is_over = False
        self._received: set[int] = set()
        self._full_until_s = 0.0

    # -- What it can take ------------------------------------------------------------------------------------------

    @property
    def can_be_asked(self) -> bool:
        """False while there is no session, and once the worker has said that it leaves."""
        return self.is_open and self._leaving is None

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may be asked for."""
        return self.asks.attempts < self.limit and not self.is_reserved

    def reserve(self, *, is_reserved: bool) -> None:
        """Keep it for one image, or not any more."""
        self.is_reserved = is_reserved
        self._set_limit()

    def _set_limit(self) -> None:
        """To be called after everything that changes it."""
        if not self.can_be_asked or self._full_until_s:
            self.limit = 0
        else:
            self.limit = 1 if self.is_reserved else self.window.size

    @property
    def preparing(self) -> int:
        """Images under preparation, or about to be."""
        return len(self.asks) - self.asks.attempts + self.promised

    @property
    def has_preparing_room(self) -> bool:
        """Whether one more image may be prepared."""
        if not self.can_be_asked or self.is_reserved or self.hello is None:
            return False
        return self.preparing < _RESERVE * (int(self.hello.cpus) + 1)

    @property
    def is_idle(self) -> bool:
        """True while nothing is under way."""
        return not self.asks

    # -- Asks ------------------------------------------------------------------------------------------------------

    async def examine(self, image: ObjectRef, *, lane: str = "", held: int | None = None) -> Detection:
        """One paid attempt, by a turn of this moment.

        Raises:
            NotSentError: The turn came too late, or it was never sent.
            LostError: The worker was lost with it.
            CallError: As the detector of the worker.
            AccessError: Likewise.
        """
        now_s = self._now()
        until_s = now_s + self._terms.attempt_s + _MARGIN_S
        ask = Ask(image, is_attempt=True, asked_s=now_s, until_s=until_s, held=held)
        id_ = self._next()
        message: messages.HeadMessage
        if held is None:
            message = messages.Examine(id_, messages.WireImage.of(image), now_s, lane)
        else:
            message = messages.Send(id_, held, now_s, lane)
        answer = await self._ask(id_, ask, message)
        if isinstance(answer, Detection):
            return answer
        raise LostError("the worker answered something else", may_be_billed=True)

    async def prepare(self, image: ObjectRef) -> int | None:
        """Prepare an image, at no cost: the id under which the worker holds it, None where it needs not be held.

        Raises:
            NotSentError: It was never sent, or the worker leaves.
            LostError: The worker was lost with it.
            CallError: As the preparation of the worker.
            AccessError: Likewise.
        """
        now_s = self._now()
        ask = Ask(image, is_attempt=False, asked_s=now_s, until_s=now_s + PREPARATION_S)
        id_ = self._next()
        is_held = await self._ask(id_, ask, messages.Prepare(id_, messages.WireImage.of(image)))
        return id_ if is_held else None

    def let_go(self, held: int) -> None:
        """Drop an image that the worker holds; it has dropped an image with an answer by itself."""
        if held in self.held:
            self.held.discard(held)
            self.outbox.put(messages.LetGo([held]), is_urgent=False)

    def durable(self, numbers: list[int]) -> None:
        """Say which answers are durable."""
        self._received.difference_update(numbers)
        if self.is_open:
            for start in range(0, len(numbers), _NUMBERS):
                self.outbox.put(messages.Durable(numbers[start : start + _NUMBERS]), is_urgent=False)

    def bye(self) -> None:
        """End the worker: the run is over."""
        self._is_over = True
        if self.is_open:
            self.outbox.put(messages.Bye())

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, id_: int, ask: Ask, message: messages.HeadMessage) -> object:
        if not self.is_open:
            raise NotSentError(f"{self.name} is not there")
        self.asks.add(id_, ask)
        try:
            ask.raw = self.outbox.put(message)
            return await ask.future
        finally:
            if self.asks.give_up(id_):  # cancelled: its answer belongs to nobody
                self._listener.changed(self)

    # -- Sessions --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold sessions with the worker until it has gone for good, or does not fit."""
        while True:
            try:
                await self._hold_session()
            except SessionEndedError as ended:
                if self._end_session(ended.reason) or ended.is_final:
                    return
            await self._clock.sleep(HEARTBEAT_S)

    async def _hold_session(self) -> None:
        self._session = secrets.token_hex(8)
        self.outbox.begin(messages.Greet(self._terms.version, self._terms.fingerprint, self._terms.head))
        self.asks.new_session()
        self._heard_s = self._now()
        raise await hold(self._sending, self._receiving, self._watching)

    def _end_session(self, reason: Loss | None) -> bool:
        """Settle what was under way; True when the worker has gone for good."""
        was_open, leaving = self.is_open, self._leaving
        self.is_open, self._leaving, self._full_until_s = False, None, 0.0
        self._set_limit()
        sent = self.asks.fail(self.outbox.drop())
        self.held.clear()
        if not was_open:
            return reason is None or self._is_over
        if self._is_over or (leaving is not None and not sent):
            self._listener.left(self, leaving or "end")
            return True
        self._listener.lost(self, reason or Loss.CONNECTION, sent)
        return reason is None

    async def _sending(self) -> None:
        while True:
            fitting = await self.outbox.next()
            await self.wire.send(messages.head_frame(self._session, self._terms.epoch, self._now(), fitting))

    async def _watching(self) -> None:
        """End the session when the worker is silent, or does not answer an ask in time."""
        began_s = checked_s = self._now()
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            now_s = self._now()
            if now_s - checked_s > HEARTBEAT_S + _STOOD_STILL_S:
                self._heard_s = now_s
            elif now_s - self._heard_s > SILENCE_S:
                raise SessionEndedError(Loss.SILENCE)
            elif not self.is_open and now_s - began_s > SILENCE_S:
                raise SessionEndedError(Loss.CONNECTION)  # it has not seen the greeting
            elif self.asks.is_overdue(now_s):
                raise SessionEndedError(Loss.PROCESS)
            elif self._full_until_s and now_s > self._full_until_s:
                self._rest(until_s=0.0)
            checked_s = now_s

    async def _receiving(self) -> None:
        while True:
            frame = messages.read_worker_frame(await self.wire.receive(self._session))
            if frame.session != self._session:
                continue
            self._heard_s = self._now()
            returned = 0
            for message in frame.messages:
                returned += isinstance(message, messages.Returned)
                self._hear(message)
            if returned:
                self._listener.returned(self, returned)
            await self._listener.room()
            self._heard_s = self._now()

    def _hear(self, message: messages.WorkerMessage) -> None:
        """Take one message.

        Raises:
            FrameError: It speaks of what is not under way.
        """
        match message:
            case messages.Answered():
                self._answered(message)
            case messages.Failed(id=id_, late_s=late_s, fault=fault):
                self._finish(id_, late_s, error_of(fault))
            case messages.Returned():
                self._returned(message)
            case messages.Ready():
                self._ready(message)
            case messages.Kept():
                self._kept(message)
            case _:
                self._hear_about_session(message)

    def _hear_about_session(self, message: messages.WorkerMessage) -> None:
        match message:
            case messages.Hello():
                self._welcome(message)
            case messages.Settled():
                self._listener.settled(self)
            case messages.Leaving(reason=reason):
                self._leaving = reason
                self._set_limit()
                self._listener.changed(self)
            case messages.Refused(epoch=epoch) if epoch > self._terms.epoch:
                self._listener.refused(self, None, epoch)
                raise SessionEndedError(None, is_final=True)
            case messages.Refused(is_held=is_held) if is_held or self.is_open:
                if is_held:
                    self._listener.refused(self, None, None)
                raise SessionEndedError(Loss.CONNECTION)

    def _returned(self, message: messages.Returned) -> None:
        ask = self.asks.get(message.id)
        if message.why == "gone" and ask is not None and ask.held is not None:
            self.held.discard(ask.held)
        elif message.why == "full":
            # It would be the one with most room, and return every turn.
            self._rest(until_s=self._now() + HEARTBEAT_S)
        self._finish(message.id, message.late_s, NotSentError(f"{self.name} returned a turn: {message.why}"))

    def _rest(self, *, until_s: float) -> None:
        """Ask it for no attempt until a time; 0 for now."""
        self._full_until_s = until_s
        self._set_limit()
        self._listener.changed(self)

    def _kept(self, message: messages.Kept) -> None:
        detection = messages.decode_answer(message.answer)
        if message.number not in self._received:
            self._received.add(message.number)
            self._listener.kept(self, message.number, message.image.image(), detection)

    def _welcome(self, hello: messages.Hello) -> None:
        if (hello.version, hello.fingerprint) != (self._terms.version, self._terms.fingerprint):
            self._listener.refused(self, hello, None)
            raise SessionEndedError(None, is_final=True)
        if self.is_open:
            raise messages.FrameError("a second greeting")
        if hello.process != self.process:
            # Its numbers begin anew.
            self.process, self._received = hello.process, set()
        self.hello, self.is_open = hello, True
        self.window = Window(self._terms.most)
        self.reserve(is_reserved=False)
        self._listener.joined(self)

    def _answered(self, message: messages.Answered) -> None:
        detection = messages.decode_answer(message.answer)
        self._received.add(message.number)
        ask = self.asks.get(message.id)
        if ask is not None and ask.held is not None:
            self.held.discard(ask.held)
        if ask is None:
            self._listener.kept(self, message.number, self.asks.given_up(message.id), detection)
        elif ask.future.done():  # cancelled in this moment
            self._finish(message.id, message.late_s, detection)
            self._listener.kept(self, message.number, ask.image, detection)
        else:
            self._listener.numbered(self, message.number, ask.image)
            self._finish(message.id, message.late_s, detection)

    def _ready(self, message: messages.Ready) -> None:
        ask = self.asks.get(message.id)
        if ask is not None and ask.is_attempt:
            raise messages.FrameError("an attempt that was prepared")
        if message.is_held:
            if ask is not None and not ask.future.done():
                self.held.add(message.id)
            else:
                self.outbox.put(messages.LetGo([message.id]))
        self._finish(message.id, None, message.is_held)

    def _finish(self, id_: int, late_s: float | None, result: object) -> None:
        """End one ask.

        Args:
            id_: Of the ask.
            late_s: How late the worker took an attempt up; None for a preparation.
            result: What it ends with.

        Raises:
            FrameError: It is not under way, or is one of the other kind.
        """
        under_way = self.asks.attempts
        ask = self.asks.finish(id_, result, is_attempt=late_s is not None)
        if ask is None:
            return
        if late_s is not None and ask.is_attempt:
            self.window.answered(late_s=late_s, asked_s=ask.asked_s, under_way=under_way, now_s=self._now())
            self._set_limit()
        self._listener.changed(self)
