"""Processes, so named that one can be told from another that has its number later; and whether one still lives.

A process is named by its host, the boot of that host, the space of process numbers, its number, and when it started.
"""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_STATE_AND_REST = re.compile(rb"\) (?P<state>\S) (?P<rest>.*)", re.DOTALL)
_DEAD_STATES = {b"Z", b"X", b"x"}
_START_FIELD = 22 - 4
"""Field 22 of ``/proc/PID/stat``, counted from the fourth (proc(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process.

    Attributes:
        host: Name of its host.
        boot_id: The boot of the host; all containers of a host have the same.
        pid_namespace: The space of process numbers; containers have their own.
        pid: Its number.
        started: When it started, as the system counts it; only compared.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str


class Host(Protocol):
    """The host on which this process runs, and its clocks."""

    @property
    def me(self) -> Process:
        """This process."""
        ...

    def started(self, pid: int) -> str | None:
        """When the process with a number started, empty where that is hidden; None when there is none that lives."""
        ...

    def unix_s(self) -> float:
        """Seconds since 1970-01-01 UTC; people and services set this clock, also backwards."""
        ...

    def boot_s(self) -> float:
        """Seconds since the host was booted, those in which it slept among them; this clock cannot be set."""
        ...


class ThisHost:
    """The real ``Host``."""

    def __init__(self) -> None:
        host, pid = socket.gethostname(), os.getpid()
        self._me = Process(
            host=host,
            boot_id=_boot_id(host),
            pid_namespace=_pid_namespace(),
            pid=pid,
            started=self.started(pid) or "",
        )

    @property
    def me(self) -> Process:
        """See ``Host``."""
        return self._me

    def started(self, pid: int) -> str | None:
        """See ``Host``; an empty text where the system hides when it started, or does not know."""
        try:
            # One read: the file is made when it is read, and the name of the program may hold blanks and parentheses.
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:  # none, or of another user and hidden (hidepid), or not Linux
            return "" if _lives(pid) else None
        found = _STATE_AND_REST.search(stat[stat.rfind(b")") :])
        if found is None or found["state"] in _DEAD_STATES:
            return None
        return found["rest"].split()[_START_FIELD].decode()

    def unix_s(self) -> float:
        """See ``Host``."""
        return time.time()

    def boot_s(self) -> float:
        """See ``Host``."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def is_dead(process: Process, host: Host) -> bool:
    """Whether a process has certainly ended; False where that cannot be known from here.

    It has ended when its host was booted again, or has no process of that number, or one that started at another time.
    """
    here = host.me
    if process.boot_id != here.boot_id:
        return process.host == here.host
    if process.pid_namespace != here.pid_namespace:
        return False
    return host.started(process.pid) not in {process.started, ""}


def is_alive_here(process: Process, host: Host) -> bool:
    """Whether a process lives on this host, as far as that is not hidden; False for those of other hosts."""
    here = host.me
    same = (process.boot_id, process.pid_namespace) == (here.boot_id, here.pid_namespace)
    return same and host.started(process.pid) in {process.started, ""}


def _boot_id(host: str) -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # not Linux: a process that outlived a boot would be known by its number alone
        return f"some boot of {host}"


def _pid_namespace() -> str:
    try:
        return str(_PID_NAMESPACE.readlink())
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
