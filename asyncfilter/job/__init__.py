"""The job: what to examine, the rules, the actions and the limits.

The frozen dataclasses of ``spec`` are imported at once. ``load_job`` and ``parse_job`` need pydantic and PyYAML, and so
are imported on first access, which keeps ``asyncfilter --help`` fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfilter.job.spec import (
    DEFAULT_CONFIDENCE_PCT,
    Action,
    Area,
    Aws,
    ByHand,
    ClientKind,
    Condition,
    Count,
    DetectorKind,
    DetectorSpec,
    Job,
    Limits,
    Order,
    PriceTier,
    Pricing,
    Rule,
    SourceSpec,
    Stop,
)

if TYPE_CHECKING:
    from asyncfilter.job.load import load_job, parse_job

__all__ = [
    "DEFAULT_CONFIDENCE_PCT",
    "Action",
    "Area",
    "Aws",
    "ByHand",
    "ClientKind",
    "Condition",
    "Count",
    "DetectorKind",
    "DetectorSpec",
    "Job",
    "Limits",
    "Order",
    "PriceTier",
    "Pricing",
    "Rule",
    "SourceSpec",
    "Stop",
    "load_job",
    "parse_job",
]


def __getattr__(name: str) -> object:
    if name in {"load_job", "parse_job"}:
        from asyncfilter.job import load  # noqa: PLC0415  see the module's docstring

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
