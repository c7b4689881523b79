"""The actor of Ray that is a worker: one ``Examiner`` in a process of its own.

Ray restarts the process when it dies; a new one opens its ports anew and joins as a new worker. When the examiner ends,
the actor ends itself for good.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack
from functools import partial

import anyio
import msgspec

from asyncfilter import __version__
from asyncfilter.clock import SystemClock
from asyncfilter.errors import AsyncFilterError, ExitCode
from asyncfilter.fleet.examiner import Examiner, Reason
from asyncfilter.fleet.faults import fault_of
from asyncfilter.fleet.messages import Hello
from asyncfilter.fleet.ray_actor import end_this_actor, node_of_this_actor, on_sigterm
from asyncfilter.fleet.spot import wait_notice
from asyncfilter.fleet.transit import fleet_clock
from asyncfilter.interpreter import spare_collections
from asyncfilter.wiring.examining import WorkerSpec, open_ports, read_spec


class ExaminerActor:
    """One worker; its methods are called by Ray.

    Args:
        spec: A ``WorkerSpec`` in msgpack.
        name: Of the actor.
    """

    def __init__(self, spec: bytes, name: str) -> None:
        self._given = spec
        self._name = name
        self._examiner: asyncio.Future[Examiner] | None = None
        self._life: asyncio.Task[None] | None = None

    async def opened(self) -> bytes:
        """Return once it can examine: empty, or a ``Fault`` in msgpack why it cannot."""
        try:
            await self._ready()
        except AsyncFilterError as error:
            return msgspec.msgpack.encode(fault_of(error))
        return b""

    async def take(self, frame: bytes) -> None:
        """Take a frame of a head."""
        (await self._ready()).take(frame)

    async def give(self, session: str) -> bytes:
        """The next frame for a session of a head."""
        return await (await self._ready()).give(session)

    async def exchange(self, frame: bytes, session: str) -> bytes:
        """``take`` and ``give`` in one call."""
        await self.take(frame)
        return await self.give(session)

    async def _ready(self) -> Examiner:
        if self._examiner is None:
            self._examiner = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live(self._examiner))
        return await asyncio.shield(self._examiner)

    async def _live(self, opened: asyncio.Future[Examiner]) -> None:
        """Open the ports, examine until it is over, and end this process."""
        try:
            spec = read_spec(self._given)
            os.environ.update(spec.environment)
            async with AsyncExitStack() as stack:
                ports = await open_ports(spec, stack)
                spare_collections()  # a full one takes longer than a turn is good for
                examiner = Examiner(ports, _hello(spec), clock=SystemClock(), now=fleet_clock)
                on_sigterm(partial(asyncio.get_running_loop().call_soon_threadsafe, examiner.leave, "sigterm"))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_watch_spot, examiner)
                    opened.set_result(examiner)
                    await examiner.run()
                    await anyio.sleep(_LAST_WORDS_S)
                    tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001  the caller gets it
            if opened.done():
                os._exit(ExitCode.INTERNAL)
            opened.set_exception(error)
            self._examiner = None  # the next one tries again
            return
        end_this_actor()


def _hello(spec: WorkerSpec) -> Hello:
    return Hello(
        version=__version__,
        fingerprint=spec.fingerprint,
        process=secrets.token_hex(8),
        host=socket.gethostname()[:200],
        pid=os.getpid(),
        node=node_of_this_actor(),
        cpus=spec.cpus,
        gpus=spec.gpus,
    )


_LAST_WORDS_S = 0.2
"""Time in which the head fetches the last frame."""


async def _watch_spot(examiner: Examiner) -> None:
    await wait_notice(anyio.sleep, fleet_clock)
    reason: Reason = "spot"
    examiner.leave(reason)
