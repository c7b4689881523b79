"""The checkpoint: everything that was paid for, in one durable place, held by one run at a time.

Each part of the engine takes only the protocol that it uses; ``Checkpoint`` combines all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from asyncfilter.model import Counts, Label, LabelFilter, ListedObject, StopReason
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.records.images import Owner, StoredImage, StoredReference
from asyncfilter.records.listing_ranges import ListingRanges
from asyncfilter.records.progress import Batch, Opened, Watermark
from asyncfilter.records.removal import Removal, Step


class LabelStore(Protocol):
    """Images with their labels, which were paid for, by key, content and row id; ``commit`` alone adds to them.

    A method that writes returns only when the change is durable. When it raises ``CheckpointError`` the run ends:
    nothing is paid for that cannot be kept. The same holds for every part of a ``Checkpoint``.
    """

    async def commit(self, batch: Batch) -> None:
        """Make all of ``batch`` durable in one transaction."""
        ...

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """Rows with one of these keys, by key, then by id.

        Cached rows come with their labels, placed ones without.
        """
        ...

    async def by_etags(self, etags: Sequence[str]) -> Sequence[StoredImage]:
        """Rows that have labels and one of these ETags, with their labels, by id: the content may be the same."""
        ...

    async def rows(self, ids: Sequence[int]) -> Sequence[StoredImage]:
        """The rows with these ids, as far as they exist, with their labels, by id."""
        ...

    async def references(self) -> Sequence[StoredReference]:
        """All reference images, by address."""
        ...

    async def labels(self, *, boxes: bool = False) -> Sequence[Label]:
        """Every label that images had, each definition once: without instances, and with a confidence of 0.

        With ``boxes`` some answers, the first and the last, are looked at as well: labels that have boxes there come
        with an instance.
        """
        ...


class Positions(Protocol):
    """Which images have a position in the order of examination, and which rules decided them."""

    async def positioned(
        self, after_seq: int, limit: int, *, is_asked: LabelFilter | None = None
    ) -> Sequence[StoredImage]:
        """Up to ``limit`` placed rows that follow ``after_seq`` in order of examination, with their labels.

        With ``is_asked``, a detection holds only the labels for which it is true, without instances and without extra.
        ``is_asked`` may be called on another thread, and its results are cached.
        """
        ...

    async def at(self, seqs: Sequence[int], *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """The placed rows at these positions, in order of examination, with their labels; ``is_asked`` as above."""
        ...

    async def failed(self, after_seq: int, up_to_seq: int, limit: int) -> Sequence[StoredImage]:
        """Up to ``limit`` placed rows that failed, in order of examination, with labels where there are any."""
        ...

    async def drop_positions_after(self, seq: int) -> None:
        """Drop the position of every row beyond ``seq``, because the stop position moved back."""
        ...

    async def overshoot(self) -> int:
        """How many cached rows hold labels of an object that has no placed row."""
        ...

    async def decided(self, fingerprint: str | None, watermark: Watermark) -> None:
        """Record that all stored decisions are those of ``fingerprint``; None while they are being made anew."""
        ...


class RemovalJournal(Protocol):
    """Images that are to leave the source or left it, how far each removal has come, and which image owns a target.

    Entries are written with ``LabelStore.commit``, together with the rows that they are about.
    """

    async def pending_removals(
        self, which: RemovalQuery, after_seq: int, limit: int
    ) -> Sequence[tuple[StoredImage, Removal | None]]:
        """Up to ``limit`` placed rows that follow ``after_seq``, with their labels and the journal entry of each.

        Only those that ``which`` covers and that neither failed nor were confirmed as moved or deleted.
        """
        ...

    async def count_pending_removals(self, which: RemovalQuery) -> int:
        """How many rows ``pending_removals`` would return in all."""
        ...

    async def removals(
        self, steps: Sequence[Step], after_image: int, limit: int
    ) -> Sequence[tuple[Removal, StoredImage | None]]:
        """Up to ``limit`` journal entries at one of ``steps``, by row id from beyond ``after_image``.

        Each with its row and labels; None when the row no longer exists.
        """
        ...

    async def owners(self, targets: Sequence[str]) -> Mapping[str, Owner]:
        """The owners of those target URIs that an action wrote or a move claims."""
        ...


class ListingStore(Protocol):
    """A stored listing, by rank: of ``order: random``, or of a list whose keys are in any order."""

    async def save_listing(
        self, ranked: Sequence[tuple[int, ListedObject]], *, is_last: bool, origin: str = ""
    ) -> None:
        """Add objects to the stored listing; ``rank`` (63 bits) orders them.

        Of several objects with one key the first that was added counts. ``origin`` is the version of the list that they
        come from, the same for all; empty for the listing of the store itself. Objects of a list can be read once the
        last ones are added; before that, nothing of them is kept when the checkpoint is closed.
        """
        ...

    async def listing(self, after: tuple[int, str] | None, limit: int) -> Sequence[ListedObject]:
        """Up to ``limit`` objects of the stored listing by (rank, key), from beyond ``after``."""
        ...

    async def listing_state(self) -> tuple[bool, str | None]:
        """Whether the stored listing is complete, and the last key it holds (None when it is empty)."""
        ...

    async def listing_origin(self) -> str:
        """The ``origin`` of the stored listing; empty when there is none."""
        ...

    async def listing_rank(self, key: str) -> int | None:
        """The rank of a key in the stored listing; None when it is not in it."""
        ...

    async def drop_listing(self) -> None:
        """Delete the stored listing, for a new pass."""
        ...

    async def save_ranges(
        self,
        ranked: Sequence[tuple[int, ListedObject]],
        ranges: ListingRanges,
        *,
        is_ranked: bool,
        spread: Sequence[str] = (),
    ) -> None:
        """Add objects to a listing in ranges, together with how far it is.

        Of several objects with one key the first that was added counts. A whole listing is read with ``listing`` if
        ``is_ranked``; otherwise all ranks are 0 and it is read with ``listed_between``. ``spread`` is kept, in place of
        former keys, when the listing is whole.
        """
        ...

    async def listing_ranges(self) -> ListingRanges | None:
        """How far the stored listing is; None when there is none, or it is not one in ranges, or whole and ranked."""
        ...

    async def listed_between(self, after: str, upto: str | None, limit: int) -> Sequence[ListedObject]:
        """Up to ``limit`` objects of the stored listing by key, above ``after`` and up to ``upto``."""
        ...

    async def count_listed(self, after: str) -> int:
        """How many objects of the stored listing have a key above ``after``."""
        ...

    async def spread_keys(self) -> Sequence[str]:
        """The keys that the last whole listing in ranges left, evenly spread over it; empty when there was none."""
        ...


class RunHistory(Protocol):
    """The runs that used the checkpoint, and how each ended."""

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """Record that a run began."""
        ...

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """Record how a run ended."""
        ...


class Checkpoint(LabelStore, Positions, RemovalJournal, ListingStore, RunHistory, Protocol):
    """Everything that was paid for, in one durable place, held by one run at a time.

    A part of the engine that uses one of the five protocols takes that one as its parameter.
    """

    @property
    def location(self) -> str:
        """Its address, for messages."""
        ...

    @property
    def opened(self) -> Opened:
        """What it held when it was opened; rows beyond the watermark have lost their position."""
        ...
