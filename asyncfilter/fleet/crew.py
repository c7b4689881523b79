"""All workers of one run: which of them is asked, how much they can take together, and what became of each.

Invariants: an attempt goes to a worker that has room for it, the least loaded one; an image that was lost with too many
workers goes to one that does nothing else; an answer is told durable only after it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from asyncfilter.clock import Clock
from asyncfilter.errors import AsyncFilterError, WaitEndedError
from asyncfilter.events import Emit, TurnsReturned, WorkerJoined, WorkerLeft, WorkerLost
from asyncfilter.fleet.asks import Terms
from asyncfilter.fleet.link import Link
from asyncfilter.fleet.messages import Hello
from asyncfilter.fleet.refusals import Refusals
from asyncfilter.fleet.reservations import Reservations
from asyncfilter.fleet.unstored import LateAnswer, LinkKey, UnstoredAnswers
from asyncfilter.fleet.wait_queue import WaitQueue
from asyncfilter.fleet.wires import Hub, Loss, WorkerFaultError
from asyncfilter.model import Detection, ObjectRef, StopReason, Workers

NOBODY_S = 600.0
"""The run ends when there is no worker for so long."""

_TOLD_S = 1.0
"""Returned turns of a worker are told at most this often."""

_CHECK_S = 0.5


class Crew:
    """The workers of one run; ``run`` must be running. It is the ``Capacity`` of the engine.

    Args:
        hub: Starts and finds workers.
        terms: What workers must agree with.
        engine: Name of what runs them, for the summary.
        emit: Called with events about workers.
        clock: Sleeps, and gives the time of events.
        now: Seconds that go on while this machine is suspended.
    """

    def __init__(
        self, hub: Hub, terms: Terms, *, engine: str, emit: Emit, clock: Clock, now: Callable[[], float]
    ) -> None:
        self.links: list[Link] = []
        self._hub = hub
        self._terms = terms
        self._engine = engine
        self._emit = emit
        self._clock = clock
        self._now = now
        self._limits: dict[Link, int] = {}
        self._limit = 0
        self._listeners: list[Callable[[], None]] = []
        self._promised = 0
        self._places = WaitQueue(self._promise, self._withdraw)
        self._preparations = WaitQueue(self._promise_preparation, self._withdraw_preparation)
        self._changed = anyio.Event()
        self._watching = 0
        self._is_closed = False
        self._settled: set[Link] = set()
        self._heard_out: set[str] = set()
        self._answers = UnstoredAnswers()
        self._joined = self._lost = self._left = self._returned = self._peak = self._late = 0
        self._adopts = True
        self._untold: dict[Link, int] = {}
        self._refusals = Refusals(terms, now)
        self._reservations = Reservations(self.links, self.changed, now)

    # -- Life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Find workers and hold sessions with them, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell)
            await self._find(tasks)

    async def _find(self, tasks: TaskGroup) -> None:
        while True:
            try:
                wire = await self._hub.next()
            except WorkerFaultError as fault:
                self._refusals.cannot_be_used(fault.error)
                self._notify()
                continue
            except AsyncFilterError as error:
                self._refusals.failure = error
                self._notify()
                await anyio.sleep_forever()
                return
            link = Link(wire, self._terms, self, clock=self._clock, now=self._now)
            self.links.append(link)
            tasks.start_soon(self._hold, link)

    async def _hold(self, link: Link) -> None:
        await link.run()
        self.links.remove(link)
        self._settled.discard(link)
        self._heard_out.add(link.name)
        self._limit -= self._limits.pop(link, 0)
        self._notify()

    async def gather(self, least: int, *, wait_s: float, settle_s: float) -> None:
        """Wait until ``least`` workers can be asked, and until what workers kept from before has arrived.

        Those of a former head are all waited for, however few are enough to begin with.

        Args:
            least: Workers to wait for.
            wait_s: How long they are waited for, seconds.
            settle_s: How long the workers of a former head, and its calls that are under way, are waited for, seconds.

        Raises:
            WaitEndedError: Too few came.
            UsageError: None fits.
            CheckpointError: A later head has the workers.
            AsyncFilterError: The cluster cannot be used.
        """
        with anyio.move_on_after(wait_s) as scope:
            while len(self._open()) < least:
                self._check_usable()
                await self._wait_change()
        if scope.cancelled_caught:
            self._refusals.check(has_workers=bool(self._open()), is_over=True)
            came = len(self._open())
            raise WaitEndedError(
                f"only {came} of {least} workers came within {wait_s:g} s (cluster.workers.min, cluster.wait_s); "
                f"nothing was paid{self._refusals.why_unusable()}",
                hint="Start more nodes, ask for less in cluster.per_worker, or raise cluster.wait_s.",
            )
        with anyio.move_on_after(settle_s):
            former = await self._hub.former()
            while not (self._settled.issuperset(self._open()) and self._heard_out.issuperset(former)):
                self._check_usable()
                await self._wait_change()

    def begin(self) -> None:
        """What workers kept from before this head is taken over: from now on such answers are late ones."""
        self._adopts = False

    def late_answers(self) -> list[LateAnswer]:
        """The answers that came for no ask under way, since the last call."""
        late = self._answers.take_late()
        if late:
            self._notify()
        return late

    async def late_arrived(self) -> None:
        """Return once there are ``late_answers``."""
        await self._answers.late_arrived()

    def settled_names(self) -> list[str]:
        """The workers that keep nothing from before this head any more."""
        return [link.name for link in self._settled]

    @property
    def is_ousted(self) -> bool:
        """Whether the workers obey a later head."""
        return self._refusals.is_ousted

    async def say_bye(self) -> None:
        """End all workers, with a moment to hear it; before ``begin`` only those that keep nothing."""
        links = [*self._settled] if self._adopts else [*self.links]
        for link in links:
            link.bye()
        with anyio.move_on_after(_CHECK_S):
            while any(link.can_be_asked for link in links):
                await self._wait_change()

    def tell_end(self) -> None:
        """Tell that the workers go, at the end of the run."""
        for link in self._open():
            self._emit(WorkerLeft(at_unix_s=self._clock.unix(), worker=link.name, reason="end"))

    def statistics(self) -> Workers:
        """What became of the workers so far."""
        return Workers(
            engine=self._engine,
            address=self._hub.address,
            now=len(self._open()),
            peak=self._peak,
            joined=self._joined,
            lost=self._lost,
            left=self._left,
            returned_turns=self._returned,
            late_answers=self._late,
        )

    def _open(self) -> list[Link]:
        return [link for link in self.links if link.can_be_asked]

    def _check_usable(self) -> None:
        """Raise when waiting for workers is in vain."""
        self._refusals.check(has_workers=bool(self._open()))

    # -- Capacity --------------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """See ``Capacity``."""
        return self._limit

    def on_change(self, listener: Callable[[], None]) -> None:
        """See ``Capacity``."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """See ``Capacity``."""
        if await self._places.wait() is None:
            yield False
            return
        try:
            yield True
        finally:
            self._promised -= 1
            self._places.serve()

    def close(self) -> None:
        """See ``Capacity``."""
        self._is_closed = True
        self._places.close()
        self._preparations.close()
        self._notify()

    async def ended(self) -> tuple[StopReason, AsyncFilterError | None]:
        """See ``Capacity``."""
        seen_s = self._now()
        while True:
            if self._refusals.is_ousted:
                return StopReason.FAILED, self._refusals.ousted()
            failure = self._refusals.failure
            if failure is not None and (isinstance(failure, WaitEndedError) or not self._open()):
                # A cluster that has ended takes its workers with it: what is under way ends before that.
                return StopReason.INTERRUPTED, failure
            if self._open():
                seen_s = self._now()
            elif self._refusals.is_held_by_another:
                return StopReason.FAILED, self._refusals.held()
            elif self._now() - seen_s > NOBODY_S:
                why = f"no worker for {NOBODY_S / 60:g} minutes; nothing was paid meanwhile"
                return StopReason.INTERRUPTED, WaitEndedError(
                    why, hint="Run the same command again once there are workers."
                )
            await self._clock.sleep(_CHECK_S)

    def _promise(self) -> bool | None:
        """Keep room for one attempt, where there is some."""
        room = sum(max(0, link.limit - link.asks.attempts) for link in self.links) - self._promised
        if room <= 0:
            return None
        self._promised += 1
        return True

    def _withdraw(self, _place: bool) -> None:  # noqa: FBT001  the line's
        self._promised -= 1

    # -- Choice ----------------------------------------------------------------------------------------------------

    def least_loaded(self) -> Link | None:
        """The worker that should make the next attempt: one to which a frame goes now, else the one with most room.

        Returns:
            None where all are full.
        """
        with_room = [link for link in self.links if link.has_room]
        if not with_room:
            return None
        for link in with_room:
            if link.outbox.gathers:
                return link
        return min(with_room, key=lambda link: link.asks.attempts / link.limit)

    async def preparing_link(self) -> Link | None:
        """The worker that should prepare the next image, once there is one with room; None once the run drains."""
        link = await self._preparations.wait()
        if link is not None:
            link.promised -= 1
        return link

    def _promise_preparation(self) -> Link | None:
        with_room = [link for link in self.links if link.has_preparing_room]
        if not with_room:
            return None
        link = min(with_room, key=lambda link: link.preparing)
        link.promised += 1
        return link

    def _withdraw_preparation(self, link: Link) -> None:
        link.promised -= 1

    async def alone(self, seq: int, *, at: Link | None = None) -> tuple[Link, bool] | None:
        """A worker that does nothing else, reserved for one image until ``not_alone``, and whether it was waited for.

        Args:
            seq: Position of the image.
            at: The worker that it must be; None for any.

        Returns:
            None when ``at`` cannot be asked any more, or the run drains.
        """
        has_waited = False
        while True:
            if self._is_closed or (at is not None and not at.can_be_asked):
                self.not_alone(seq)
                return None
            link = self._reservations.reserved(seq, at)
            if link is not None and link.is_idle:
                return link, has_waited
            has_waited = True
            await self._wait_change()

    def not_alone(self, seq: int) -> None:
        """Let others have the worker that was reserved for an image."""
        self._reservations.free(seq)

    # -- Durable answers -------------------------------------------------------------------------------------------

    def durable(self, objects: Iterable[LinkKey]) -> None:
        """Say that the answers about these objects, by key and ETag, are durable."""
        self._answers.durable(objects)

    # -- What links tell -------------------------------------------------------------------------------------------

    def joined(self, link: Link) -> None:
        """See ``Listener``."""
        hello = link.hello
        self._joined += 1
        self._refusals.can_be_used()
        self._peak = max(self._peak, len(self._open()))
        if hello is not None:
            self._emit(
                WorkerJoined(
                    at_unix_s=self._clock.unix(),
                    worker=link.name,
                    host=hello.host,
                    pid=hello.pid,
                    node=hello.node,
                    cpus=hello.cpus,
                    gpus=hello.gpus,
                )
            )
        self.changed(link)

    def changed(self, link: Link) -> None:
        """See ``Listener``."""
        limit, before = link.limit, self._limits.get(link, 0)
        if limit != before:
            self._limits[link] = limit
            self._limit += limit - before
            for listener in self._listeners:
                listener()
        self._notify()

    def lost(self, link: Link, reason: Loss, asks: int) -> None:
        """See ``Listener``."""
        self._lost += 1
        self._settled.discard(link)
        self._emit(WorkerLost(at_unix_s=self._clock.unix(), worker=link.name, reason=reason.value, asks=asks))
        self.changed(link)

    def left(self, link: Link, reason: str) -> None:
        """See ``Listener``."""
        self._left += reason != "end"
        self._emit(WorkerLeft(at_unix_s=self._clock.unix(), worker=link.name, reason=reason))
        self.changed(link)

    def returned(self, link: Link, turns: int) -> None:
        """See ``Listener``."""
        self._returned += turns
        self._untold[link] = self._untold.get(link, 0) + turns

    def numbered(self, link: Link, number: int, image: ObjectRef) -> None:
        """See ``Listener``."""
        self._answers.numbered(link, number, image)

    def kept(self, link: Link, number: int, image: ObjectRef, detection: Detection) -> None:
        """See ``Listener``."""
        self.numbered(link, number, image)
        self._late += not self._adopts
        self._answers.add_late(image, detection)

    async def room(self) -> None:
        """See ``Listener``."""
        while self._answers.are_too_many:
            await self._wait_change()

    def settled(self, link: Link) -> None:
        """See ``Listener``."""
        self._settled.add(link)
        self._heard_out.add(link.name)
        self._notify()

    def refused(self, link: Link, hello: Hello | None, epoch: int | None) -> None:  # noqa: ARG002  the protocol's
        """See ``Listener``."""
        self._refusals.refused(hello, epoch)
        self._notify()

    async def _tell(self) -> None:
        while True:
            await self._clock.sleep(_TOLD_S)
            self._reservations.free_forgotten()
            untold, self._untold = self._untold, {}
            for link, turns in untold.items():
                self._emit(TurnsReturned(at_unix_s=self._clock.unix(), worker=link.name, turns=turns))

    def _notify(self) -> None:
        self._places.serve()
        self._preparations.serve()
        # Under load this runs once for each answer, and a task waits only now and then.
        if self._watching:
            self._changed.set()
            self._changed = anyio.Event()

    async def _wait_change(self) -> None:
        self._watching += 1
        try:
            with anyio.move_on_after(_CHECK_S):
                await self._changed.wait()
        finally:
            self._watching -= 1
