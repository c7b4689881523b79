"""The start of a watcher: a process that outlives the command that starts it, its terminal and its signals.

It is the leader of a session of its own, so that neither a signal of the keyboard nor the end of the terminal reaches
it. A reboot ends it, and so does what ends all processes of a container or of a service; then the lease ends when
somebody looks. ``asyncfilter.wiring.watcher_process`` is what it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncfilter
from asyncfilter.clock import Clock
from asyncfilter.custom_labels.lease import Lease
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.ledger import STATE_VARIABLE, state_folder
from asyncfilter.custom_labels.processes import ThisHost, is_alive_here
from asyncfilter.errors import LeaseError

START_TIMEOUT_S = 60.0
"""Longest time in which a watcher must have begun, seconds."""

NO_WATCHER = "WATCHER_FAILED"

LOG_KEPT_S = 30 * 86_400.0
"""How long the log of a watcher is kept after its last line, seconds."""

_LOOK_S = 0.05


async def start_watcher(lease: Lease, leases: Leases, clock: Clock, *, poll_s: float) -> None:
    """Start the watcher of a lease that has none, and wait until it watches.

    Args:
        lease: What is to be watched.
        leases: The table.
        clock: Waits.
        poll_s: The watcher's pause between two looks at a model that is being stopped, seconds.

    Raises:
        LeaseError: It does not begin.
    """
    if _has_watcher(leases, lease):
        return
    folder = state_folder()
    remove_old_logs(folder, leases, before_unix_s=clock.unix() - LOG_KEPT_S)
    log = log_path(folder, lease.id)
    try:
        process = _begin([str(folder), lease.id, str(poll_s)], folder, log)
    except OSError as exc:
        raise _failed(lease, exc.strerror or str(exc)) from exc
    give_up_s = clock.monotonic() + START_TIMEOUT_S
    while not _has_watcher(leases, lease):
        if process.poll() is not None or clock.monotonic() > give_up_s:
            raise _failed(lease, f"its log is {log}")
        await clock.sleep(_LOOK_S)
    process.returncode = 0  # it is not waited for, and Python complains of a process that is forgotten


def _failed(lease: Lease, why: str) -> LeaseError:
    return LeaseError(
        f"no watcher begins for the lease on {lease.arn}, and nothing was started: {why}",
        code=NO_WATCHER,
        hint="See what keeps a process from starting; `model start --no-watcher` starts none.",
    )


def log_path(folder: Path, identifier: str) -> Path:
    """The log of a lease's watcher."""
    return folder / f"watch-{identifier}.log"


def remove_old_logs(folder: Path, leases: Leases, *, before_unix_s: float) -> None:
    """Remove the logs of watchers that have ended, whose last line is older than ``before_unix_s``.

    A watcher writes nothing while its lease lasts, however long that is: the log of an open lease stays.
    """
    kept = {log_path(folder, lease.id) for lease in leases.open()}
    for log in folder.glob(log_path(Path(), "*").name):
        with suppress(OSError):  # removed by another command, or not ours to remove: no reason to start no model
            if log not in kept and log.lstat().st_mtime < before_unix_s:
                log.unlink()


def _has_watcher(leases: Leases, lease: Lease) -> bool:
    """Whether a process of this host watches it, or nothing is left to watch."""
    present = leases.get(lease.id)
    if present is None or not present.is_open:
        return True
    return present.watcher is not None and is_alive_here(present.watcher, ThisHost())


def _begin(arguments: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The process, with the same environment and folder: the AWS settings may depend on both."""
    source = str(Path(asyncfilter.__file__).resolve().parents[1])
    paths = [source, *[str(Path(one).absolute()) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]]
    environment = {**os.environ, STATE_VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  this program, with arguments of ours
            [sys.executable, "-m", "asyncfilter.wiring.watcher_process", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(fd)
