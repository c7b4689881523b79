"""Ports of the caller in place of AWS and the checkpoint file, and the id of a run."""

from __future__ import annotations

import functools
import secrets
import time
import warnings
from collections.abc import Callable
from random import Random
from typing import ParamSpec, TypeVar

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.errors import UsageError
from asyncfilter.fleet.wires import Hub
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, store_of, uri_of
from asyncfilter.ports.answers import Answers
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import Detector, Preparation, References, Sink, Source
from asyncfilter.ports.remover import Remover


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that replace AWS and the checkpoint file; None means the default one.

    A job whose source is a store of your own (``own:NAME``) has no default ports: it needs ``source``, ``detector`` and
    ``sink`` to run, and ``remover`` to apply and undo. A job that copies to such a store needs ``sink``.

    The price of your own detector is ``pricing.tiers`` of the job, by default 0; its rate is ``limits.tps``, by default
    without limit. With ``hub`` images are examined by its workers, as by those of ``cluster``. Your own clock and
    ``rng``, which draws the jitter of retries, are for tests.
    """

    source: Source | None = None
    detector: Detector | None = None
    sink: Sink | None = None
    remover: Remover | None = None
    checkpoint: Checkpoint | None = None
    references: References | None = None
    preparation: Preparation | None = None
    answers: Answers | None = None
    clock: Clock | None = None
    rng: Random | None = None
    hub: Hub | None = None


P = ParamSpec("P")
R = TypeVar("R")


def accepts_world(verb: Callable[P, R]) -> Callable[P, R]:
    """Let a verb take ``world``, the former name of its parameter ``overrides``, for one release."""

    @functools.wraps(verb)
    def with_overrides(*args: P.args, **kwargs: P.kwargs) -> R:
        if "world" in kwargs:
            message = f"the parameter 'world' of {verb.__name__} is 'overrides' now; the former name goes in 0.3"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            kwargs["overrides"] = kwargs.pop("world")
        return verb(*args, **kwargs)

    return with_overrides


def check_own_stores(job: Job, overrides: Overrides, *ports: str) -> None:
    """Check that the caller gave all ports which the job's own stores need.

    Args:
        job: The job; its source and its targets are checked.
        overrides: The ports of the caller.
        ports: The ports that the verb uses, as fields of ``Overrides``.

    Raises:
        UsageError: The job names a store of the caller's own, and one of its ports is missing.
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
    """A run id, sortable by time and unique among machines: ``20261122-141503-1f3a9c02``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
