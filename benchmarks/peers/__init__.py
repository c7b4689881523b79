"""The peers, a file each: written as their users write them, correct, and tested to give the same copies."""

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
    """One way to do the task; ``command`` gives what to run, with a folder for files it needs."""

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
