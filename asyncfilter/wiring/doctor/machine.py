"""This machine: program, libraries, open files, and the place of the checkpoint."""

from __future__ import annotations

import platform
import resource
import sqlite3
import ssl
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from asyncfilter import __version__
from asyncfilter.checkpoint import PlaceTrial, Status, read_status, try_place
from asyncfilter.errors import AsyncFilterError, ExitCode
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.report import formatting
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, RESERVED_FILES

_LEAST_FREE_BYTES = 500_000_000
"""Below this a warning: a million images take about 280 MB (docs/performance.md)."""

_LEAST_USABLE_BYTES = 20_000_000
_SLOW_COMMIT_S = 0.05
"""Paid work is durable this soon (docs/guarantees.md, *Paid work is durable*)."""

_PASSING = {
    "tmpfs": "Set `checkpoint:` to a folder on a disk: this one is in memory, and gone with the machine's next start.",
    "ramfs": "Set `checkpoint:` to a folder on a disk: this one is in memory, and gone with the machine's next start.",
    "overlay": "In a container, put it on a volume: without one, what was paid for is gone with the container.",
}
"""What to say of file systems that do not outlive a machine or a container, by kind."""

_SHOWN = ("botocore", "aiobotocore", "aiohttp", "pillow")


def program() -> Finding:
    """The versions of program, Python and libraries."""
    versions = {name: _version(name) for name in dict.fromkeys((*_SHOWN, *_dependencies()))}
    shown = ", ".join(f"{name} {versions[name]}" for name in _SHOWN if versions.get(name))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    missing = sorted(name for name, found in versions.items() if found is None)
    facts = {
        "asyncfilter": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "libraries": versions,
    }
    text = f"asyncfilter {__version__}, {python}, {platform.system()} {platform.machine()}; {shown}"
    if missing:
        hint = f"Install what is missing ({', '.join(missing)}), for instance by installing asyncfilter again."
        return Finding(name="program", health=Health.ERROR, text=text, hint=hint, facts=facts, code=ExitCode.INTERNAL)
    return Finding(name="program", health=Health.OK, text=text, facts=facts)


def _dependencies() -> list[str]:
    """What asyncfilter requires without its extras."""
    found = [line for line in _required() if "extra ==" not in line]
    names = ["".join(char if char.isalnum() or char in "-_." else " " for char in line).split()[0] for line in found]
    return sorted(names, key=str.lower)


def _required() -> list[str]:
    """What asyncfilter requires; a checkout from which it runs without being installed has that in a file."""
    try:
        return requires("asyncfilter") or []
    except PackageNotFoundError:
        checkout = Path(__file__).parents[3] / "pyproject.toml"
        return tomllib.loads(checkout.read_text("utf-8"))["project"]["dependencies"] if checkout.is_file() else []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def open_files() -> Finding:
    """The limit of open files, which bounds the calls in flight."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    name, facts = "open files", {"limit": None if hard == resource.RLIM_INFINITY else hard}
    if hard == resource.RLIM_INFINITY:
        return Finding(name=name, health=Health.OK, text="no limit", facts=facts)
    in_flight = max(LEAST_IN_FLIGHT, hard - RESERVED_FILES)
    text = f"up to {formatting.count(hard)}, enough for {formatting.count(in_flight)} calls in flight"
    if hard < 4 * RESERVED_FILES:
        return Finding(name=name, health=Health.WARNING, text=text, hint="Raise it: ulimit -Hn 4096.", facts=facts)
    return Finding(name=name, health=Health.OK, text=text, facts=facts)


def checkpoint(path: Path) -> Finding:
    """The place of a checkpoint, and the checkpoint where there is one."""
    try:
        trial = try_place(path)
        status = read_status(path) if trial.exists else None
    except AsyncFilterError as error:
        return Finding.failed("checkpoint", error, path=str(path))
    return _place(trial, status)


def _place(trial: PlaceTrial, status: Status | None) -> Finding:
    health, hint = _trouble(trial)
    there = "a checkpoint to be made" if status is None else "a checkpoint"
    kind = f" on {trial.kind}" if trial.kind else ""
    text = (
        f"{there} in {trial.path.parent}{kind}: {formatting.size(trial.free_bytes)} free, "
        f"{'locks work' if trial.locks else 'locks do not work'}, a commit takes {trial.commit_s * 1000:.0f} ms"
    )
    if status is not None:
        text += f"; paid calls in it: {formatting.count(status.totals.billed_calls)}"
    if trial.holder is not None:
        text += f"; held by {trial.holder}"
    facts = {
        "path": str(trial.path),
        "exists": trial.exists,
        "file_system": trial.kind or None,
        "is_network": trial.is_network,
        "free_bytes": trial.free_bytes,
        "locks": trial.locks,
        "commit_ms": round(trial.commit_s * 1000, 3),
        "held_by": None if trial.holder is None else str(trial.holder),
    }
    return Finding(name="checkpoint", health=health, text=text, hint=hint, facts=facts, code=ExitCode.CHECKPOINT)


def _trouble(trial: PlaceTrial) -> tuple[Health, str | None]:
    if not trial.locks:
        return Health.ERROR, "Set `checkpoint:` to a folder on a local disk: without locks two runs would pay twice."
    if trial.free_bytes < _LEAST_USABLE_BYTES:
        return Health.ERROR, "Free space on its disk, or set `checkpoint:` to a folder on another one."
    if trial.is_network:
        return Health.WARNING, "Set `checkpoint:` to a folder on a local disk: SQLite needs one for its log."
    if trial.free_bytes < _LEAST_FREE_BYTES:
        return Health.WARNING, "Free space on its disk: a million images take about 300 MB."
    if trial.commit_s > _SLOW_COMMIT_S:
        return Health.WARNING, "Set `checkpoint:` to a folder on a faster disk: paid labels are to be durable in 50 ms."
    return (Health.NOTE, _PASSING[trial.kind]) if trial.kind in _PASSING else (Health.OK, None)
