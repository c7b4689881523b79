"""What a pipeline is given beside the job: where images come from, who looks at them, and what the user asked for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfilter.errors import UsageError
from asyncfilter.model import Effect, ListedObject, Skip
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.ports import Detector, Preparation, Sink, Source


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The way in of one run.

    Attributes:
        source: Lists the objects, already in the order of examination.
        detector: Looks at them.
        check: Says why a listed object is not examined, or None.
        limit_tps: The rate that may be used, quota times share; None when nothing is known of it.
        tps_origin: Where that figure comes from, for people.
        price_micros: Price of the n-th billed call of this checkpoint, n from 1.
        hourly_micros: What the detector costs an hour while the run lasts, whatever it does.
        prices: What ``price_micros`` follows; None where nothing is paid.
        concurrency: Calls in flight at the most.
        preparation: Looks at every image that is to be paid for before it is; None to examine them as they are.
        region: Where the detector is; empty for one of your own.
        quota: What was told of the quota; None where nobody was asked.
        is_local: True when the detector answers on this machine, where it costs nothing.
    """

    source: Source
    detector: Detector
    preparation: Preparation | None = None
    check: Callable[[ListedObject], Skip | None]
    limit_tps: float | None
    tps_origin: str
    price_micros: Callable[[int], int]
    hourly_micros: int = 0
    prices: PriceList | None = None
    concurrency: int
    region: str = ""
    quota: QuotaAnswer | None = None
    is_local: bool = False


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks of one run.

    Attributes:
        dry_run: Pay for labels and keep them; write nothing to the sink and settle nothing.
        retry_failed: Try failed images again before going on with the listing.
        counts_ahead: Count the images of the listing while the run goes on, to tell when it will end.
    """

    dry_run: bool = False
    retry_failed: bool = False
    counts_ahead: bool = False


class _NoSink:
    """The sink of a run that only looks."""

    async def perform(self, effect: Effect) -> None:
        raise UsageError(f"a run that only looks writes nothing (asked for {effect.kind} of {effect.source.uri})")


def no_sink() -> Sink:
    """The sink of a run that only looks: it cannot write, whatever happens."""
    return _NoSink()
