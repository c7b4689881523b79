"""Clean image datasets in S3 with Amazon Rekognition at scale: resumable, at quota, within budget.

    import anyio
    import asyncfilter

    job = asyncfilter.load_job("job.yaml")
    summary = anyio.run(asyncfilter.run, job)

Everything else lives in modules of its own: ``asyncfilter.ports`` for what a source, detector, sink or checkpoint of
your own must do, ``asyncfilter.testing`` for ones in memory, ``asyncfilter.events`` for what a run tells.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncfilter.engine.ending import Interrupt
    from asyncfilter.errors import (
        AccessError,
        AsyncFilterError,
        CheckpointError,
        JobError,
        UsageError,
    )
    from asyncfilter.job import Job, load_job, parse_job
    from asyncfilter.model import Summary
    from asyncfilter.wiring import World, bench, plan, refilter, run

__all__ = [
    "AccessError",
    "AsyncFilterError",
    "CheckpointError",
    "Interrupt",
    "Job",
    "JobError",
    "Summary",
    "UsageError",
    "World",
    "bench",
    "load_job",
    "parse_job",
    "plan",
    "refilter",
    "run",
]

_HOMES = {
    "Interrupt": "engine.ending",
    "Job": "job",
    "Summary": "model",
    "World": "wiring",
    "bench": "wiring",
    "load_job": "job",
    "parse_job": "job",
    "plan": "wiring",
    "refilter": "wiring",
    "run": "wiring",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for, so that ``asyncfilter --help`` does not wait for AWS's client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
