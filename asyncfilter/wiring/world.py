"""What a caller brings along instead of AWS and the checkpoint file, and how one run is told from another."""

from __future__ import annotations

import secrets
import time

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, store_of, uri_of
from asyncfilter.ports import (
    Checkpoint,
    Detector,
    Preparation,
    References,
    Remover,
    Sink,
    Source,
)


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that take the place of AWS and the checkpoint file; None means the real one.

    A job whose source is a store of your own (``own:NAME``) has no real ones: it needs ``source``, ``detector`` and
    ``sink`` to run, and ``remover`` to apply and undo. One that copies to such a store needs ``sink``.

    A detector of your own costs what ``pricing.tiers`` of the job says, or nothing, and may be called as fast as
    ``limits.tps`` allows, or without limit. A clock of your own is for tests.
    """

    source: Source | None = None
    detector: Detector | None = None
    sink: Sink | None = None
    remover: Remover | None = None
    checkpoint: Checkpoint | None = None
    references: References | None = None
    preparation: Preparation | None = None
    clock: Clock | None = None


def check_own_stores(job: Job, overrides: Overrides, *ports: str) -> None:
    """See that the ports which a job's own stores need are there.

    Args:
        job: Its source and its targets are looked at.
        overrides: What the caller brings.
        ports: What the verb uses, as fields of ``Overrides``.

    Raises:
        UsageError: The job names a store of the caller's, and one of its ports is missing.
    """
    actions = [*job.actions.values(), *([job.duplicate] if job.duplicate is not None else [])]
    target = next((action.target for action in actions if store_of(action.target or "") is StoreKind.OWN), None)
    is_source = job.source.store is StoreKind.OWN
    needed = ports if is_source else tuple(port for port in ports if port in {"sink", "remover"} and target)
    missing = [port for port in needed if getattr(overrides, port) is None]
    if missing:
        address = uri_of(job.source.bucket, job.source.prefix) if is_source else target
        raise UsageError(
            f"{address} is in a store of your own, which only a program can bring: no {', no '.join(missing)} given",
            hint=f"Call asyncfilter from Python, with overrides=Overrides({missing[0]}=...): see docs/python.md.",
        )


def new_run_id() -> str:
    """Sortable by time, unique among machines: ``20261122-141503-1f3a9c02``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
