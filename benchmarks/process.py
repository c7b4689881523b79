"""A measured process, pinned to a core; its processor time, wall time and memory are measured from outside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.machine import pin

_LOOK_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A measured process failed or gave a wrong result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The resources that a process used from start to end.

    Attributes:
        cpu_s: User and system time of all its threads, and of the child processes that it waited for.
        peak_mb: Largest resident memory; read ten times a second, so that the last tenth of a second may be missing.
        memory: Pairs of seconds since the start and resident memory in MB.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    memory: list[tuple[float, float]]
    stdout: str


@dataclass(slots=True)
class Process:
    """A running process; it is killed at the end of the context if it still runs.

    Attributes:
        command: The command and its arguments.
        env: The whole environment of the process.
        folder: Its working directory; its output is stored there.
        core: The core on which it runs; None for any.
        counts_children: Whether the memory of its child processes counts, too; what they share counts once.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    core: int | None = None
    peak_mb: float = 0.0
    counts_children: bool = False
    _memory: list[tuple[float, float]] = field(default_factory=list)
    _began_s: float = 0.0
    _popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._began_s = time.perf_counter()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                self.command, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        pin(self.pid, self.core)
        return self

    def __exit__(self, *_: object) -> None:
        if self._popen is not None and self._popen.returncode is None:
            self._popen.kill()
            self._popen.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._popen is not None
        return self._popen.pid

    def stop(self) -> Ran:
        """Kill the process with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self, timeout_s: float = 900.0) -> Ran:
        """Wait for the end of the process and record its memory meanwhile.

        Raises:
            BenchmarkError: The process takes longer than ``timeout_s``.
        """
        assert self._popen is not None
        end = os.pidfd_open(self.pid)
        try:
            while not select.select([end], [], [], _LOOK_S / 5 if self.counts_children else _LOOK_S)[0]:
                self.sample()
                if time.perf_counter() - self._began_s > timeout_s:
                    raise BenchmarkError(f"{self.command} takes longer than {timeout_s} s; see {self._err}")
        finally:
            os.close(end)
        wall_s = time.perf_counter() - self._began_s
        _, status, used = os.wait4(self.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        return Ran(
            exit_code=self._popen.returncode,
            wall_s=wall_s,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_mb=round(self.peak_mb, 1),
            memory=self._memory,
            stdout=self._out.read_text(encoding="utf-8"),
        )

    def sample(self) -> None:
        """Record the memory of the process at this moment."""
        if self.counts_children:
            self._record(sum(map(_proportional_mb, _tree(self.pid))))
            return
        # Not ru_maxrss, which also counts the process this one was forked from.
        with suppress(OSError, KeyError):
            figures = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
            self.peak_mb = int(figures["VmHWM"].split()[0]) / 1024
            self._record(int(figures["VmRSS"].split()[0]) / 1024)

    def _record(self, resident_mb: float) -> None:
        self.peak_mb = max(self.peak_mb, resident_mb)
        self._memory.append((round(time.perf_counter() - self._began_s, 1), round(resident_mb, 1)))

    def complaint(self) -> str:
        """The last 2,000 characters of its stderr."""
        return self._err.read_text(encoding="utf-8", errors="replace")[-2000:]

    @property
    def _out(self) -> Path:
        return self.folder / "stdout.txt"

    @property
    def _err(self) -> Path:
        return self.folder / "stderr.txt"


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += _tree(int(child))
    return found


def _proportional_mb(pid: int) -> float:
    """Resident memory of a process, its share of what it shares with others; 0 when it has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
    return 0.0


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, in seconds, with a resolution of a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
