"""The machine on which the benchmarks run, and the cores that they use."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

PARTS = (
    *("asyncfilter", "aioboto3", "aiobotocore", "boto3", "botocore", "aiohttp", "aiolimiter", "anyio", "httptools"),
    *("msgspec", "structlog", "tenacity", "uvloop"),
)


class Cores(NamedTuple):
    """A core for the client and another for everything else; None if there is only one."""

    client: int | None
    server: int | None


def cores() -> Cores:
    """The last two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[-1], usable[-2]) if len(usable) > 1 else Cores(None, None)


def pin(pid: int, core: int | None) -> None:
    """Restrict all threads of a process, also those started later, to one core; does nothing if ``core`` is None."""
    if core is not None:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def facts() -> dict[str, object]:
    """The machine, and the versions of Python and of the packages."""
    chosen = cores()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "client_core": chosen.client,
        "server_core": chosen.server,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {part: version(part) for part in PARTS},
    }


def now() -> str:
    """This moment, to the second, in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def load() -> float:
    """The load average of the last minute, including the benchmark itself; it shows whether other work was running."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def commit() -> str:
    """The commit that is checked out, with a plus if the package differs from it; empty outside a repository."""
    try:
        return _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "../asyncfilter") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command, here = ["git", *arguments], Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
