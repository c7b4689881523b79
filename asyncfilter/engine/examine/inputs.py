"""The inputs of a pipeline beside the job: the source of images, the detector backends, the options of the user."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.core.capacity import Capacity
from asyncfilter.engine.core.memory_limit import PREFETCH_IMAGES
from asyncfilter.engine.core.row_ids import RowIds
from asyncfilter.engine.examine.stored_listing import RankOf
from asyncfilter.errors import UsageError
from asyncfilter.model import Effect, ListedObject, Skip
from asyncfilter.ports.examine import Heads, Places, Preparation, Sink, Source


class Ranged(msgspec.Struct, frozen=True, kw_only=True):
    """How a source is listed in ranges.

    Attributes:
        ranges: Listing requests under way at once, at the most.
        prefix: What all keys begin with.
        rank: Returns the rank of a key, in whose order images are examined; None for the order of keys.
    """

    ranges: int
    prefix: str
    rank: RankOf | None = None


class RunInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of one run.

    Attributes:
        source: Lists the objects, in the order of examination.
        check: Returns the reason why a listed object is not examined, or None.
        backends: Where images are examined; at least one.
        concurrency: Calls in flight at the most, over all backends.
        origin: Version of the list that ``source`` reads; empty when it lists the store itself.
        heads: Looks at the objects of a list before they are paid for; None when ``source`` lists the store itself.
        places: Other places of the source's store, for a listing without images; None where these are not known.
        preparation: Prepares every image before it is paid for; None to examine the objects as they are.
        cautions: What is probably a mistake about the places that the job reads and writes, one sentence each.
        ranged: How ``source`` is listed in ranges; None for page after page.
        capacity: How many attempts may be under way, where they are made on other machines; None on this one.
        prefetch_images: Images that are under preparation, or prepared and not yet admitted, at the most.
        by_reference: False where the detector cannot read the images itself, so that their bytes are sent.
        bucket_region: Of a source in S3; None elsewhere.
        prefetch_at_once: Images under preparation at the most; None for as many as one process prepares.
        row_ids: Gives the ids of new rows, also to others than the run; None where nobody else adds any.
    """

    source: Source
    check: Callable[[ListedObject], Skip | None]
    backends: tuple[DetectorBackend, ...]
    concurrency: int
    origin: str = ""
    heads: Heads | None = None
    places: Places | None = None
    preparation: Preparation | None = None
    cautions: tuple[str, ...] = ()
    ranged: Ranged | None = None
    capacity: Capacity | None = None
    prefetch_images: int = PREFETCH_IMAGES
    prefetch_at_once: int | None = None
    by_reference: bool = True
    bucket_region: str | None = None
    row_ids: RowIds | None = None

    @property
    def primary(self) -> DetectorBackend:
        """The first backend."""
        return self.backends[0]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one run.

    Attributes:
        dry_run: Pay for labels and store them; write nothing to the sink, and do not move the stored watermark.
        retry_failed: Try failed images again before going on with the listing.
        counts_ahead: Count the images of the listing during the run, to estimate when it will end.
        is_preview: The run is ahead of the job's own: a sample, a benchmark, references.
    """

    dry_run: bool = False
    retry_failed: bool = False
    counts_ahead: bool = False
    is_preview: bool = False


class _NoSink:
    """The sink of a run without actions."""

    async def perform(self, effect: Effect) -> None:
        raise UsageError(f"a dry run writes nothing (requested: {effect.kind} of {effect.source.uri})")


def no_sink() -> Sink:
    """The sink of a run without actions: every call of it raises ``UsageError``."""
    return _NoSink()
