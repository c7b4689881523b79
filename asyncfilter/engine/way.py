"""What a pipeline is given beside the job: where images come from, where they are examined, what the user asked for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.errors import UsageError
from asyncfilter.model import Effect, ListedObject, Skip
from asyncfilter.ports import Preparation, Sink, Source


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of one run.

    Attributes:
        source: Lists the objects, already in the order of examination.
        check: Says why a listed object is not examined, or None.
        backends: Where images are examined; one at least.
        concurrency: Calls in flight at the most, over all backends.
        preparation: Looks at every image that is to be paid for before it is; None to examine them as they are.
    """

    source: Source
    check: Callable[[ListedObject], Skip | None]
    backends: tuple[DetectorBackend, ...]
    concurrency: int
    preparation: Preparation | None = None

    @property
    def primary(self) -> DetectorBackend:
        """The first backend."""
        return self.backends[0]


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
