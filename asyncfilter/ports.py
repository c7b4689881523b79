"""What the engine needs from outside: a source, a detector, a sink, a remover and a checkpoint.

Anything that fits these protocols can take part in a run; ``asyncfilter.testing`` has one of each in memory. Every
method makes exactly one attempt and raises from ``asyncfilter.errors`` (``CallError`` for what concerns one call,
``AccessError`` for what concerns the account): retries, rate, budget and concurrency are the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from asyncfilter.errors import CallError
from asyncfilter.model import (
    Counts,
    Detection,
    Effect,
    LabelFilter,
    ListedObject,
    ObjectRef,
    S3Location,
    StopReason,
)
from asyncfilter.policy.removal import Condemnation
from asyncfilter.records.images import DoneEffect, Owner, Reference, StoredImage
from asyncfilter.records.progress import Batch, Opened, Totals, Watermark
from asyncfilter.records.removal import BucketState, Removal, Step

__all__ = [
    "DELETES_AT_ONCE",
    "Batch",
    "Checkpoint",
    "Condemned",
    "Contents",
    "Copied",
    "Detector",
    "DoneEffect",
    "Found",
    "Gone",
    "Opened",
    "Owner",
    "Page",
    "Preparation",
    "Prepared",
    "Reference",
    "References",
    "Remover",
    "Sink",
    "Source",
    "StoredImage",
    "Totals",
    "Version",
    "Watermark",
]
# The names of records/ stand here only until every import names those modules.

# -- Ports: examining (ports/examine) ----------------------------------------------------------------------------------


class Page(msgspec.Struct, frozen=True):
    """Some objects of a listing, in the source's order; ``is_last`` when nothing follows."""

    objects: Sequence[ListedObject]
    is_last: bool


class Source(Protocol):
    """Objects in an order that stays the same from call to call."""

    async def page(self, after: str | None) -> Page:
        """The objects that follow the key ``after`` (None: from the start).

        A page may be shorter than others, or empty, without being the last.

        Raises:
            ThrottledError: Listing too fast.
            TransientError: Worth repeating.
            AccessError: The bucket cannot be listed.
        """
        ...


class Detector(Protocol):
    """Looks at one image."""

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt.

        Cancelling leaves it unknown whether the attempt was billed.

        Raises:
            ThrottledError: Refused for its rate.
            TransientError: Worth repeating; ``may_be_billed`` tells whether the attempt may have been billed.
            ImageError: This image cannot be examined, with the diagnosed cause.
            AccessError: No image can be examined.
        """
        ...


class References(Protocol):
    """Reference images: objects of any bucket, or files, each by its address as the ``key`` of an object."""

    async def look(self, uri: str) -> ListedObject:
        """The image at ``uri`` now, at no cost: ``key`` is the address, ``etag`` changes with the content.

        Raises:
            ThrottledError: The store asks for a lower rate.
            TransientError: Worth repeating.
            ImageError: There is none, or it cannot be read.
            AccessError: Nothing can be read.
        """
        ...

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt at the reference whose address is ``image.key``; see ``Detector``."""
        ...


class Contents(Protocol):
    """The bytes of the images of a source."""

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """All of an image, or at most ``first_bytes`` from its start, on condition that it is the one listed.

        Raises:
            ThrottledError: Reading too fast.
            TransientError: Worth repeating.
            ImageError: ``changed`` or ``vanished`` since it was listed, or a cause of its own.
            AccessError: Nothing can be read.
        """
        ...


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """How one image is to be examined.

    Attributes:
        detector: Makes its attempts, in the place of the run's own.
        held_bytes: Memory it keeps until the call is over.
    """

    detector: Detector
    held_bytes: int = 0


class Preparation(Protocol):
    """Looks at an image before anything is paid: whether the service would take it, and what to send."""

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """Make one attempt, at no cost; None when the run's own detector examines the image as it is.

        Raises:
            ThrottledError: Reading too fast.
            TransientError: Worth repeating.
            ImageError: The service would refuse this image, or it cannot be read.
            AccessError: No image can be read.
        """
        ...


class Sink(Protocol):
    """Carries out actions."""

    async def perform(self, effect: Effect) -> None:
        """Carry out one action, on condition that the object is the one examined; repeating it is harmless.

        Raises:
            ThrottledError: The store asks for a lower rate.
            TransientError: Worth repeating.
            ImageError: ``changed`` or ``vanished`` since it was examined, ``target_exists``, or a cause of its own.
            AccessError: Nothing can be written.
        """
        ...


# -- Ports: removing (ports/remover) -----------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a place."""

    etag: str
    size_bytes: int


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A copy stands at its target with this ETag; ``is_new`` is False when the same content stood there before."""

    etag: str
    is_new: bool


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """An object was deleted; ``marker`` is the version id of the delete marker in its place, empty where none is."""

    marker: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object, or a delete marker, which has neither ETag nor size."""

    id: str
    etag: str = ""
    size_bytes: int = 0
    is_marker: bool = False


class Condemned(msgspec.Struct, frozen=True, kw_only=True):
    """An object to delete, on condition of its ETag; a file's size must be the same too."""

    key: str
    etag: str
    size_bytes: int


DELETES_AT_ONCE = 1000
"""Most objects in one ``Remover.delete`` (S3 API reference, *DeleteObjects*)."""


class Remover(Protocol):
    """Takes objects out of the source and brings them back; every write is conditional: repeating it is harmless.

    Beside what each method says, all raise ``ThrottledError``, ``TransientError``, ``AccessError``, and ``ImageError``
    ``access_denied`` for an object that may not be touched.
    """

    async def state(self) -> BucketState:
        """What deleting means in the source."""
        ...

    async def look(self, place: S3Location) -> Found | None:
        """What stands at a place; None when nothing does."""
        ...

    async def copy(self, effect: Effect) -> Copied:
        """Copy ``effect.source`` to ``effect.target`` on condition of its ETag, as ``Sink.perform`` does.

        Raises:
            ImageError: ``changed`` or ``vanished`` since, ``target_exists``, or a cause of its own.
        """
        ...

    async def standing(self, effect: Effect) -> Copied | None:
        """What stands at ``effect.target``, if it has the content of ``effect.source``; None when nothing does.

        Raises:
            ImageError: ``target_exists`` for other content; ``changed`` or ``vanished``, of the source.
        """
        ...

    async def delete(self, bucket: str, condemned: Sequence[Condemned]) -> Sequence[Gone | CallError]:
        """Delete up to ``DELETES_AT_ONCE`` objects in one attempt; what became of each, in their order.

        An object's error is a value here: ``ImageError`` (``changed``, ``vanished``, ``access_denied``),
        ``ThrottledError``, or ``TransientError`` when it may have been deleted or not.
        """
        ...

    async def versions(self, place: S3Location) -> Sequence[Version]:
        """The versions of one object and its delete markers, newest first; nothing where no versions are kept."""
        ...

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """Remove one delete marker, by its version id; it may be gone already."""
        ...


# -- Ports: the checkpoint (ports/checkpoint) --------------------------------------------------------------------------


class LabelStore(Protocol):
    """Images with their labels, by key, content and row: what was paid for, and the one way to add to it.

    A method that writes returns only when the change is durable. When it raises ``CheckpointError`` the run ends:
    nothing is paid for that cannot be kept. The same holds for every part of a ``Checkpoint``.
    """

    async def commit(self, batch: Batch) -> None:
        """Make ``batch`` durable, as one."""
        ...

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """Rows with one of these keys, by key, then by id.

        Spare rows come with their labels, seated ones without.
        """
        ...

    async def by_etags(self, etags: Sequence[str]) -> Sequence[StoredImage]:
        """Rows with one of these ETags that hold labels, with them, by id: where content may be the same."""
        ...

    async def rows(self, ids: Sequence[int]) -> Sequence[StoredImage]:
        """The rows with these ids that are there, with their labels, by id."""
        ...

    async def references(self) -> Sequence[Reference]:
        """All reference images, by address."""
        ...


class Positions(Protocol):
    """Which images have a position in the order of examination, and which rules decided them."""

    async def seated(self, after_seq: int, limit: int, *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """Up to ``limit`` seated rows that follow ``after_seq`` in order of examination, with their labels.

        With ``is_asked`` only the labels for which it is true, without instances, and nothing else of the detection. It
        may be called on another thread, and its results are kept.
        """
        ...

    async def at(self, seqs: Sequence[int], *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """The seated rows at these positions, in order of examination, with their labels; ``is_asked`` as above."""
        ...

    async def failed(self, after_seq: int, up_to_seq: int, limit: int) -> Sequence[StoredImage]:
        """Up to ``limit`` seated rows that failed, in order of examination, with labels where there are any."""
        ...

    async def unseat_after(self, seq: int) -> None:
        """Make every row beyond ``seq`` spare, because the stop position moved back."""
        ...

    async def overshoot(self) -> int:
        """How many spare rows hold labels of an object that has no seated row."""
        ...

    async def decided(self, fingerprint: str | None, watermark: Watermark) -> None:
        """All stored decisions are now those of ``fingerprint``; None while they are being made anew."""
        ...


class RemovalJournal(Protocol):
    """Images that are to leave the source or left it, how far each removal has come, and which image owns a target.

    Entries are written with ``LabelStore.commit``, together with the rows that they are about.
    """

    async def condemned(
        self, which: Condemnation, after_seq: int, limit: int
    ) -> Sequence[tuple[StoredImage, Removal | None]]:
        """Up to ``limit`` seated rows that follow ``after_seq``, with their labels and what the journal has for each.

        Only those that ``which`` covers and that neither failed nor were confirmed as moved or deleted.
        """
        ...

    async def count_condemned(self, which: Condemnation) -> int:
        """How many rows ``condemned`` would give."""
        ...

    async def removals(
        self, steps: Sequence[Step], after_image: int, limit: int
    ) -> Sequence[tuple[Removal, StoredImage | None]]:
        """Up to ``limit`` journal entries at one of ``steps``, by row id from beyond ``after_image``.

        Each with its row and labels; None when the row is not there any more.
        """
        ...

    async def owners(self, targets: Sequence[str]) -> Mapping[str, Owner]:
        """The owners of those target URIs that an action wrote or a move claims."""
        ...


class ListingStore(Protocol):
    """The stored listing of ``order: random``: what the source lists, in another order."""

    async def save_listing(self, ranked: Sequence[tuple[int, ListedObject]], *, is_last: bool) -> None:
        """Add objects to the stored listing; ``rank`` (63 bits) orders them."""
        ...

    async def listing(self, after: tuple[int, str] | None, limit: int) -> Sequence[ListedObject]:
        """Up to ``limit`` objects of the stored listing by (rank, key), from beyond ``after``."""
        ...

    async def listing_state(self) -> tuple[bool, str | None]:
        """Whether the stored listing is whole, and the last key it holds (None when it holds none)."""
        ...

    async def drop_listing(self) -> None:
        """Forget the stored listing, for a new pass."""
        ...


class RunHistory(Protocol):
    """The runs that used the checkpoint, and how each ended."""

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """Note that a run began."""
        ...

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """Note how a run ended."""
        ...


class Checkpoint(LabelStore, Positions, RemovalJournal, ListingStore, RunHistory, Protocol):
    """Everything that was paid for, in one durable place, held by one run at a time.

    A part of the engine that uses one of the five protocols asks for that one.
    """

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def opened(self) -> Opened:
        """What it held when it was opened; rows beyond the watermark have been made spare."""
        ...
