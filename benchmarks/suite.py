"""All workloads, in the order of measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench
from benchmarks.workloads import (
    calls,
    checkpoint,
    costs,
    exports,
    limiters,
    listing,
    lists,
    manifests,
    memory,
    overshoot,
    page,
    pictures,
    quota,
    ranges,
    resume,
    sandbox,
    startup,
    whole,
)

WORKLOADS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "calls": calls.measure,
    "whole": whole.measure,
    "costs": costs.measure,
    "listing": listing.measure,
    "startup": startup.measure,
    "checkpoint": checkpoint.measure,
    "resume": resume.measure,
    "memory": memory.measure,
    "quota": quota.measure,
    "overshoot": overshoot.measure,
    "pictures": pictures.measure,
    "manifests": manifests.measure,
    "exports": exports.measure,
    "lists": lists.measure,
    "limiters": limiters.measure,
    "sandbox": sandbox.measure,
}

BY_NAME: dict[str, Callable[[Bench], dict[str, Any]]] = {"ranges": ranges.measure, "page": page.measure}
"""Workloads that are measured with ``--only`` alone: their figures are not among the committed results."""
