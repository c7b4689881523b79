"""A Ray that is started for a run, and found again by the next head when that run was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from anyio import from_thread

from asyncfilter.errors import AccessError
from asyncfilter.fleet.keeper import ENVIRONMENT
from asyncfilter.fleet.left_ray import address_in, noted_folder, write_note
from asyncfilter.fleet.ray_connection import answers

START_S = 180.0
"""Ten seconds are usual; a machine that is busy with other things took more than 90."""

_STOP_S = 30.0
_CHECK_S = 0.1
_LOG_BYTES = 1_000_000
_KEEPER = Path(__file__).with_name("keeper.py")
_SHORT = Path("/tmp")  # noqa: S108  each folder has mode 0700  # nosec B108
_PLACE = _SHORT if _SHORT.is_dir() else Path(tempfile.gettempdir())
"""A short path: the sockets of Ray are in it."""
_PREFIX = "afray-"
_HELD: list[OwnRay] = []
"""Those whose locks only the end of this process lets go of."""


class _EndedError(AccessError):
    """A Ray ended before it served."""


class OwnRay:
    """A Ray of our own on this machine, held by this process.

    Attributes:
        address: Host and port.
        is_kept: It goes on without this process: its workers keep what was paid for before, until the next command.
    """

    def __init__(self, folder: Path, note: Path, lock: BinaryIO, address: str, *, is_kept: bool) -> None:
        self.address = address
        self.is_kept = is_kept
        self._folder = folder
        self._note = note
        self._lock = lock
        self._keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    def found(cls, note: Path) -> OwnRay | None:
        """The Ray that a killed run over the same checkpoint has left; None where there is none."""
        folder = noted_folder(note)
        if folder is None:
            return None
        address = address_in(folder)
        if address is None or folder.stat().st_uid != os.getuid():
            note.unlink(missing_ok=True)
            return None
        lock = _hold(folder)
        if lock is None:
            return None
        found = cls(folder, note, lock, address, is_kept=True)
        if answers(address):
            return found
        # Its processes were killed, and nothing else removes what is left of it.
        note.unlink(missing_ok=True)
        lock.close()
        # A note that came with somebody else's checkpoint may name any folder.
        if folder.parent == _PLACE and folder.name.startswith(_PREFIX) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        return None

    @classmethod
    def start(cls, note: Path, *, cpus: int) -> OwnRay:
        """Start one; takes some seconds. To be called in a thread of anyio's, which can be cancelled.

        Raises:
            AccessError: It does not start.
        """
        try:
            return cls._started(note, cpus)
        except _EndedError:
            # Ray gives up where one of its processes needs more than half a minute, as on a machine that is busy.
            return cls._started(note, cpus)

    @classmethod
    def _started(cls, note: Path, cpus: int) -> OwnRay:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        (folder / "head").touch(mode=0o600)
        lock = _hold(folder)
        if lock is None:
            raise AccessError(f"{folder} is locked by another process", hint="Run the command again.")
        started = cls(folder, note, lock, "", is_kept=False)
        try:
            with (folder / "log").open("w+b") as log:
                started._keeper = keeper = subprocess.Popen(  # noqa: S603  this interpreter and a file of this package
                    [sys.executable, str(_KEEPER), str(folder), str(cpus)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                started.address = _awaited(folder, keeper, log)
            write_note(note, folder)
        except BaseException:
            started.stop()
            raise
        return started

    def environment(self) -> dict[str, str]:
        """The variables with which it can be reached."""
        return {**ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str(self._folder / "token")}

    def end(self, *, is_joined: bool = False) -> None:
        """Let go of it, and stop it unless it is kept.

        Args:
            is_joined: This process could not leave it. Ray's own program ends a process that it loses, at once and with
                a code of its own: so it is stopped when this process has ended, which is not waited for.
        """
        if self.is_kept:
            self._lock.close()
        elif is_joined:
            self._let_stop()
            _HELD.append(self)
        else:
            self.stop()

    def stop(self) -> None:
        """Stop it, with all its processes."""
        self._let_stop()
        self._lock.close()
        until_s = time.monotonic() + _STOP_S
        while self._folder.exists() and time.monotonic() < until_s:
            time.sleep(_CHECK_S)
        if self._keeper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(_CHECK_S)

    def _let_stop(self) -> None:
        """Let the keeper stop it once nobody holds the lock."""
        self._note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self._folder / "stop").touch()


def _hold(folder: Path) -> BinaryIO | None:
    """The lock that shows the keeper that a head runs; None where another one does."""
    lock = (folder / "head").open("r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # The keeper looks at it for a moment, several times a second.
        time.sleep(_CHECK_S / 2)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
    return lock


def _awaited(folder: Path, keeper: subprocess.Popen[bytes], log: BinaryIO) -> str:
    """The address of a Ray that starts.

    Raises:
        AccessError: It does not start.
    """
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and keeper.poll() is None:
        if (address := address_in(folder)) is not None:
            return address
        from_thread.check_cancelled()
        time.sleep(_CHECK_S)
    # The keeper has removed the file by now, and others may be writing to it from where they are.
    last = os.pread(log.fileno(), _LOG_BYTES, 0).decode(errors="replace").strip().splitlines()[-3:]
    why = f"no Ray could be started on this machine: {' '.join(last)}"
    hint = "Give the address of a Ray that runs (cluster.address), or --on local."
    if keeper.poll() is None:
        raise AccessError(f"{why} (it did not serve within {START_S:g} s)", hint=hint)
    raise _EndedError(why if last else f"{why}it ended without a word", hint=hint)
