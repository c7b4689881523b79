"""The program of a watcher: ``python -m asyncfilter.wiring.watcher_process FOLDER LEASE POLL`` watches one lease."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import anyio

from asyncfilter.clock import SystemClock
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.custom_labels.reaper import Reaper
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.custom_labels.watching import Watcher
from asyncfilter.printable import printable, without_secrets
from asyncfilter.wiring.leases import open_lease


async def watch(folder: Path, identifier: str, poll_s: float) -> None:
    """Watch a lease to its end."""
    host, clock = ThisHost(), SystemClock()
    with open_ledger(folder) as ledger:
        leases = Leases(ledger, host)
        reaper = Reaper(leases, host, open_lease, Poller(clock, poll_s=poll_s, tell=_tell))
        await Watcher(leases, reaper, host, clock, tell=_tell).watch(identifier)


def _tell(line: str) -> None:
    """A line of the log."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with suppress(OSError):  # a full disk keeps no model from being stopped
        sys.stdout.write(f"{moment} {os.getpid()} {printable(without_secrets(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    anyio.run(watch, Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
