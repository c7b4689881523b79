"""The standard streams of the process: what cannot be written never raises a foreign error, and never costs a result.

- *stdout* carries results. A write that fails ends the output and is on record: the command ends with
  ``ExitCode.OUTPUT``. A reader that closes the pipe (``| head``) wants no more: this is no failure.
- *stderr* carries messages. What cannot be written there is dropped.
- A stream that the parent closed is ``/dev/null``, so that no file that is opened later gets its number.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from asyncfilter.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOST: list[OutputError] = []
"""Why output of the present command was lost; filled where output is written, reported by ``exit_code_of``."""

MAX_COLUMNS = 4096


class StdoutEndedError(OSError):
    """stdout takes no more; whether this is a failure is in ``LOST``."""

    def __init__(self) -> None:
        # Not EPIPE, which click takes for a reason to exit with 1.
        super().__init__(errno.EIO, "stdout takes no more")


class _Stdout(io.FileIO):
    """The descriptor of stdout. After the first failure everything is dropped, so that no later flush fails again."""

    has_ended = False  # of the process, since all streams on the descriptor share it

    def write(self, data: ReadableBuffer, /) -> int:
        if _Stdout.has_ended:
            return memoryview(data).nbytes
        try:
            return _written(self, data)
        except OSError as error:
            _Stdout.has_ended = True
            if not isinstance(error, BrokenPipeError):
                LOST.append(OutputError(f"stdout cannot be written: {error.strerror or error}"))
            raise StdoutEndedError from error


class _Stderr(io.FileIO):
    """The descriptor of stderr."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(self, data)
        except OSError:
            return memoryview(data).nbytes


def _written(file: io.FileIO, data: ReadableBuffer) -> int:
    """Write to a descriptor, and wait where the parent made it non-blocking; returns how many bytes were written."""
    count: int | None = io.FileIO.write(file, data)
    while count is None:
        select.select([], [file], [])
        count = io.FileIO.write(file, data)
    return count


def open_streams() -> None:
    """Put the standard streams in order, and the width of the terminal; to be called once, when the process starts."""
    _fill_closed()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115  open to the end
    sys.stdout = _text(_Stdout(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Stderr(2, "wb", closefd=False), sys.stderr)
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name)
        if size is not None and not (re.fullmatch(r"[0-9]{1,4}", size) and 0 < int(size) <= MAX_COLUMNS):
            del os.environ[name]  # a terminal of no width would show nothing; without it, there are 80 columns


def stdout_stream() -> io.BufferedWriter:
    """A stream of bytes to stdout beside ``sys.stdout``; to close it leaves stdout open."""
    return io.BufferedWriter(_Stdout(sys.stdout.fileno(), "wb", closefd=False))


def stdout_is_whole() -> bool:
    """Whether stdout has taken all that was written so far; also a reader that wants no more has not seen the rest."""
    return not _Stdout.has_ended


def end_stdout() -> None:
    """Write what is left in the buffer of stdout; a failure is on record in ``LOST``."""
    with suppress(StdoutEndedError):
        sys.stdout.flush()


def _fill_closed() -> None:
    """Open ``/dev/null`` under the numbers of streams that were closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _text(raw: io.FileIO, former: TextIO) -> io.TextIOWrapper:
    """A text stream on ``raw`` with the encoding of ``former``; characters that it does not have become escapes."""
    is_unbuffered = getattr(former, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=former.encoding,
        errors="backslashreplace",
        newline="\n",
        line_buffering=bool(former.line_buffering or is_unbuffered),
    )
