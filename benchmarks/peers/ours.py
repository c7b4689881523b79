"""This program as users run it, with a job file and one command; also with its fallback client, aioboto3."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.task import Task

JOB = """\
version: 1
name: bench
source: s3://{task.source}/
rules:
  - keep: {{any: [{task.label}], confidence: {task.confidence_pct:g}}}
otherwise: reject
actions:
  keep: {{copy: "s3://{task.target}/{{key}}"}}
limits: {{tps: {task.tps:g}, concurrency: {concurrency}}}
aws: {{client: {client}}}
"""


def write_job(task: Task, folder: Path, *, client: str = "fast", concurrency: int | None = None) -> Path:
    """Write the job file for a task; its checkpoint will be in ``folder`` as well."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(JOB.format(task=task, client=client, concurrency=concurrency or "auto"), encoding="utf-8")
    return path


def command(verb: str, job: Path) -> Sequence[str]:
    """The command line that runs a command of the program on a job."""
    return [sys.executable, "-m", "asyncfilter", verb, str(job), "--json"]
