"""What every peer is told to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Copy the images of ``source`` that show ``label`` with at least ``confidence_pct`` to the same key in ``target``.

    Attributes:
        tps: The rate to call at, for peers that have one.
        workers: Calls at once, for peers that must be told.
    """

    source: str
    target: str
    label: str
    confidence_pct: float
    tps: float
    workers: int = 100
