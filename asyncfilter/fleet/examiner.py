"""The worker: it runs the job's own ports for a head, one ask at a time, and never repeats, decides or writes.

Invariants:

- An attempt is made only by a turn that is not late, of the session with the highest epoch.
- An answer is kept until a head says that it is durable, whatever happens to sessions meanwhile.
- Nothing that a head sends can end the worker but ``Bye``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Literal

import anyio
import msgspec
from anyio.abc import TaskGroup

from asyncfilter.clock import Clock
from asyncfilter.fleet.faults import fault_of
from asyncfilter.fleet.held import HeldBytes
from asyncfilter.fleet.kept import KeptAnswers
from asyncfilter.fleet.messages import (
    Answered,
    Bye,
    Durable,
    Examine,
    Failed,
    Fault,
    FrameError,
    Greet,
    HeadFrame,
    Hello,
    Kept,
    Leaving,
    LetGo,
    Prepare,
    Ready,
    Refused,
    Returned,
    Send,
    Settled,
    WireImage,
    WorkerMessage,
    encode,
    encode_answer,
    read_head_frame,
    take_fitting,
    worker_frame,
)
from asyncfilter.fleet.transit import BATCH_S, TURN_S, Transit
from asyncfilter.fleet.wires import HEARTBEAT_S, SILENCE_S
from asyncfilter.model import ObjectRef
from asyncfilter.ports.examine import BoundedPreparation, Detector, Preparation, Prepared

HEADLESS_S = 600.0
"""How long a worker waits for a head: after it, it leaves."""

LEAVING_S = 100.0
"""How long a worker that must go waits for its answers to become durable; a spot notice comes two minutes ahead."""

_CHECK_S = 0.5

_KEPT_AT_ONCE = 500
"""Kept answers that are encoded ahead for a new head: all of them would take their memory a second time."""

Why = Literal["late", "full", "leaving", "gone"]
Reason = Literal["spot", "sigterm", "idle", "end"]


class ExaminerPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker examines with.

    Attributes:
        detector: Makes one paid attempt at an image by reference.
        preparation: Prepares an image; None where nothing is prepared.
        lanes: In place of ``detector``, by the names of lanes; empty without lanes.
    """

    detector: Detector
    lanes: Mapping[str, Detector] = {}
    preparation: Preparation | None = None

    def at(self, lane: str) -> Detector:
        """The detector of a lane, or the only one."""
        return self.lanes.get(lane, self.detector)


class _Session:
    """What one head has asked for, and what it is to be told."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self.transit = Transit()
        self.waiting: list[msgspec.Raw] = []
        self.waiting_since_s = now()
        self.untold: deque[int] = deque()
        """Numbers of kept answers that this head has still to hear of; they are encoded as they are fetched."""
        self.changed = anyio.Event()
        self.held: dict[int, tuple[WireImage, Prepared]] = {}
        self.preparing: dict[int, anyio.CancelScope] = {}
        self.is_settled = False
        self._now = now

    def tell(self, message: WorkerMessage) -> None:
        if not self.waiting:
            self.waiting_since_s = self._now()
        self.waiting.append(encode(message))
        self.changed.set()


class Examiner:
    """One worker. ``run`` must be running for anything to be examined.

    Args:
        ports: Examine images.
        hello: Says who it is; the counts in it are filled in here.
        clock: Sleeps; ``now`` gives the time.
        now: Seconds of this machine, which go on while it is suspended.
        kept: Keeps answers.
    """

    def __init__(
        self,
        ports: ExaminerPorts,
        hello: Hello,
        *,
        clock: Clock,
        now: Callable[[], float],
        kept: KeptAnswers | None = None,
    ) -> None:
        self._ports = ports
        self._hello = hello
        self._clock = clock
        self._now = now
        self._kept = KeptAnswers() if kept is None else kept
        self._memory = HeldBytes()
        if isinstance(ports.preparation, BoundedPreparation):
            ports.preparation.bound_by(self._memory)
        self._epoch = 0
        self._head = ""
        self._refused = ""
        self._session: _Session | None = None
        self._attempts = 0
        self._examining: dict[int, WireImage] = {}
        self._former = 0
        self._tasks: TaskGroup | None = None
        self._heard_s = now()
        self._reason: Reason | None = None
        self._leaving_s = 0.0
        self._ended = anyio.Event()

    async def run(self) -> Reason:
        """Examine until the worker should end; why it ends."""
        async with anyio.create_task_group() as self._tasks:
            with anyio.CancelScope():
                while not self._must_end():
                    with anyio.move_on_after(_CHECK_S):
                        await self._ended.wait()
            self._tasks.cancel_scope.cancel()
        return self._reason or "end"

    def leave(self, reason: Reason) -> None:
        """Take no further asks, and end once those under way have ended and their answers are durable."""
        if self._reason is None:
            self._reason, self._leaving_s = reason, self._now()
            if self._session is not None:
                self._session.tell(Leaving(reason))

    def under_way(self) -> list[ObjectRef]:
        """The images whose attempts are under way."""
        return [image.image() for image in self._examining.values()]

    # -- What a wire calls -----------------------------------------------------------------------------------------

    def take(self, frame: bytes) -> None:
        """Take a frame of a head.

        Raises:
            FrameError: It is no such frame; nothing of it was done.
        """
        read = read_head_frame(frame)
        if read.epoch < self._epoch:
            return  # told by `give`
        session = self._session
        if session is None or session.name != read.session:
            if not (read.messages and isinstance(greet := read.messages[0], Greet)) or self._is_held(read, greet):
                return
            self._head = greet.head
            session = self._welcome(read)
        now_s = self._now()
        self._heard_s = now_s
        session.transit.arrived(read.sent_s, now_s)
        for message in read.messages:
            self._obey(session, message)

    async def give(self, session: str) -> bytes:
        """The next frame for a session; at the latest after ``HEARTBEAT_S``, also without a message."""
        found = self._session
        if found is None or found.name != session:
            await self._clock.sleep(BATCH_S)  # its greeting may be on its way
            return worker_frame(session, [encode(Refused(self._epoch, session == self._refused))])
        self._tell_kept(found)
        if not found.waiting:
            found.changed = anyio.Event()
            with anyio.move_on_after(HEARTBEAT_S):
                await found.changed.wait()
        if found.waiting:
            # Also where the head asks a moment later: a frame costs it more than what is in it.
            await self._clock.sleep(max(0.0, found.waiting_since_s + BATCH_S - self._now()))
        return worker_frame(session, take_fitting(found.waiting))

    # -- Sessions --------------------------------------------------------------------------------------------------

    def _is_held(self, frame: HeadFrame, greet: Greet) -> bool:
        """Whether another head of the same epoch lives: two that took turns would pay twice."""
        is_held = (
            self._session is not None
            and frame.epoch == self._epoch
            and greet.head != self._head
            and self._now() - self._heard_s <= SILENCE_S
        )
        if is_held:
            self._refused = frame.session
        return is_held

    def _welcome(self, frame: HeadFrame) -> _Session:
        """Begin a session, and tell it what is kept."""
        former, self._session = self._session, _Session(frame.session, self._now)
        self._epoch, session = frame.epoch, self._session
        self._former = self._attempts
        if former is not None:
            for scope in former.preparing.values():
                scope.cancel()
            self._let_go(former, list(former.held))
            former.changed.set()  # its `give`, if one waits
        session.tell(msgspec.structs.replace(self._hello, kept=len(self._kept), under_way=self._former))
        session.untold.extend(self._kept.numbers())
        if self._reason is not None:
            session.tell(Leaving(self._reason))
        self._settle()
        return session

    def _tell_kept(self, session: _Session) -> None:
        """Tell some of the answers that are kept from before."""
        while session.untold and len(session.waiting) < _KEPT_AT_ONCE:
            number = session.untold.popleft()
            if (kept := self._kept.get(number)) is not None:
                session.tell(Kept(number, kept.image, kept.answer))
        self._settle()

    def _settle(self) -> None:
        session = self._session
        if session is None or session.is_settled or session.untold:
            return
        if not self._former:
            session.is_settled = True
            session.tell(Settled())

    def _obey(self, session: _Session, message: object) -> None:
        match message:
            case Examine(id=id_, image=image, turn_s=turn_s, lane=lane):
                self._begin(self._examine, session, id_, image, self._ports.at(lane), turn_s)
            case Send(id=id_, held=held, turn_s=turn_s, lane=lane):
                self._begin(self._send, session, id_, held, lane, turn_s)
            case Prepare(id=id_, image=image):
                self._begin(self._prepare, session, id_, image)
            case LetGo(held=held_ids):
                self._let_go(session, held_ids)
            case Durable(numbers=numbers):
                self._kept.drop(numbers)
            case Bye():
                self._reason = self._reason or "end"
                self._leaving_s = float("-inf")
                self._ended.set()
            case _:
                pass

    def _begin(self, work: Callable[..., Coroutine[None, None, object]], *args: object) -> None:
        if self._tasks is None:
            raise FrameError("the worker does not run yet")
        self._tasks.start_soon(work, *args)

    # -- Asks ------------------------------------------------------------------------------------------------------

    async def _send(self, session: _Session, id_: int, held: int, lane: str, turn_s: float) -> None:
        """Examine an image that is held. It is dropped with its answer: the head needs no frame for it."""
        found = session.held.get(held)
        if found is None:
            session.tell(Returned(id_, 0.0, "gone"))
        elif await self._examine(session, id_, found[0], _of(found[1], lane), turn_s):
            self._let_go(session, [held])

    async def _examine(self, session: _Session, id_: int, image: WireImage, detector: Detector, turn_s: float) -> bool:
        """Make one attempt, unless it is too late; True where it was answered."""
        late_s = session.transit.late_s(turn_s, self._now())
        if (why := self._unusable(session, late_s)) is not None:
            session.tell(Returned(id_, late_s, why))
            return False
        self._attempts += 1
        self._examining[id_] = image
        try:
            answer = encode_answer(await detector.detect(image.image()))
        except Exception as error:  # noqa: BLE001  a port may raise anything; the head decides what follows
            session.tell(_failed(id_, late_s, error))
            return False
        else:
            self._answered(session, Answered(id_, late_s, self._kept.keep(image, answer), answer), image)
            return True
        finally:
            self._attempts -= 1
            self._examining.pop(id_, None)
            if session is not self._session:
                self._former = max(0, self._former - 1)
                self._settle()

    def _unusable(self, session: _Session, late_s: float) -> Why | None:
        """Why an attempt is not made; None where it is."""
        if session is not self._session:
            return "gone"
        if late_s > TURN_S:
            return "late"
        if self._reason is not None:
            return "leaving"
        return "full" if self._kept.is_full else None

    def _answered(self, session: _Session, answered: Answered, image: WireImage) -> None:
        if session is self._session:
            session.tell(answered)
        elif self._session is not None:
            self._session.tell(Kept(answered.number, image, answered.answer))

    async def _prepare(self, session: _Session, id_: int, image: WireImage) -> None:
        if self._reason is not None or self._ports.preparation is None:
            session.tell(Returned(id_, 0.0, "leaving"))
            return
        wanted = image.image()
        self._memory.begin(wanted)
        with anyio.CancelScope() as scope:
            session.preparing[id_] = scope
            try:
                prepared = await self._ports.preparation.prepare(wanted)
            except Exception as error:  # noqa: BLE001  as above
                self._memory.drop(wanted)
                session.tell(_failed(id_, 0.0, error))
            else:
                self._hold(session, id_, image, prepared)
            finally:
                session.preparing.pop(id_, None)
        if scope.cancelled_caught:
            self._memory.drop(wanted)

    def _hold(self, session: _Session, id_: int, image: WireImage, prepared: Prepared | None) -> None:
        if prepared is None:
            self._memory.drop(image.image())
        else:
            self._memory.keep(image.image(), prepared.held_bytes)
            session.held[id_] = (image, prepared)
        session.tell(Ready(id_, is_held=prepared is not None))

    def _let_go(self, session: _Session, held: list[int]) -> None:
        for id_ in held:
            if (found := session.held.pop(id_, None)) is not None:
                self._memory.drop(found[0].image())
            elif (scope := session.preparing.get(id_)) is not None:
                scope.cancel()

    # -- The end ---------------------------------------------------------------------------------------------------

    def _must_end(self) -> bool:
        now_s = self._now()
        if self._reason is None:
            if now_s - self._heard_s > HEADLESS_S and not self._attempts:
                self.leave("idle")
            return False
        if now_s - self._leaving_s > LEAVING_S:
            return True
        is_headless = now_s - self._heard_s > SILENCE_S
        return not self._attempts and (not self._kept or (self._reason == "idle" and is_headless))


def _of(prepared: Prepared, lane: str) -> Detector:
    """The detector of a prepared image."""
    return prepared.detector if prepared.at_lane is None or not lane else prepared.at_lane(lane)


def _failed(id_: int, late_s: float, error: Exception) -> Failed:
    if isinstance(error, FrameError):
        return Failed(id_, late_s, Fault("too_large", str(error), is_billed=True))
    return Failed(id_, late_s, fault_of(error))
