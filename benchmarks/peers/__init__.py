"""The peers, one file each: typical user code, correct, and tested to make the same copies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import ours
from benchmarks.peers.task import Task

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Peer:
    """One implementation of the task; ``command`` returns the command line, given a folder for files that it needs."""

    title: str
    command: Callable[[Task, Path], Sequence[str]]


def _script(name: str, task: Task, *more: object) -> Sequence[str]:
    given = (task.source, task.target, task.label, task.confidence_pct, *more)
    return [sys.executable, str(_HERE / f"{name}.py"), *map(str, given)]


PEERS = {
    "one_by_one": Peer("boto3, one by one", lambda task, _: _script("one_by_one", task)),
    "threads": Peer("boto3, 100 threads", lambda task, _: _script("threads", task)),
    "obvious": Peer(
        "aioboto3, the obvious build",
        lambda task, _: _script("obvious", task, "--tps", task.tps, "--workers", task.workers),
    ),
    "fallback": Peer(
        "asyncfilter, client: aioboto3",
        lambda task, folder: ours.command("run", ours.write_job(task, folder, client="aioboto3")),
    ),
    "ours": Peer("asyncfilter", lambda task, folder: ours.command("run", ours.write_job(task, folder))),
}
"""By name, slowest first."""
