"""Clean image datasets in S3 with Amazon Rekognition at scale: resumable, at quota, within budget.

    import anyio
    import asyncfilter

    job = asyncfilter.load_job("job.yaml")
    summary = anyio.run(asyncfilter.run, job)

Everything else lives in modules of its own: ``asyncfilter.ports`` for what a source, detector, sink or checkpoint of
your own must do, ``asyncfilter.testing`` for ones in memory, ``asyncfilter.events`` for what a run tells.
"""

from __future__ import annotations

import warnings
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
    from asyncfilter.wiring import Overrides, bench, plan, refilter, run

__all__ = [
    "AccessError",
    "AsyncFilterError",
    "CheckpointError",
    "Interrupt",
    "Job",
    "JobError",
    "Overrides",
    "Summary",
    "UsageError",
    "bench",
    "load_job",
    "parse_job",
    "plan",
    "refilter",
    "run",
]

_MODULES = {
    "AccessError": "asyncfilter.errors",
    "AsyncFilterError": "asyncfilter.errors",
    "CheckpointError": "asyncfilter.errors",
    "Interrupt": "asyncfilter.engine.ending",
    "Job": "asyncfilter.job",
    "JobError": "asyncfilter.errors",
    "Overrides": "asyncfilter.wiring",
    "Summary": "asyncfilter.model",
    "UsageError": "asyncfilter.errors",
    "bench": "asyncfilter.wiring",
    "load_job": "asyncfilter.job",
    "parse_job": "asyncfilter.job",
    "plan": "asyncfilter.wiring",
    "refilter": "asyncfilter.wiring",
    "run": "asyncfilter.wiring",
}
"""Where each public name is defined."""

_RENAMED = {"World": "Overrides"}
"""Former public names, each kept as an alias for one release."""


if not TYPE_CHECKING:  # a type checker reads the imports above, and then reports a name that does not exist

    def __getattr__(name: str) -> object:
        """Import a public name at its first use, so that ``import asyncfilter`` does not load the AWS clients."""
        if name in _RENAMED:
            new_name = _RENAMED[name]
            warnings.warn(f"asyncfilter.{name} is now asyncfilter.{new_name}", DeprecationWarning, stacklevel=2)
            name = new_name
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
