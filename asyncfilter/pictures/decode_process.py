"""A decoding process: it decodes one picture after the other, for the run that started it.

``python decode_process.py SOCKET LIFELINE``, with the import path in ``ASYNCFILTER_IMPORT_PATH``; ``decoder_pool``
starts it. A picture may crash it, so it holds nothing but these two: no checkpoint, no lock, no connection and no
credentials.

Signals that end a run are blocked here, since a run that drains still needs its results. The process ends when its run
does, also in the middle of a picture: the lifeline, a pipe through which nothing is sent, is then closed, which sends
SIGIO. The socket could not do that: SIGIO for a request may come when it has been read already.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import resource
import select
import socket
import sys
from collections.abc import Iterator
from typing import BinaryIO

if __name__ == "__main__":  # before any import from the path of the run
    # Where memory is short, the system shall end this process and not the run; already while it starts.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write("800")
    sys.path[:] = os.environ.pop("ASYNCFILTER_IMPORT_PATH", "").split(os.pathsep)

import msgspec

from asyncfilter.errors import ImageError
from asyncfilter.pictures import convert
from asyncfilter.pictures.decode_messages import LENGTH_BYTES, READY, DecodeRequest, DecodeResult, framed

CPU_S = 20
"""Processor time for one picture; the largest that are accepted take a few seconds."""
_SLACK_BYTES = 64 * 1024 * 1024
"""Memory beyond what was granted: buffers of the decoders, and what they keep for the next picture."""
_BLOCK_BYTES = 1 << 20


def main() -> None:
    """Serve requests until the socket is closed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _end_with(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.sendall(READY)
        with contextlib.suppress(ConnectionError):
            while _serve(connection):
                pass


def _serve(connection: socket.socket) -> bool:
    """Decode one picture; False when the run has closed the connection."""
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 1)
    if not head:
        return False
    with os.fdopen(descriptors[0], "rb") as file:
        body = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        request = msgspec.msgpack.decode(body, type=DecodeRequest)
        with _limited(request.granted_bytes):
            result, jpeg = _answer(request, file)
    connection.sendall(framed(result))
    connection.sendall(jpeg)
    return True


def _answer(request: DecodeRequest, file: BinaryIO) -> tuple[DecodeResult, bytes]:
    """The result of one request, and the JPEG or the pixels."""
    jpeg, found = convert.Jpeg(b"", 0, 0), None
    memory = convert.DecodingMemory(request.granted_bytes, request.most_bytes)
    try:
        if request.limits is not None:
            jpeg, found = convert.convert_file(file, request.limits, hashes=request.hashes, memory=memory)
        elif request.frame is not None:
            pixels, found = convert.frame_file(file, request.frame, hashes=request.hashes, memory=memory)
            jpeg = convert.Jpeg(pixels, 0, 0)
        elif request.hashes:
            found = _hash(file, memory)
    except convert.MemoryNeededError as error:
        if error.needed_bytes <= memory.most_bytes:
            return DecodeResult(needed_bytes=error.needed_bytes), b""
        return DecodeResult(error_code="decompression_bomb", message=_too_much(error, memory)), b""
    except ImageError as error:
        return DecodeResult(error_code=error.code, message=error.message), b""
    result = DecodeResult(
        jpeg_bytes=len(jpeg.body),
        width=jpeg.width,
        height=jpeg.height,
        perceptual_hash=found,
        blake2b=_digest(file) if request.digests else None,
    )
    return result, jpeg.body


def _hash(file: BinaryIO, memory: convert.DecodingMemory) -> int | None:
    """The perceptual hash; None for a picture that cannot be decoded, which may be sent all the same."""
    try:
        return convert.hash_file(file, memory=memory)
    except convert.MemoryNeededError as error:
        if error.needed_bytes <= memory.most_bytes:
            raise
    except ImageError:
        pass
    return None


def _too_much(error: convert.MemoryNeededError, memory: convert.DecodingMemory) -> str:
    needed_mb, most_mb = (-(-size // 1_000_000) for size in (error.needed_bytes, memory.most_bytes))
    return f"decoding it takes {needed_mb:,} MB, more than limits.decoding_mb ({most_mb:,})"


def _digest(file: BinaryIO) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with os.fdopen(os.dup(file.fileno()), "rb", buffering=0) as whole:
        whole.seek(0)
        while block := whole.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _limited(granted_bytes: int) -> Iterator[None]:
    """Limit memory and processor time while a picture is decoded.

    Too much memory is a ``MemoryError`` or a crash, too much time ends this process with SIGXCPU.
    """
    memory_bytes = _data_bytes() + granted_bytes + granted_bytes // 8 + _SLACK_BYTES
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_soft(resource.RLIMIT_DATA, memory_bytes)
    _set_soft(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_S + 1)
    try:
        yield
    finally:
        _set_soft(resource.RLIMIT_DATA, resource.RLIM_INFINITY)


def _set_soft(kind: int, value: int) -> None:
    most = resource.getrlimit(kind)[1]
    allowed = value if most == resource.RLIM_INFINITY else most if value == resource.RLIM_INFINITY else min(value, most)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(kind, (allowed, most))


def _data_bytes() -> int:
    """What counts for RLIMIT_DATA now; 0 where the system does not say."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        return 1024 * int(next(line for line in file if line.startswith("VmData:")).split()[1])
    return 0


def _end_with(lifeline: int) -> None:
    """End this process as soon as the other end of a pipe is closed, by SIGIO, whose default is to end it."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it was closed before
        sys.exit(0)


if __name__ == "__main__":
    main()
