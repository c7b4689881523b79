"""Pictures as files for the decoding processes, and what can be seen of these processes from outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def as_file(body: bytes) -> Iterator[BinaryIO]:
    """A file without a name that holds ``body``."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        yield file


def decoders_of(pid: int | None = None) -> list[int]:
    """The decoding processes that a process, by default this one, has started and not ended."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(child for child in found if "decode_process.py" in _command(child))


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def opened_by(pid: int) -> list[str]:
    """What the descriptors of a process refer to."""
    return sorted(str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir())


def environment_of(pid: int) -> bytes:
    """The environment with which a process was started."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_computing(pid: int) -> bool:
    """Whether a process runs at this moment."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"


def peak_mb(pid: int) -> float:
    """Most memory that a process had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:"))


def memory_mb(pid: int) -> float:
    """Memory of a process and of its decoding processes at this moment, in MB; what they share counts once."""
    return sum(_resident_mb(one) for one in (pid, *decoders_of(pid)))


def _resident_mb(pid: int) -> float:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:"))
    return 0.0


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
