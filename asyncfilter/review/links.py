"""The links of reviewers: tokens, port and secrets, in a file of their own that only the user can read.

It stands beside the answers file and is never part of it, so that answers can be copied and shared.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from asyncfilter.errors import AnswersError
from asyncfilter.job.spec import ANSWERS_SUFFIX

_TOKEN_BYTES = 32
"""256 bits: 43 characters."""
_SHAPE = r"\A[A-Za-z0-9_-]{43}\Z"
_MODE = 0o600
_MOST_BYTES = 1 << 20
"""A link takes some 100 bytes for each reviewer."""


class Link(msgspec.Struct, kw_only=True):
    """What is remembered between two starts of a server.

    Attributes:
        port: 0 before the first start.
        tokens: By reviewer.
        secret: Of the addresses of pictures.
        id: By which a page tells this review from another one at the same address.
        origins: The checkpoints that were reviewed, by the ids of their first runs, in this order.
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    tokens: dict[str, Annotated[str, Meta(pattern=_SHAPE)]] = {}
    secret: str = ""
    id: str = ""
    origins: list[str] = []


class LinkFile:
    """The file of one answers file.

    Args:
        answers: The answers file; it need not exist.

    Attributes:
        path: The file.
    """

    def __init__(self, answers: Path) -> None:
        name = answers.name.removesuffix(ANSWERS_SUFFIX)
        self.path = answers.with_name(f"{name}.review.json")
        self._lock_path = answers.with_name(f"{name}.review.lock")
        self.link = self._read()

    def tokens(self, reviewers: Sequence[str], *, makes_new: bool) -> dict[str, str]:
        """The token of each reviewer; with ``makes_new`` all former tokens and addresses of pictures end."""
        if makes_new:
            self.link.tokens, self.link.secret = {}, ""
        for name in reviewers:
            self.link.tokens.setdefault(name, secrets.token_urlsafe(_TOKEN_BYTES))
        self.link.secret = self.link.secret or secrets.token_urlsafe(_TOKEN_BYTES)
        self.link.id = self.link.id or secrets.token_hex(8)
        return {name: self.link.tokens[name] for name in reviewers}

    def epoch_of(self, origin: str) -> int:
        """The number of a checkpoint, from 0; a new one is remembered."""
        if not origin:
            return 0
        if origin not in self.link.origins:
            self.link.origins.append(origin)
            self.save()
        return self.link.origins.index(origin)

    def save(self) -> None:
        """Write the file, whole or not at all; only the user can read it.

        Raises:
            AnswersError: It cannot be written.
        """
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(self.link)))
            draft.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def hold(self) -> Held | None:
        """The lock that a server of this answers file holds; None when another server holds it.

        Raises:
            AnswersError: It cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise _unwritable(self._lock_path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return Held(fd)

    def _read(self) -> Link:
        """What is remembered; a file that is damaged is not used, nor are tokens that others may read."""
        try:
            # Without waiting: a pipe that somebody put here has no writer, and no signal ends the wait for one.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                    return Link()
                is_ours = status.st_mode & 0o077 == 0
                found = msgspec.json.decode(file.read(_MOST_BYTES), type=Link)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Link()
        if not is_ours:  # others may know them
            found.tokens, found.secret = {}, ""
        return found if len(set(found.tokens.values())) == len(found.tokens) else Link()


def _unwritable(path: Path, error: OSError) -> AnswersError:
    return AnswersError(
        f"{path}: cannot be written ({error.strerror or error})",
        hint="Allow writing in its folder, or name another file (`answers:`, --answers FILE).",
    )


class Held:
    """A lock, held until the end of the context or of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
