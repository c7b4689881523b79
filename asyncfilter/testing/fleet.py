"""A fleet in memory: workers in one event loop, with a way to them that can be slow, cut or frozen.

Every worker is a whole ``Examiner``. Time may be virtual.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

import anyio
from anyio.abc import TaskGroup

from asyncfilter.clock import Clock
from asyncfilter.fleet.examiner import Examiner, ExaminerPorts
from asyncfilter.fleet.kept import KeptAnswers
from asyncfilter.fleet.messages import FrameError, Hello, worker_frame
from asyncfilter.fleet.wires import HEARTBEAT_S, Loss, WireLostError
from asyncfilter.testing.virtual import LoopClock

VERSION = "memory"
FINGERPRINT = "job"


class MemoryWorker:
    """One worker process, and what can happen to it.

    Args:
        name: Of the worker.
        ports: Examine images.
        clock: Time.
        cpus: Its cores.
        version: Of asyncfilter, as it says.
        fingerprint: Of its job, as it says.
        ask_s: Processor time of one ask: frames wait while the process is busy.
        kept: Keeps answers.
    """

    def __init__(
        self,
        name: str,
        ports: ExaminerPorts,
        *,
        clock: Clock | None = None,
        cpus: float = 1.0,
        version: str = VERSION,
        fingerprint: str = FINGERPRINT,
        ask_s: float = 0.0,
        kept: KeptAnswers | None = None,
    ) -> None:
        self.name = name
        self.clock = clock or LoopClock()
        self.latency_s = 0.0005
        self.ask_s = ask_s
        self.is_dead = False
        self.is_mute = False
        """It receives, and sends nothing but its heartbeat."""
        self.is_cut = False
        """Nothing goes through, in either direction, until it is False again."""
        self.garbles: Callable[[bytes], bytes] | None = None
        """Changes what it sends."""
        self.starts = 0
        self._frozen_until_s = 0.0
        self._free_s = 0.0
        self._make = partial(self._new, ports, cpus, version, fingerprint, kept)
        self.examiner: Examiner | None = None
        self._scope: anyio.CancelScope | None = None
        self._inbox: deque[tuple[float, bytes]] = deque()

    def _new(
        self, ports: ExaminerPorts, cpus: float, version: str, fingerprint: str, kept: KeptAnswers | None
    ) -> Examiner:
        self.starts += 1
        hello = Hello(version, fingerprint, f"{self.name}-{self.starts}", "memory", self.starts, "node", cpus, 0.0)
        return Examiner(ports, hello, clock=self.clock, now=self.clock.monotonic, kept=kept)

    async def run(self) -> None:
        """Live until it ends or is killed."""
        examiner = self.examiner = self._make()
        self.is_dead = False
        with anyio.CancelScope() as self._scope:
            await examiner.run()
        if self.examiner is examiner:  # else it was started again meanwhile
            self.is_dead = True

    def kill(self) -> None:
        """End at once, as by SIGKILL: what is under way is done, and its result is lost."""
        self.is_dead = True
        if self._scope is not None:
            self._scope.cancel()

    def freeze(self, for_s: float) -> None:
        """Stand still, as by SIGSTOP: frames wait."""
        self._frozen_until_s = self.clock.monotonic() + for_s

    # -- The way to it ---------------------------------------------------------------------------------------------

    async def deliver(self, frame: bytes, asks: int) -> None:
        """Bring a frame to it, once it is awake and has time."""
        await self.clock.sleep(self.latency_s)
        await self.wait_awake()
        if self.ask_s and asks:
            self._free_s = max(self._free_s, self.clock.monotonic()) + self.ask_s * asks
            await self.clock.sleep(self._free_s - self.clock.monotonic())
        if not self.is_dead and self.examiner is not None:
            self.examiner.take(frame)

    async def fetch(self, session: str) -> bytes:
        """The next frame of it."""
        examiner = self.examiner
        if examiner is None:
            await self.clock.sleep(HEARTBEAT_S)
            return worker_frame(session, [])
        frame = await examiner.give(session)
        await self.wait_awake()
        await self.clock.sleep(self.latency_s)
        if self.is_dead:
            raise WireLostError(Loss.PROCESS)
        if self.is_mute:
            return worker_frame(session, [])
        return frame if self.garbles is None else self.garbles(frame)

    async def wait_awake(self) -> None:
        """Return once it is neither frozen nor cut off."""
        while self.is_cut or self.clock.monotonic() < self._frozen_until_s:
            left_s = self._frozen_until_s - self.clock.monotonic()
            await self.clock.sleep(0.05 if self.is_cut else max(0.01, left_s))


class MemoryWire:
    """``Wire`` to a worker in memory: frames keep their order.

    Args:
        worker: At the other end.
        tasks: Run deliveries.
    """

    def __init__(self, worker: MemoryWorker, tasks: TaskGroup) -> None:
        self.name = worker.name
        self.worker = worker
        self.sent_frames = 0
        self.sent_bytes = 0
        self.is_cut = False
        """Every frame of this head is dropped, in both directions; other heads reach the worker."""
        self._waiting: deque[bytes] = deque()
        self._tasks = tasks
        self._is_delivering = False

    async def send(self, frame: bytes) -> None:
        """See ``Wire``."""
        if self.worker.is_dead:
            raise WireLostError(Loss.PROCESS)
        if self.is_cut:
            return
        self.sent_frames += 1
        self.sent_bytes += len(frame)
        self._waiting.append(frame)
        if not self._is_delivering:
            self._is_delivering = True
            self._tasks.start_soon(self._deliver)

    async def receive(self, session: str) -> bytes:
        """See ``Wire``."""
        while True:
            if self.worker.is_dead:
                raise WireLostError(Loss.PROCESS)
            frame = await self.worker.fetch(session)
            if not self.is_cut:
                return frame

    async def end(self) -> None:
        """See ``Wire``."""
        self.worker.kill()

    async def _deliver(self) -> None:
        try:
            while self._waiting:
                frame = self._waiting.popleft()
                try:
                    await self.worker.deliver(frame, frame.count(b"etag"))
                except FrameError:
                    continue
        finally:
            self._is_delivering = False


class MemoryHub:
    """``Hub`` of workers in memory, which live in ``tasks``.

    Args:
        tasks: Run the workers: those outlive the heads.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self.address = "memory"
        self.workers: list[MemoryWorker] = []
        self.wires: list[MemoryWire] = []
        self.started: list[str] = []
        self._tasks = tasks
        self._former: list[str] = []
        self._new: asyncio.Queue[MemoryWorker] = asyncio.Queue()

    def start(self, worker: MemoryWorker) -> None:
        """Start a worker; the head finds it."""
        self.workers.append(worker)
        self.started.append(worker.name)
        self._tasks.start_soon(worker.run)
        self._new.put_nowait(worker)

    def restart(self, worker: MemoryWorker) -> None:
        """Start the process of a dead worker again."""
        self._tasks.start_soon(worker.run)

    def again(self) -> MemoryHub:
        """The hub as another head sees it: all workers that live."""
        other = MemoryHub(self._tasks)
        for worker in self.workers:
            if not worker.is_dead:
                other.workers.append(worker)
                other._former.append(worker.name)
                other._new.put_nowait(worker)
        return other

    async def next(self) -> MemoryWire:
        """See ``Hub``."""
        wire = MemoryWire(await self._new.get(), self._tasks)
        self.wires.append(wire)
        return wire

    async def former(self) -> list[str]:
        """See ``Hub``."""
        return self._former

    async def close(self) -> None:
        """See ``Hub``."""
        for worker in self.workers:
            worker.kill()

    async def leave(self, ended: Collection[str]) -> None:
        """See ``Hub``."""
        for worker in self.workers:
            if worker.name in ended:
                worker.kill()
