"""Workers as actors of Ray: where to find a Ray, how its actors are started and found again, and wires to them.

Only this module imports Ray, and only when a run needs it. Ray places the actors, restarts them and carries frames;
everything else is ours: liveness, flow control, fencing and repetition.

An actor is *detached*: it outlives the head that started it, so that the next head finds what it keeps. Its name has
the checkpoint and the fingerprint of the job.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.errors import AccessError, AsyncFilterError, UsageError, WaitEndedError
from asyncfilter.fleet.faults import error_at_start
from asyncfilter.fleet.messages import Fault
from asyncfilter.fleet.wires import Loss, Wire, WireLostError, WorkerFaultError

NAMESPACE = "asyncfilter"
EXTRA_HINT = "pip install 'asyncfilter[ray]'"
_REACH_S = 5.0
_LOOK_S = 2.0
_ANSWER_S = 30.0
_AGAIN_S = 30.0
"""A worker that cannot work is tried again after so long."""
_START_S = 300.0
_CONCURRENCY = 1_000
_GB = 1_000_000_000
_WHY_CHARS = 300
_OF_PROGRAM = ("its creation task", "ModuleNotFoundError", "ImportError", "AttributeError")
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b")
_NEVER_S = "180"
"""Long enough for a drain; a process that Ray has not let end by then is ended by it."""
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


class PerWorker(msgspec.Struct, frozen=True, kw_only=True):
    """What Ray is asked for, for each worker."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None


def import_ray() -> Any:  # noqa: ANN401  the module
    """The module ``ray``.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import ray  # noqa: PLC0415  hundreds of milliseconds, for those who need it
    except ImportError as exc:
        raise UsageError("a fleet on Ray needs the extra `ray`", hint=f"Install it: {EXTRA_HINT}") from exc
    return ray


def check_installed() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        UsageError: It is not.
    """
    if find_spec("ray") is None:
        raise UsageError("a fleet on Ray needs the extra `ray`", hint=f"Install it: {EXTRA_HINT}")


def given_address() -> str | None:
    """The address that the environment has; None where it has none, or says in Ray's words that it is to be found."""
    given = os.environ.get("RAY_ADDRESS", "")
    return given if given not in {"", "auto", "local"} else None


def running_address() -> str | None:
    """The address of a Ray that runs: that of the environment, or on this machine; None without one."""
    if given := given_address():
        return given
    if os.environ.get("RAY_ADDRESS") == "local":
        return None
    note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        found = note.read_text().strip()
    except OSError:
        return None
    return found if found and _answers(found) else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S):
            return True
    except (OSError, ValueError):
        return False


def connect(address: str, environment: Mapping[str, str]) -> None:
    """Connect this process to a Ray; blocks, and must not be called in the main thread, where Ray takes SIGTERM.

    Args:
        address: Host and port.
        environment: Variables with which it can be reached.

    Raises:
        AccessError: There is none, or it refuses the token.
        UsageError: It has another version, or would need Ray Client.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"{address}: over Ray Client each message would pass a proxy",
            hint="Run the command inside of the cluster, and give HOST:PORT.",
        )
    # By default Ray ends this process, with what is not durable yet, a minute after its head is gone.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _NEVER_S)
    if environment:
        os.environ.pop("RAY_AUTH_TOKEN", None)  # would come before the token of a Ray of our own
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", **environment})
    ray = import_ray()
    _calls.begin()
    if not _answers(address):
        raise AccessError(f"no Ray answers at {address}", hint="Check cluster.address, --on and RAY_ADDRESS.")
    # Ray takes 127.0.0.1 for this machine's other address otherwise, where a Ray of our own does not listen.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = not address.startswith("127.0.0.1:")  # noqa: SLF001
    # Ray tells of dead workers on stdout, where the result of the command goes; events tell of them here.
    if hasattr(ray._private.worker, "print_to_stdstream"):  # noqa: SLF001
        ray._private.worker.print_to_stdstream = _say_nothing  # noqa: SLF001
    # It warns that it takes no SIGTERM in this thread.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except Exception as exc:
        raise _translated(address, exc) from exc


def take_sigterm_back() -> None:
    """Put Python's handler of SIGTERM in place of the one that Ray puts beneath it; for the main thread.

    That one prints a stack, lets Python's handler act, and has the process ended by SIGABRT three seconds later: before
    a run has drained, and with its result lost.
    """
    handler = signal.getsignal(signal.SIGTERM)
    # Elsewhere no handler can be set; one that is not of Python cannot be set again.
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _say_nothing(*_args: object, **_kwargs: object) -> None:
    """Print nothing."""


def _translated(address: str, error: Exception) -> AsyncFilterError:
    why = " ".join(str(error).split())[:500]
    if "ersion mismatch" in why:
        return UsageError(
            f"the Ray at {address} does not fit: {why}", hint="Install the same versions of Ray and Python."
        )
    if "uthenticat" in why or "oken" in why:
        return AccessError(
            f"the Ray at {address} refuses the token: {why}",
            hint="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token.",
        )
    tokens = "" if has_tokens() else " without a token"
    return AccessError(
        f"the Ray at {address} does not accept this process{tokens}: {why}",
        hint="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token, or check the cluster.",
    )


def has_tokens() -> bool:
    """Whether this process talks to Ray with a token."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def disconnect() -> None:
    """Leave Ray; it goes on. One that has ended, or that a thread still asks something, is not left."""
    if _state.has_ended:
        return
    if _calls.end(_REACH_S):
        import_ray().shutdown()
    else:
        forget()


def forget() -> None:
    """Do not leave a Ray that does not answer, also not at the end of this process, whose threads it would wait for."""
    _state.has_ended = True
    if (ray := sys.modules.get("ray")) is not None and hasattr(ray, "shutdown"):
        atexit.unregister(ray.shutdown)


def end_process(code: int) -> None:
    """End this process now where the end of the interpreter would wait for a Ray that has ended; else do nothing."""
    if _state.has_ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _State:
    """Of the Ray that this process is connected to."""

    has_ended = False


_state = _State()


class _Calls:
    """What threads ask Ray.

    A thread is not cancelled with the task that waits for it, and leaving Ray meanwhile aborts this process.
    """

    def __init__(self) -> None:
        self.are_over = False
        self._changed = threading.Condition()
        self._count = 0

    def run(self, ask: Callable[[], T]) -> T:
        """Ask Ray something.

        Raises:
            WireLostError: It was left.
        """
        with self._changed:
            if self.are_over:
                raise WireLostError(Loss.CONNECTION, "Ray was left")
            self._count += 1
        try:
            return ask()
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def end(self, wait_s: float) -> bool:
        """Let nobody ask any more; whether all that did have their answer within a time."""
        with self._changed:
            self.are_over = True
            return self._changed.wait_for(lambda: not self._count, wait_s)

    def begin(self) -> None:
        """Let Ray be asked from now on."""
        with self._changed:
            self.are_over = False


_calls = _Calls()


async def ask_ray(ask: Callable[[], T]) -> T:
    """What a function returns that asks Ray, in a thread; a cancellation does not wait for it."""
    return await anyio.to_thread.run_sync(_calls.run, ask, abandon_on_cancel=True)


def total_cpus() -> float:
    """The cores of the cluster."""
    return float(import_ray().cluster_resources().get("CPU", 0.0))


async def in_thread(ask: Callable[[], T], *, default: T) -> T:
    """The answer of Ray; ``default`` when Ray does not answer, as once its head has ended."""
    with anyio.move_on_after(_REACH_S):
        return await ask_ray(ask)
    return default


def end_this_actor() -> None:
    """End the actor that this process is, for good; Ray restarts one that only exits."""
    ray = import_ray()
    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def on_sigterm(leave: Callable[[], object]) -> None:
    """Call ``leave`` at the first SIGTERM to the actor that this process is, in place of an end at once.

    Methods of an asynchronous actor never run in the main thread, where alone Python lets a handler be set. But what
    the handler of Ray's worker calls is a name of its module. Where a Ray has no such name, SIGTERM ends the actor.
    """
    module, name = import_ray()._private.worker, "raise_sys_exit_with_custom_error_message"  # noqa: SLF001
    end = getattr(module, name, None)
    if end is None:
        return

    def called(*_args: object, **_kwargs: object) -> None:
        setattr(module, name, end)
        signal.alarm(0)  # see ``take_sigterm_back``: it would end what is under way
        leave()

    setattr(module, name, called)


def node_of_this_actor() -> str:
    """Id of the node of the actor that this process is."""
    return str(import_ray().get_runtime_context().get_node_id())


class RayHub:
    """``Hub`` of actors.

    Args:
        actor_class: Of the workers: made with ``spec`` and a name, with ``take``, ``give`` and ``opened``.
        spec: What a worker is told.
        name: Begins the names of the actors; other names that begin with ``family`` are of former jobs.
        family: See ``name``.
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
        address: str,
        most: int | None,
        per_worker: PerWorker,
    ) -> None:
        self.address = address
        self._ray = import_ray()
        self._class = actor_class
        self._spec = spec
        self._name = name
        self._family = family
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
        with anyio.move_on_after(_REACH_S):
            if not _state.has_ended:
                await ask_ray(partial(self._kill, names))

    # -- Actors ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell when the cluster has ended: its head does not answer, and does not come back."""
        seen_s = anyio.current_time()
        while anyio.current_time() - seen_s <= _GONE_S:
            if await anyio.to_thread.run_sync(_answers, self.address, abandon_on_cancel=True):
                seen_s = anyio.current_time()
            await anyio.sleep(_LOOK_S)
        forget()
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
                    await self._ready.put(_translated(self.address, error))
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
        return max(1, int(total_cpus() // self._per_worker.cpus))

    def _present(self, *, ends_former: bool = False) -> list[str]:
        """Names of our actors that live; those of former jobs are ended once."""
        names = [entry for entry in self._ray.util.list_named_actors() if entry.startswith(self._family)]
        if ends_former:
            self._kill(lambda: [name for name in names if not name.startswith(self._name)])
        return [name for name in names if name.startswith(self._name)]

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
        unfit: AsyncFilterError | None
        try:
            fault = await actor.opened.remote()
            unfit = error_at_start(msgspec.msgpack.decode(fault, type=Fault)) if fault else None
        except Exception as error:  # noqa: BLE001  Ray may raise anything
            unfit = _unfit(error)
            if unfit is None:
                self._actors.pop(name, None)  # what ended meanwhile is looked for again, or started
                return
        if unfit is None:
            await self._ready.put(RayWire(self, name, actor, await in_thread(partial(self.life, actor), default=None)))
            return
        self._again_s[name] = anyio.current_time() + _AGAIN_S
        self._actors.pop(name, None)
        await self._ready.put(WorkerFaultError(unfit))

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
        while former is not None and time.monotonic() < until_s and not _calls.are_over:
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
        return await ask_ray(ask)


class RayWire:
    """``Wire`` to one actor: a call brings a frame, and one that waits fetches the next."""

    def __init__(self, hub: RayHub, name: str, actor: Actor, life: Life | None) -> None:
        self.name = name
        self._life = life
        self._hub = hub
        self._actor = actor

    async def send(self, frame: bytes) -> None:
        """See ``Wire``."""
        try:
            self._actor.take.remote(frame)
        except Exception as error:
            raise WireLostError(Loss.CONNECTION, str(error)) from error

    async def receive(self, session: str) -> bytes:
        """See ``Wire``."""
        try:
            frame = await self._actor.give.remote(session)
        except Exception as error:
            raise await self._lost(error) from error
        if not isinstance(frame, bytes):
            raise WireLostError(Loss.PROCESS, "no bytes")
        return frame

    async def end(self) -> None:
        """See ``Wire``."""
        await in_thread(partial(self._hub.end, self.name), default=None)

    async def _lost(self, error: Exception) -> WireLostError:
        if await in_thread(partial(self._hub.is_gone, self.name), default=False):
            return WireLostError(_loss(error), str(error), is_final=True)
        fate = await in_thread(partial(self._hub.fate, self._actor, self._life), default=None)
        self._life = await in_thread(partial(self._hub.life, self._actor), default=None)
        return WireLostError(fate or _loss(error), str(error))


def _loss(error: Exception) -> Loss:
    why = str(error).lower()
    if "node" in why and ("died" in why or "dead" in why or "preempt" in why or "failed" in why):
        return Loss.NODE
    return Loss.CONNECTION if "unavailable" in why else Loss.PROCESS


def _unfit(error: Exception) -> UsageError | None:
    """The error for a worker whose program fails at its start; None for one that merely ended.

    That of another version does: it lacks a module, or cannot read what this head tells it about the job.
    """
    why = str(error)
    is_of_program = "RayTaskError" in {kind.__name__ for kind in type(error).__mro__}
    if not is_of_program and not any(word in why for word in _OF_PROGRAM):
        return None
    lines = [line.strip() for line in why.splitlines() if _ERROR_LINE.match(line)]
    return UsageError(
        f"the workers have no asyncfilter that fits: {(lines[-1] if lines else why)[:_WHY_CHARS]}",
        hint="Install one version of asyncfilter on all machines.",
    )
