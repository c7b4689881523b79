"""How much goes on at once: calls in flight, and the connections they need."""

from __future__ import annotations

import math
import resource

from asyncfilter.job.spec import Limits

MOST_IN_FLIGHT = 4096
"""Calls in flight at the most when ``limits.concurrency`` is auto."""

LEAST_IN_FLIGHT = 32

SPARE_FILES = 128
"""File descriptors left for everything but connections to the detector."""


def concurrency(limits: Limits, limit_tps: float | None) -> int:
    """Calls in flight at the most: what was asked for, or enough for answers that take half the time-out."""
    if limits.concurrency is not None:
        return limits.concurrency
    wanted = MOST_IN_FLIGHT if limit_tps is None else math.ceil(limit_tps * limits.timeout_s / 2)
    return max(LEAST_IN_FLIGHT, min(wanted, MOST_IN_FLIGHT, most_connections()))


def most_connections() -> int:
    """Connections this process may hold; raises the soft limit of open files to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_IN_FLIGHT + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_IN_FLIGHT + SPARE_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    available = MOST_IN_FLIGHT if soft == resource.RLIM_INFINITY else soft - SPARE_FILES
    return max(LEAST_IN_FLIGHT, min(available, MOST_IN_FLIGHT))
