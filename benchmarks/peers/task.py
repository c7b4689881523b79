"""The task of every peer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Copy the images of ``source`` that show ``label`` with at least ``confidence_pct`` to the same key in ``target``.

    Attributes:
        tps: Calls per second, for peers with a rate limit.
        workers: Concurrent calls, for peers with a fixed number of workers.
    """

    source: str
    target: str
    label: str
    confidence_pct: float
    tps: float
    workers: int = 100
