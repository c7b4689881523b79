"""Clean image datasets in S3 with Amazon Rekognition at scale: resumable, at quota, within budget.

    import anyio
    import asyncfilter

    job = asyncfilter.load_job("job.yaml")
    summary = anyio.run(asyncfilter.run, job)

The public names are those in ``__all__`` here and those of these modules: ``asyncfilter.clock``,
``asyncfilter.errors``, ``asyncfilter.events`` (what a run reports), ``asyncfilter.job`` (what a job holds),
``asyncfilter.model`` (labels, verdicts, effects), ``asyncfilter.ports`` (what a source, detector, sink, remover or
checkpoint of your own must do) and ``asyncfilter.testing`` (all of them in memory). Every other module may change
without notice.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module

TYPE_CHECKING = (
    False  # type checkers take it for true; ``typing`` would take half of the time to the first line of a command
)
if TYPE_CHECKING:
    from asyncfilter.engine.core.stopping import Interrupt
    from asyncfilter.errors import AbortedError, AccessError, AsyncFilterError, CheckpointError, JobError, UsageError
    from asyncfilter.job import Job, load_job, parse_job
    from asyncfilter.model import Counts, Progress, StopReason, Summary, Verdict
    from asyncfilter.policy.forecast import PlanResult
    from asyncfilter.policy.reference_labels import Labelled
    from asyncfilter.policy.removal_plan import Consent, RemovalPlan, RemovalSummary
    from asyncfilter.policy.throughput import Measurement
    from asyncfilter.wiring import Overrides, label_references, plan_apply, plan_undo, undo
    from asyncfilter.wiring.apply import apply
    from asyncfilter.wiring.bench import bench
    from asyncfilter.wiring.frames import labels_frame
    from asyncfilter.wiring.plan import plan
    from asyncfilter.wiring.refilter import refilter
    from asyncfilter.wiring.run import run

__version__ = "0.1.0"
"""The version. It is written here alone: builds, `--version` and the SBOM of a release read it."""

__all__ = [
    "AbortedError",
    "AccessError",
    "AsyncFilterError",
    "CheckpointError",
    "Consent",
    "Counts",
    "Interrupt",
    "Job",
    "JobError",
    "Labelled",
    "Measurement",
    "Overrides",
    "PlanResult",
    "Progress",
    "RemovalPlan",
    "RemovalSummary",
    "StopReason",
    "Summary",
    "UsageError",
    "Verdict",
    "apply",
    "bench",
    "label_references",
    "labels_frame",
    "load_job",
    "parse_job",
    "plan",
    "plan_apply",
    "plan_undo",
    "refilter",
    "run",
    "undo",
]

_NAMES_BY_MODULE = {
    "asyncfilter.engine.core.stopping": ("Interrupt",),
    "asyncfilter.errors": (
        "AbortedError",
        "AccessError",
        "AsyncFilterError",
        "CheckpointError",
        "JobError",
        "UsageError",
    ),
    "asyncfilter.job": ("Job", "load_job", "parse_job"),
    "asyncfilter.model": ("Counts", "Progress", "StopReason", "Summary", "Verdict"),
    "asyncfilter.policy.throughput": ("Measurement",),
    "asyncfilter.policy.forecast": ("PlanResult",),
    "asyncfilter.policy.reference_labels": ("Labelled",),
    "asyncfilter.policy.removal_plan": ("Consent", "RemovalPlan", "RemovalSummary"),
    "asyncfilter.wiring.frames": ("labels_frame",),
    "asyncfilter.wiring": (
        "Overrides",
        "apply",
        "bench",
        "label_references",
        "plan",
        "plan_apply",
        "plan_undo",
        "refilter",
        "run",
        "undo",
    ),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}
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
        if os.name != "posix":
            raise ImportError(f"asyncfilter needs Linux or macOS, this system is {os.name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names, imported or not, and the names that every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
