"""Files that the user names for a result: ``--output`` and ``--events``.

A regular file is replaced whole or not at all, or appended to. Links are followed. A pipe, a device or a socket is
written into and never replaced.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar

from asyncfilter.cli.signals import PROCESS
from asyncfilter.errors import OutputError, UsageError

T = TypeVar("T")

_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o666
"""As every program creates files: the umask says who may read the result."""

READER_WAIT_S = 10.0
"""How long a pipe waits for a program that reads it."""
_PAUSE_S = 0.02

_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/([0-9]+)")
_LAST_DESCRIPTOR = 2**31 - 1
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}


def is_replaced(path: Path) -> bool:
    """Whether a result at this path would replace a file."""
    try:
        return _descriptor(path) is None and path.is_file()
    except OSError:
        return False  # a name that is too long, which cannot be created either


def check_named(option: str, path: Path) -> None:
    """Check that a path can be that of a file, and not that of a folder alone, such as ``.`` or ``/``.

    Raises:
        UsageError: It cannot.
    """
    if not path.name:
        raise _unusable(option, path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))


def write_result(option: str, path: Path, write: Callable[[TextIO], T]) -> T:
    """Write a result as UTF-8, and return what ``write`` returns.

    Args:
        option: The option that names the file, for messages.
        path: The file.
        write: Writes the result to the stream that it is given.

    Raises:
        UsageError: The file cannot be created or opened.
        OutputError: It cannot be written.
    """
    with open_result(option, path) as binary:
        text = _text(binary)
        result = write(text)
        text.flush()
        text.detach()
    return result


@contextmanager
def open_result(option: str, path: Path) -> Iterator[BinaryIO]:
    """A stream of bytes into a file, which is there whole when the context ends, or not at all.

    After an exception, or a signal that ends the process, the file is as it was. Arguments and errors are those of
    ``write_result``.
    """
    if _is_special(path):
        with _special(option, path) as binary:
            yield binary
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f".asyncfilter-{secrets.token_hex(8)}.part")
    with PROCESS.at_end(part.unlink):
        try:
            descriptor = _create_beside(target, part)
        except OSError as error:
            raise _unusable(option, path, error) from error
        try:
            with os.fdopen(descriptor, "wb") as binary:
                yield binary
                binary.flush()
                os.fsync(descriptor)
            part.replace(target)
        except OSError as error:
            raise OutputError(f"{option} {path}: {error.strerror or error}; it was left as it was") from error
        finally:
            part.unlink(missing_ok=True)


class LazyResult:
    """A file for a result that is made at its first byte: one that would be empty is not made.

    A file that is there already is replaced in any case, so that it does not pass for a result of this command.

    Args:
        option: The option that names the file, for messages.
        path: The file.
        stack: The file is there when the stack is closed, or as it was after an exception.
    """

    def __init__(self, option: str, path: Path, stack: ExitStack) -> None:
        self._option, self._path, self._stack = option, path, stack
        self._out: BinaryIO | None = self._open() if is_replaced(path) else None

    def write(self, content: bytes, /) -> int:
        """Write bytes."""
        if self._out is None:
            self._out = self._open()
        return self._out.write(content)

    @property
    def made(self) -> Path | None:
        """The file; None when it is not made."""
        return None if self._out is None else self._path

    def _open(self) -> BinaryIO:
        return self._stack.enter_context(open_result(self._option, self._path))


def open_appending(option: str, path: Path) -> BinaryIO:
    """Open a file to append to; a new one is the owner's alone, since it names images.

    Raises:
        UsageError: It cannot be opened.
    """
    try:
        if _is_special(path):
            return _open_special(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, _PRIVATE_MODE), "ab")
    except OSError as error:
        raise _unusable(option, path, error) from error


@contextmanager
def _special(option: str, path: Path) -> Iterator[BinaryIO]:
    """A stream into something that is not a regular file."""
    try:
        binary = _open_special(path)
    except OSError as error:
        raise _unusable(option, path, error) from error
    try:
        with binary:
            yield binary
    except OSError as error:
        raise OutputError(f"{option} {path}: {error.strerror or error}") from error


def _unusable(option: str, path: Path, error: OSError) -> UsageError:
    return UsageError(f"{option} {path}: {error.strerror or error}", hint="Name a file that can be written.")


def _is_special(path: Path) -> bool:
    """Whether the path is a descriptor of this process, or leads to something that is not a regular file."""
    if _descriptor(path) is not None:
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # missing, or it cannot be opened either


def _descriptor(path: Path) -> int | None:
    """The number of the descriptor behind a path such as ``/dev/stdout`` or ``/dev/fd/3``."""
    found = _DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return None
    return _NUMBERS[found[1]] if found[1] else int(found[2])


def _open_special(path: Path) -> BinaryIO:
    number = _descriptor(path)
    if number is not None:
        return os.fdopen(_copy_of(number), "wb")
    if stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return connection.makefile("wb")
    # Without O_TRUNC and O_CREAT: nothing is changed or made but what is written.
    descriptor = _open_with_reader(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "wb")


def _copy_of(number: int) -> int:
    """A copy of a descriptor of this process.

    Raises:
        OSError: There is none, or it is open for reading alone.
    """
    if number > _LAST_DESCRIPTOR or fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.dup(number)


def _open_with_reader(path: Path, flags: int) -> int:
    """Open a file; a pipe waits for its reader, which may be started later, but not for ever.

    Raises:
        OSError: There is no reader, or it cannot be opened.
    """
    deadline_s = time.monotonic() + READER_WAIT_S
    while True:
        try:
            return os.open(path, flags)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(path.stat().st_mode):
                raise
            if time.monotonic() > deadline_s:
                raise OSError(errno.ENXIO, f"no program reads it ({READER_WAIT_S:.0f} s waited)") from error
        time.sleep(_PAUSE_S)


def _create_beside(target: Path, part: Path) -> int:
    """Create the file that will replace ``target``, with its owner and permissions; no link is followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        former = target.stat()
    except FileNotFoundError:
        return os.open(part, flags, _PUBLIC_MODE)
    descriptor = os.open(part, flags, _PRIVATE_MODE)
    with suppress(OSError):
        os.fchown(descriptor, former.st_uid, former.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(former.st_mode) & 0o777)
    return descriptor


def _text(binary: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")
