"""Decoding in processes of their own: a picture that crashes its decoder, or takes too much, fails alone.

Invariants:

- The memory granted to all decodings together is within ``decoding_bytes``, and no decoding waits for anything but the
  end of others; so each gets its turn.
- A process decodes one picture at a time. One that died, or was given up, is not used again.
- Processes are started when they are needed, and all have ended when the pool is closed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from asyncfilter.errors import AccessError, ImageError
from asyncfilter.pictures.decode_messages import LENGTH_BYTES, READY, DecodeRequest, DecodeResult, framed

DECODING_BYTES = 350_000_000
"""Default of ``limits.decoding_mb``: memory for all pictures that are decoded at one time, and so for one of them."""

PROCESSES = 16
"""Most processes, however many cores there are."""

WALL_S = 120.0
"""Time for one picture, waiting for the disk included; its processor time has a lower limit in the process."""
START_S = 60.0
_STARTS = 4
"""Starts in a row that may be killed before a run ends."""
_END_S = 1.0
_BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP}
_SCRIPT = Path(__file__).with_name("decode_process.py")
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": f"{32 << 20}", "MALLOC_TRIM_THRESHOLD_": f"{64 << 20}"}
"""A process keeps up to 64 MB for its next picture, in blocks of up to 32 MB (glibc's M_TRIM_THRESHOLD and
M_MMAP_THRESHOLD). By default most is returned after each picture, and a third of the time goes into page faults."""
_REMEDY = (
    "Raise the limits of processes and memory (ulimit -u, or pids and memory of the container), or set convert and "
    "near_duplicates to false."
)


class Decoded(NamedTuple):
    """A result, and the JPEG that the picture became, if one was wanted."""

    result: DecodeResult
    jpeg: bytes


class DecoderPool:
    """Decoding processes, up to one for each core; a context, at whose end they have all ended.

    Args:
        decoding_bytes: Memory for all pictures that are decoded at one time.
        processes: Most processes; by default one for each core that this process may use.
        wall_s: Time for one picture, seconds; by default ``WALL_S``.
    """

    def __init__(
        self, *, decoding_bytes: int = DECODING_BYTES, processes: int | None = None, wall_s: float | None = None
    ) -> None:
        self.decoding_bytes = decoding_bytes
        self._wall_s = wall_s
        self._room = ByteRoom(decoding_bytes)
        self._slots = anyio.CapacityLimiter(min(processes or _cores(), PROCESSES))
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in tuple(self._all):
            self._end(process)

    @property
    def pids(self) -> list[int]:
        """The processes that there are now."""
        return [process.pid for process in self._all]

    def reading(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Hold memory for a file that is read to be decoded; it must be free again before it is decoded."""
        return self._room.taken(min(size_bytes, self.decoding_bytes))

    async def decode(self, request: DecodeRequest, file: BinaryIO, *, guess_bytes: int) -> Decoded:
        """Decode one picture.

        Args:
            request: What is wanted; the memory for it is granted here.
            file: The picture; its position is changed.
            guess_bytes: Memory that it probably takes; the process knows better once it has opened the file.

        Raises:
            ImageError: It cannot be decoded, ``decompression_bomb`` (it takes too much memory), ``decoding_timeout``,
                or ``decoder_died``.
            AccessError: No process can be started.
        """
        granted_bytes = min(guess_bytes, self.decoding_bytes)
        request = replace(request, most_bytes=self.decoding_bytes)
        while True:
            async with self._room.taken(granted_bytes), self._slots:
                decoded = await self._decode(replace(request, granted_bytes=granted_bytes), file)
            result = decoded.result
            if result.error_code:
                raise ImageError(result.message, code=result.error_code)
            if not result.needed_bytes:
                return decoded
            granted_bytes = result.needed_bytes

    async def _decode(self, request: DecodeRequest, file: BinaryIO) -> Decoded:
        process = self._living() or await self._start()
        wall_s = self._wall_s or WALL_S
        try:
            with anyio.fail_after(wall_s):
                decoded = await process.decode(request, file)
        except TimeoutError as exc:
            raise ImageError(f"decoding it takes longer than {wall_s:g} s", code="decoding_timeout") from exc
        except (ConnectionError, EOFError) as exc:
            raise _death(self._end(process)) from exc
        else:
            self._idle.append(process)
            return decoded
        finally:
            # Also when the wait was cancelled: its result would be taken for that of the next picture.
            if process not in self._idle:
                self._end(process)

    def _living(self) -> _Process | None:
        """An idle process; those that the system ended meanwhile are dropped."""
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            self._end(process)
        return None

    async def _start(self) -> _Process:
        for _ in range(_STARTS):
            process = await self._started()
            if process is not None:
                return process
        raise AccessError(f"{_STARTS} processes that decode pictures were killed at their start", hint=_REMEDY)

    async def _started(self) -> _Process | None:
        """A process that can decode; None when it was killed at its start, as by the system where memory is short."""
        process = await anyio.to_thread.run_sync(_Process.start)
        self._all.add(process)
        try:
            with anyio.fail_after(START_S):
                await process.ready()
        except (TimeoutError, ConnectionError, EOFError) as exc:
            status = self._end(process)
            if status < 0 and not isinstance(exc, TimeoutError):
                return None
            why = f"a process that decodes pictures ended at its start (exit status {status})"
            raise AccessError(why, hint=_REMEDY) from exc
        except BaseException:
            self._end(process)
            raise
        return process

    def _end(self, process: _Process) -> int:
        self._all.discard(process)
        return process.end()


class ByteRoom:
    """A number of bytes that tasks share; who waits gets room in the order of asking.

    Args:
        capacity_bytes: All of it.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._free_bytes = capacity_bytes
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    @asynccontextmanager
    async def taken(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold ``size_bytes``, at most the capacity, inside of the context."""
        await self._take(size_bytes)
        try:
            yield
        finally:
            self._free_bytes += size_bytes
            self._grant()

    async def _take(self, size_bytes: int) -> None:
        turn = (size_bytes, anyio.Event())
        self._waiting.append(turn)
        self._grant()
        try:
            await turn[1].wait()
        except BaseException:
            if turn[1].is_set():
                self._free_bytes += size_bytes
            else:
                self._waiting.remove(turn)
            self._grant()
            raise

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free_bytes:
            size_bytes, turn = self._waiting.popleft()
            self._free_bytes -= size_bytes
            turn.set()


class _Process:
    """One decoding process, this end of its socket, and of the pipe that ends it when this process is gone."""

    def __init__(self, running: subprocess.Popen[bytes], connection: socket.socket, lifeline: BinaryIO) -> None:
        self._running = running
        self._connection = connection
        self._lifeline = lifeline

    @classmethod
    def start(cls) -> _Process:
        """Start a process; runs in a thread.

        Raises:
            AccessError: The system refuses it.
        """
        with ExitStack() as opened:
            try:
                ours, theirs = map(opened.enter_context, socket.socketpair())
                ours.settimeout(0)
                their_end, our_end = os.pipe()
                lifeline = opened.enter_context(os.fdopen(our_end, "wb", buffering=0))
                with os.fdopen(their_end, "rb", buffering=0):
                    running = _launched(theirs.fileno(), their_end)
            except OSError as exc:
                why = f"no process that decodes pictures can be started ({exc.strerror or exc})"
                raise AccessError(why, hint=_REMEDY) from exc
            theirs.close()
            opened.pop_all()
            return cls(running, ours, lifeline)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """False once it has ended."""
        return self._running.poll() is None

    async def ready(self) -> None:
        """Return when it can decode.

        Raises:
            EOFError: It has ended.
        """
        await self._receive(len(READY))

    async def decode(self, request: DecodeRequest, file: BinaryIO) -> Decoded:
        """Decode one picture.

        Raises:
            EOFError: The process has died; so may ConnectionError.
        """
        # It fits into the empty buffer of the socket, so that it cannot block.
        socket.send_fds(self._connection, [framed(request)], [file.fileno()])
        length = int.from_bytes(await self._receive(LENGTH_BYTES), "big")
        result = msgspec.msgpack.decode(await self._receive(length), type=DecodeResult)
        return Decoded(result, await self._receive(result.jpeg_bytes))

    def end(self) -> int:
        """End it now; returns its exit status, negative for a signal."""
        self._connection.close()
        self._lifeline.close()
        self._running.kill()
        try:
            return self._running.wait(_END_S)
        except subprocess.TimeoutExpired:  # in an uninterruptible call, such as a read from a server that is away
            return -signal.SIGKILL

    async def _receive(self, length: int) -> bytes:
        """Exactly ``length`` bytes.

        Raises:
            EOFError: The process has ended before.
        """
        loop = asyncio.get_running_loop()
        received = bytearray(length)
        view, at = memoryview(received), 0
        while at < length:
            more = await loop.sock_recv_into(self._connection, view[at:])
            if not more:
                raise EOFError
            at += more
        return bytes(received)


def _launched(connection: int, lifeline: int) -> subprocess.Popen[bytes]:
    """The process, with signals that end a run blocked from its first moment, and without credentials."""
    path = os.pathsep.join(os.path.abspath(entry or os.curdir) for entry in sys.path)  # noqa: PTH100  text in, text out
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        return subprocess.Popen(  # noqa: S603  this interpreter and a file of this package
            [sys.executable, "-I", "-S", str(_SCRIPT), str(connection), str(lifeline)],
            env={**kept, **_ALLOCATOR, "ASYNCFILTER_IMPORT_PATH": path},
            pass_fds=[connection, lifeline],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C in a terminal goes to the run alone
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _death(status: int) -> ImageError:
    if status == -signal.SIGXCPU:
        return ImageError("decoding it takes too much processor time", code="decoding_timeout")
    how = f"signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"exit status {status}"
    return ImageError(f"the process that decoded it died: {how}", code="decoder_died")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
