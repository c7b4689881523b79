"""A checkpoint in memory, for tests, notebooks and programs that need no second run.

It behaves like the SQLite file: one contract suite runs on both. ``reopen`` simulates the next process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec
from anyio.lowlevel import checkpoint as yield_to_others

from asyncfilter.errors import CheckpointError
from asyncfilter.model import Counts, Detection, Label, LabelFilter, ListedObject, StopReason
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.records.answers import TakenOver
from asyncfilter.records.images import Owner, StoredImage, StoredReference
from asyncfilter.records.known_model import KnownModel
from asyncfilter.records.listing_ranges import ListingRanges
from asyncfilter.records.progress import Batch, Opened, Totals, Watermark
from asyncfilter.records.removal import CLAIMING, REMOVING, Removal, Step
from asyncfilter.testing.rows import Rows


@dataclass(slots=True, kw_only=True)
class MemoryRun:
    """One run that used the checkpoint; ``outcome`` is its stop reason, ``died``, or None while it runs."""

    run_id: str
    started_unix_s: float
    ended_unix_s: float | None = None
    outcome: str | None = None
    counts: Counts | None = None


@dataclass(slots=True)
class _Disk:
    """The data that outlives a process: what a file would hold."""

    rows: Rows = field(default_factory=Rows)
    next_id: int = 1
    watermark: Watermark = field(default_factory=Watermark)
    totals: Totals = field(default_factory=Totals)
    decided_by: str | None = None
    references: dict[str, StoredReference] = field(default_factory=dict)
    model: KnownModel = field(default_factory=KnownModel)
    listing: dict[str, tuple[int, ListedObject]] = field(default_factory=dict)
    listing_is_whole: bool = False
    last_listed_key: str | None = None
    listing_origin: str = ""
    ranges: ListingRanges | None = None
    spread_keys: list[str] = field(default_factory=list)
    runs: dict[str, MemoryRun] = field(default_factory=dict)
    epoch: int = 0
    journal: dict[int, Removal] = field(default_factory=dict)
    answers: TakenOver | None = None


class MemoryCheckpoint:
    """A ``Checkpoint`` whose data exists as long as this object or one that ``reopen`` returned."""

    def __init__(self) -> None:
        self._disk: _Disk | None = _Disk()
        self._opened = self._take_over(self._disk, is_new=True)

    def reopen(self) -> MemoryCheckpoint:
        """The same checkpoint as the next process opens it, whether this one was closed or killed.

        This object cannot be used afterwards.
        """
        following = MemoryCheckpoint()
        disk = self._held()
        self._disk = None
        following._disk = disk
        following._opened = following._take_over(disk, is_new=False)
        return following

    @property
    def images(self) -> Sequence[StoredImage]:
        """All rows with all of their fields, by id."""
        rows = self._held().rows.by_id
        return [rows[id_] for id_ in sorted(rows)]

    @property
    def journal(self) -> Sequence[Removal]:
        """The journal of removals, by row id."""
        journal = self._held().journal
        return [journal[id_] for id_ in sorted(journal)]

    @property
    def runs(self) -> Sequence[MemoryRun]:
        """The runs that have begun, oldest first."""
        return list(self._held().runs.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Do nothing: ``reopen`` can be called afterwards."""

    @property
    def location(self) -> str:
        """See ``Checkpoint``."""
        return "memory"

    @property
    def opened(self) -> Opened:
        """See ``Checkpoint``."""
        return self._opened

    async def commit(self, batch: Batch) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        disk = self._held()
        disk.rows.apply(batch)
        disk.journal.update((removal.image, removal) for removal in batch.removals)
        disk.next_id = max([disk.next_id, *(image.id + 1 for image in batch.new)])
        disk.references |= {reference.uri: reference for reference in batch.references}
        disk.model = batch.model or disk.model
        disk.watermark = disk.watermark if batch.watermark is None else deepcopy(batch.watermark)
        disk.answers = batch.answers or disk.answers
        disk.totals = disk.totals if batch.totals is None else deepcopy(batch.totals)

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        await yield_to_others()
        rows = self._held().rows
        found = [rows.by_id[id_] for key in sorted(set(keys)) for id_ in sorted(rows.ids_by_key.get(key, ()))]
        return [image if image.seq is None else msgspec.structs.replace(image, detection=None) for image in found]

    async def by_etags(self, etags: Sequence[str]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        await yield_to_others()
        wanted = set(etags)
        rows = self._held().rows.by_id.values()
        found = [image for image in rows if image.detection is not None and image.etag in wanted]
        return sorted(found, key=lambda image: image.id)

    async def rows(self, ids: Sequence[int]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        await yield_to_others()
        rows = self._held().rows.by_id
        return [rows[id_] for id_ in sorted(set(ids)) if id_ in rows]

    async def references(self) -> Sequence[StoredReference]:
        """See ``Checkpoint``."""
        await yield_to_others()
        references = self._held().references
        return [references[uri] for uri in sorted(references)]

    async def labels(self, *, boxes: bool = False) -> Sequence[Label]:
        """See ``Checkpoint``."""
        await yield_to_others()
        detections = (image.detection for image in self._held().rows.by_id.values())
        every = [label for detection in detections if detection is not None for label in detection.labels]
        instances = {label.name: label.instances[:1] for label in every if boxes and label.instances}
        plain = dict.fromkeys(msgspec.structs.replace(label, confidence_pct=0.0, instances=()) for label in every)
        return [msgspec.structs.replace(label, instances=instances.get(label.name, ())) for label in plain]

    async def positioned(
        self, after_seq: int, limit: int, *, is_asked: LabelFilter | None = None
    ) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        await yield_to_others()
        found = [image for image in self._held().rows.positioned() if (image.seq or 0) > after_seq][:limit]
        return found if is_asked is None else [_with_asked(image, is_asked) for image in found]

    async def at(self, seqs: Sequence[int], *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        wanted = set(seqs)
        every = await self.positioned(0, len(self._held().rows.by_id), is_asked=is_asked)
        return [image for image in every if image.seq in wanted]

    async def failed(self, after_seq: int, up_to_seq: int, limit: int) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        following = await self.positioned(after_seq, len(self._held().rows.by_id))
        return [image for image in following if image.failure and (image.seq or 0) <= up_to_seq][:limit]

    async def drop_positions_after(self, seq: int) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        self._held().rows.drop_positions_after(seq)

    async def overshoot(self) -> int:
        """See ``Checkpoint``."""
        await yield_to_others()
        rows = self._held().rows
        positioned_keys = {rows.by_id[id_].key for id_ in rows.id_by_seq.values()}
        cached = [image for image in rows.by_id.values() if image.seq is None and image.detection is not None]
        return sum(image.key not in positioned_keys for image in cached)

    async def decided(self, fingerprint: str | None, watermark: Watermark) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        disk = self._held()
        disk.decided_by = fingerprint
        disk.watermark = deepcopy(watermark)

    async def pending_removals(
        self, which: RemovalQuery, after_seq: int, limit: int
    ) -> Sequence[tuple[StoredImage, Removal | None]]:
        """See ``Checkpoint``."""
        await yield_to_others()
        journal = self._held().journal
        rows = [image for image in self._held().rows.positioned() if (image.seq or 0) > after_seq]
        found = [image for image in rows if _is_pending(image, which, journal.get(image.id))]
        return [(image, journal.get(image.id)) for image in found[:limit]]

    async def count_pending_removals(self, which: RemovalQuery) -> int:
        """See ``Checkpoint``."""
        return len(await self.pending_removals(which, 0, len(self._held().rows.by_id)))

    async def removals(
        self, steps: Sequence[Step], after_image: int, limit: int
    ) -> Sequence[tuple[Removal, StoredImage | None]]:
        """See ``Checkpoint``."""
        await yield_to_others()
        rows = self._held().rows.by_id
        found = [removal for removal in self.journal if removal.image > after_image and removal.step in steps]
        return [(removal, rows.get(removal.image)) for removal in found[:limit]]

    async def owners(self, targets: Sequence[str]) -> Mapping[str, Owner]:
        """See ``Checkpoint``."""
        await yield_to_others()
        rows = self._held().rows
        wanted = set(targets) - {""}
        existing = wanted & set(rows.id_by_target)
        written = {target: Owner(key=rows.by_id[rows.id_by_target[target]].key) for target in existing}
        claims = [one for one in self.journal if one.target in wanted and one.step in CLAIMING]
        return written | {one.target: Owner(key=one.key, moved=one.image) for one in claims}

    async def save_listing(
        self, ranked: Sequence[tuple[int, ListedObject]], *, is_last: bool, origin: str = ""
    ) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        disk = self._held()
        for rank, entry in ranked:
            disk.listing.setdefault(entry.key, (rank, entry))
        disk.listing_is_whole, disk.listing_origin, disk.ranges = is_last, origin, None
        keys = [entry.key for _, entry in ranked]
        disk.last_listed_key = max([*keys, *([disk.last_listed_key] if disk.last_listed_key else [])], default=None)

    async def listing(self, after: tuple[int, str] | None, limit: int) -> Sequence[ListedObject]:
        """See ``Checkpoint``."""
        await yield_to_others()
        listed = self._held().listing
        positions = sorted((rank, key) for key, (rank, _) in listed.items() if after is None or (rank, key) > after)
        return [listed[key][1] for _, key in positions[:limit]]

    async def listing_state(self) -> tuple[bool, str | None]:
        """See ``Checkpoint``."""
        await yield_to_others()
        return self._held().listing_is_whole, self._held().last_listed_key

    async def listing_origin(self) -> str:
        """See ``Checkpoint``."""
        await yield_to_others()
        return self._held().listing_origin

    async def listing_rank(self, key: str) -> int | None:
        """See ``Checkpoint``."""
        await yield_to_others()
        found = self._held().listing.get(key)
        return None if found is None else found[0]

    async def drop_listing(self) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        disk = self._held()
        disk.listing, disk.listing_is_whole, disk.last_listed_key, disk.listing_origin = {}, False, None, ""
        disk.ranges = None

    async def save_ranges(
        self,
        ranked: Sequence[tuple[int, ListedObject]],
        ranges: ListingRanges,
        *,
        is_ranked: bool,
        spread: Sequence[str] = (),
    ) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        disk = self._held()
        for rank, entry in ranked:
            disk.listing.setdefault(entry.key, (rank, entry))
        disk.listing_is_whole, is_read_by_rank = not ranges.left, is_ranked and not ranges.left
        disk.ranges, disk.listing_origin = (None, "") if is_read_by_rank else (ranges, "ranges")
        disk.last_listed_key = max(disk.listing, default=None) if is_read_by_rank else None
        if not ranges.left:
            disk.spread_keys = list(spread)

    async def listing_ranges(self) -> ListingRanges | None:
        """See ``Checkpoint``."""
        await yield_to_others()
        return self._held().ranges

    async def listed_between(self, after: str, upto: str | None, limit: int) -> Sequence[ListedObject]:
        """See ``Checkpoint``."""
        await yield_to_others()
        listed = self._held().listing
        keys = sorted(key for key in listed if key > after and (upto is None or key <= upto))
        return [listed[key][1] for key in keys[:limit]]

    async def count_listed(self, after: str) -> int:
        """See ``Checkpoint``."""
        await yield_to_others()
        return sum(key > after for key in self._held().listing)

    async def spread_keys(self) -> Sequence[str]:
        """See ``Checkpoint``."""
        await yield_to_others()
        return self._held().spread_keys

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        if run_id in self._held().runs:
            raise CheckpointError(f"run {run_id} has begun before")
        self._held().runs[run_id] = MemoryRun(run_id=run_id, started_unix_s=started_unix_s)

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """See ``Checkpoint``."""
        await yield_to_others()
        run = self._held().runs[run_id]
        run.ended_unix_s, run.outcome, run.counts = ended_unix_s, stop_reason.value, deepcopy(counts)

    def _held(self) -> _Disk:
        if self._disk is None:
            raise CheckpointError("this checkpoint was reopened: use the object that reopen returned")
        return self._disk

    @staticmethod
    def _take_over(disk: _Disk, *, is_new: bool) -> Opened:
        disk.rows.drop_positions_after(disk.watermark.seq)
        totals = disk.totals
        totals.billed_calls += totals.reserved_calls
        totals.spent_micros += totals.reserved_micros
        totals.reserved_calls = totals.reserved_micros = 0
        for run in disk.runs.values():
            run.outcome = run.outcome or "died"
        disk.epoch += 1
        return Opened(
            watermark=deepcopy(disk.watermark),
            totals=deepcopy(totals),
            decided_by=disk.decided_by,
            next_id=disk.next_id,
            is_new=is_new,
            model=disk.model,
            answers=disk.answers,
            epoch=disk.epoch,
        )


def _with_asked(image: StoredImage, is_asked: LabelFilter) -> StoredImage:
    if image.detection is None:
        return image
    bare = [msgspec.structs.replace(label, instances=()) for label in image.detection.labels]
    asked = [label for label in bare if is_asked(msgspec.structs.replace(label, confidence_pct=0.0))]
    return msgspec.structs.replace(image, detection=Detection(tuple(asked)))


def _is_pending(image: StoredImage, which: RemovalQuery, removal: Removal | None) -> bool:
    if image.decision is None or image.failure is not None:
        return False
    if not which.covers(image.decision.verdict, is_duplicate=image.same_as is not None):
        return False
    if any(effect.kind in REMOVING for effect in image.effects):
        return False
    is_undone = removal is not None and removal.step is Step.UNDONE and removal.decided_by == which.settled_by
    return which.settled_by is None or not is_undone
