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
    fleet,
    lanes,
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
    workers,
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
    "lanes": lanes.measure,
    "ranges": ranges.measure,
    "workers": workers.measure,
    "fleet": fleet.measure,
    "overshoot": overshoot.measure,
    "pictures": pictures.measure,
    "page": page.measure,
    "manifests": manifests.measure,
    "exports": exports.measure,
    "lists": lists.measure,
    "limiters": limiters.measure,
    "sandbox": sandbox.measure,
}
