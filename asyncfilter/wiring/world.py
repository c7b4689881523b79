"""What a caller brings along instead of AWS and the checkpoint file, and how one run is told from another."""

from __future__ import annotations

import secrets
import time

import msgspec

from asyncfilter.clock import Clock
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


def new_run_id() -> str:
    """Sortable by time, unique among machines: ``20261122-141503-1f3a9c02``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
