"""Workers as actors of Ray: how they are started and found again, and wires to them.

Ray places the actors, restarts them and carries frames; everything else is ours: liveness, flow control, fencing and
repetition.

An actor is *detached*: it outlives the head that started it, so that the next head finds what it keeps. Its name has
the checkpoint and the fingerprint of the job.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.errors import AsyncFilterError, UsageError, WaitEndedError
from asyncfilter.fleet import ray_connection
from asyncfilter.fleet.faults import error_at_start
from asyncfilter.fleet.messages import Fault
from asyncfilter.fleet.transit import BATCH_S
from asyncfilter.fleet.wires import Loss, Wire, WireLostError, WorkerFaultError

_LOOK_S = 2.0
_ANSWER_S = 30.0
_AGAIN_S = 30.0
"""A worker that cannot work is tried again after so long."""
_CONCURRENCY = 1_000
_GB = 1_000_000_000
_WHY_CHARS = 300
_OF_PROGRAM = ("its creation task", "ModuleNotFoundError", "ImportError", "AttributeError")
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b")
_FATE_S = 2.0
_GONE_S = 15.0
"""After so long without an answer of Ray's head the cluster has ended; it does not come back."""

T = TypeVar("T")

Actor = Any
"""Ray's handle of an actor; its type is known where Ray is installed."""


class Life(NamedTuple):
    """Where an actor lives.

    Attributes:
        pid: Its process.
        node: Id of its node.
        is_alive: Whether it runs.
    """

    pid: int
    node: str
    is_alive: bool


class Outdated(NamedTuple):
    """Names of actors that are of no use to a head.

    Attributes:
        of_job: Of the same checkpoint, with other settings of the job.
        of_checkpoint: Of a checkpoint in whose place this one is.
        of_others: Of other checkpoints, which may have a head.
    """

    of_job: list[str]
    of_checkpoint: list[str]
    of_others: list[str]


class PerWorker(msgspec.Struct, frozen=True, kw_only=True):
    """What Ray is asked for, for each worker."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None


class RayHub:
    """``Hub`` of actors.

    Args:
        actor_class: Of the workers, made with ``spec`` and a name; has ``opened``, ``take``, ``give`` and ``exchange``.
        spec: What a worker is told.
        name: Begins the names of the actors; other names that begin with ``family`` are of former jobs.
        family: See ``name``.
        replaced: Other beginnings of names: actors of checkpoints in whose place this one is, which are ended.
        address: Of the cluster.
        most: Most workers; None for as many as the cores hold.
        per_worker: What Ray is asked for.
    """

    def __init__(
        self,
        actor_class: type,
        spec: bytes,
        *,
        name: str,
        family: str,
        replaced: tuple[str, ...] = (),
        address: str,
        most: int | None,
        per_worker: PerWorker,
    ) -> None:
        self.address = address
        self._ray = ray_connection.import_ray()
        self._class = actor_class
        self._spec = spec
        self._name = name
        self._family = family
        self._replaced = replaced
        self._per_worker = per_worker
        self._most = most
        self._ready: asyncio.Queue[Wire | Exception] = asyncio.Queue()
        self._actors: dict[str, Actor] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._looking: list[asyncio.Task[None]] = []
        self._again_s: dict[str, float] = {}
        self.started: set[str] = set()
        self.is_left = False
        """Workers of a former head may live on."""
        self._former: list[str] = []
        self._looked = asyncio.Event()

    async def next(self) -> Wire:
        """See ``Hub``.

        Raises:
            AccessError: A worker cannot work.
            UsageError: Likewise.
        """
        if not self._looking:
            self._looking = [asyncio.create_task(work) for work in (self._look(), self._watch())]
        found = await self._ready.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def former(self) -> list[str]:
        """See ``Hub``."""
        await self._looked.wait()
        return self._former

    async def close(self) -> None:
        """See ``Hub``."""
        await self._end(self._all)

    async def leave(self, ended: Collection[str]) -> None:
        """See ``Hub``."""
        self.is_left = not self._looked.is_set() or not set(self._former) <= set(ended)
        await self._end(lambda: ended)

    async def _end(self, names: Callable[[], Collection[str]]) -> None:
        """Look for no workers any more, and end those of some names, within a bounded time."""
        for task in (*self._looking, *self._opening):
            task.cancel()
        with anyio.move_on_after(ray_connection.REACH_S):
            if not ray_connection.has_ended():
                await ray_connection.ask_ray(partial(self._kill, names))

    # -- Actors ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell when the cluster has ended: its head does not answer, and does not come back."""
        seen_s = anyio.current_time()
        while anyio.current_time() - seen_s <= _GONE_S:
            if await anyio.to_thread.run_sync(ray_connection.answers, self.address, abandon_on_cancel=True):
                seen_s = anyio.current_time()
            await anyio.sleep(_LOOK_S)
        ray_connection.forget()
        gone = f"the Ray at {self.address} has ended"
        await self._ready.put(WaitEndedError(gone, hint="Run the same command again once there is a cluster."))

    async def _look(self) -> None:
        """Find the actors that are there, start those that are missing, and do so again while the run goes on."""
        seen_s = anyio.current_time()
        is_first = True
        while True:
            try:
                await self._look_once(is_first=is_first)
            except Exception as error:  # noqa: BLE001  Ray may raise anything; it may serve again
                if anyio.current_time() - seen_s > _GONE_S:
                    await self._ready.put(ray_connection.refusal(self.address, error))
                    return
            else:
                seen_s, is_first = anyio.current_time(), False
            await anyio.sleep(_LOOK_S)

    async def _look_once(self, *, is_first: bool) -> None:
        names = await _bounded(partial(self._present, ends_former=is_first))
        for name in names:
            if self._is_wanted(name):
                self._open(name, await _bounded(partial(self._found, name)))
        if is_first:
            self._former = list(self._actors)
            self._looked.set()
        for name in [name for name in self._actors if name not in names]:
            del self._actors[name]
        for number in range(1, await _bounded(self.wanted) + 1):
            name = f"{self._name}-{number}"
            if self._is_wanted(name):
                self.started.add(name)
                self._open(name, await _bounded(partial(self._started, name)))

    def _is_wanted(self, name: str) -> bool:
        return name not in self._actors and anyio.current_time() >= self._again_s.get(name, 0.0)

    def wanted(self) -> int:
        """Workers that there should be."""
        if self._most is not None:
            return self._most
        return max(1, int(ray_connection.total_cpus() // self._per_worker.cpus))

    def outdated(self) -> Outdated:
        """The actors that are of no use to this head; those of former jobs and checkpoints are ended once it begins."""
        names = self._ray.util.list_named_actors()
        own = [name for name in names if name.startswith(self._family)]
        others = [name for name in names if name not in own]
        return Outdated(
            of_job=[name for name in own if not name.startswith(self._name)],
            of_checkpoint=[name for name in others if name.startswith(self._replaced)],
            of_others=[name for name in others if not name.startswith(self._replaced)],
        )

    def _present(self, *, ends_former: bool = False) -> list[str]:
        """Names of our actors that live; those of former jobs and checkpoints are ended once."""
        if ends_former:
            outdated = self.outdated()
            self._kill(lambda: [*outdated.of_job, *outdated.of_checkpoint])
        return [name for name in self._ray.util.list_named_actors() if name.startswith(self._name)]

    def _found(self, name: str) -> Actor:
        try:
            return self._ray.get_actor(name)
        except ValueError:
            return None

    def _started(self, name: str) -> Actor:
        asked = self._per_worker
        # Nothing comes back for a frame: a result that nobody reads would cost a third of the call.
        take = vars(self._class)["take"]
        take.__ray_num_returns__ = 0  # as ``ray.method`` sets it
        options: dict[str, Any] = {} if asked.memory_gb is None else {"memory": int(asked.memory_gb * _GB)}
        made = self._ray.remote(self._class).options(
            name=name,
            lifetime="detached",
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=_CONCURRENCY,
            get_if_exists=True,
            **options,
        )
        return made.remote(self._spec, name)

    def _open(self, name: str, actor: Actor) -> None:
        if actor is None:
            return
        self._actors[name] = actor
        task = asyncio.create_task(self._offer(name, actor))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _offer(self, name: str, actor: Actor) -> None:
        """Offer a worker once its ports are open, or say why it cannot work; such a one is asked again later."""
        found: RayWire | AsyncFilterError | None
        try:
            fault = await actor.opened.remote()
            life = await ray_connection.in_thread(partial(self.life, actor), default=None)
            found = (
                error_at_start(msgspec.msgpack.decode(fault, type=Fault)) if fault else RayWire(self, name, actor, life)
            )
        except Exception as error:  # noqa: BLE001  Ray may raise anything
            found = _unfit(error)
        if isinstance(found, RayWire):
            await self._ready.put(found)
            return
        self._actors.pop(name, None)  # what ended meanwhile is looked for again, or started
        if found is not None:
            self._again_s[name] = anyio.current_time() + _AGAIN_S
            await self._ready.put(WorkerFaultError(found))

    def is_gone(self, name: str) -> bool:
        """Whether an actor will never answer again."""
        return self._found(name) is None

    def life(self, actor: Actor) -> Life | None:
        """Where an actor lives; None where that is not known."""
        try:
            found = self._ray._private.state.actors(actor._actor_id.hex())  # noqa: SLF001  the public one needs a dashboard
            return Life(found["Pid"], found["Address"]["NodeID"], found["State"] == "ALIVE")
        except Exception:  # noqa: BLE001  a name of Ray's own that may change
            return None

    def fate(self, actor: Actor, former: Life | None) -> Loss | None:
        """What became of the process that an actor was; None where that does not show.

        Ray hears of it a moment after we do, so that it is asked for some time.
        """
        until_s = time.monotonic() + _FATE_S
        while former is not None and time.monotonic() < until_s and not ray_connection.is_left():
            now = self.life(actor)
            if now is None:
                return None
            if not now.is_alive or now.pid != former.pid:
                return Loss.PROCESS if self._has_node(former.node) else Loss.NODE
            time.sleep(_FATE_S / 10)
        return None

    def _has_node(self, node: str) -> bool:
        return any(one["NodeID"] == node and one["Alive"] for one in self._ray.nodes())

    def end(self, name: str) -> None:
        """End one actor."""
        if (actor := self._actors.get(name)) is not None:
            self._ray.kill(actor, no_restart=True)

    def _all(self) -> Collection[str]:
        return {*self._present(), *self._actors}

    def _kill(self, names: Callable[[], Collection[str]]) -> None:
        for name in names():
            if (actor := self._actors.get(name) or self._found(name)) is not None:
                self._ray.kill(actor, no_restart=True)


async def _bounded(ask: Callable[[], T]) -> T:
    """What Ray answers.

    Raises:
        TimeoutError: It does not, as while its head stands still.
    """
    with anyio.fail_after(_ANSWER_S):
        return await ray_connection.ask_ray(ask)


class RayWire:
    """``Wire`` to one actor: one call waits there for the next frame, and where it can it has brought one.

    A call takes the head longer than what is in its frame. So the next one that waits brings the next frame to send;
    where there is none in ``BATCH_S``, in which the worker would gather answers all the same, it brings nothing.
    """

    def __init__(self, hub: RayHub, name: str, actor: Actor, life: Life | None) -> None:
        self.name = name
        self._life = life
        self._hub = hub
        self._actor = actor
        # Ray makes a new object for each look-up.
        self._take, self._give, self._exchange = actor.take, actor.give, actor.exchange
        self._session = ""
        self._reply: Awaitable[object] | None = None
        self._began = asyncio.Event()
        """A call waits."""

    async def send(self, frame: bytes) -> None:
        """See ``Wire``."""
        try:
            if self._reply is None and self._session:
                self._reply = self._exchange.remote(frame, self._session)
                self._began.set()
            else:
                self._take.remote(frame)
        except Exception as error:
            raise WireLostError(Loss.CONNECTION, str(error)) from error

    async def receive(self, session: str) -> bytes:
        """See ``Wire``."""
        if session != self._session:
            self._session, self._reply = session, None
        try:
            frame = await self._next_reply()
        except Exception as error:
            raise await self._lost(error) from error
        finally:
            self._reply = None
            self._began.clear()
        if not isinstance(frame, bytes):
            raise WireLostError(Loss.PROCESS, "no bytes")
        return frame

    async def _next_reply(self) -> object:
        """What the call that waits returns, or one that is made where no frame is sent in time."""
        if self._reply is None:
            with anyio.move_on_after(BATCH_S):
                await self._began.wait()
        if self._reply is None:
            self._reply = self._give.remote(self._session)
        return await self._reply

    async def end(self) -> None:
        """See ``Wire``."""
        await ray_connection.in_thread(partial(self._hub.end, self.name), default=None)

    async def _lost(self, error: Exception) -> WireLostError:
        if await ray_connection.in_thread(partial(self._hub.is_gone, self.name), default=False):
            return WireLostError(_loss(error), str(error), is_final=True)
        fate = await ray_connection.in_thread(partial(self._hub.fate, self._actor, self._life), default=None)
        self._life = await ray_connection.in_thread(partial(self._hub.life, self._actor), default=None)
        return WireLostError(fate or _loss(error), str(error))


def _loss(error: Exception) -> Loss:
    why = str(error).lower()
    if "node" in why and ("died" in why or "dead" in why or "preempt" in why or "failed" in why):
        return Loss.NODE
    return Loss.CONNECTION if "unavailable" in why else Loss.PROCESS


def _unfit(error: Exception) -> UsageError | None:
    """The error for a worker whose program fails at its start; None for one that merely ended.

    That of another version does: it lacks a module or a method, or cannot read what this head tells it about the job.
    """
    why = str(error)
    is_of_program = isinstance(error, AttributeError) or "RayTaskError" in {
        kind.__name__ for kind in type(error).__mro__
    }
    if not is_of_program and not any(word in why for word in _OF_PROGRAM):
        return None
    lines = [line.strip() for line in why.splitlines() if _ERROR_LINE.match(line)]
    return UsageError(
        f"the workers have no asyncfilter that fits: {(lines[-1] if lines else why)[:_WHY_CHARS]}",
        hint="Install one version of asyncfilter on all machines.",
    )
