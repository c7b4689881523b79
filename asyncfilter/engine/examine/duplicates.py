"""Duplicate tracking: of images with the same content one is examined, and the others share its labels at no cost.

This is the single-flight pattern. The first image in the order of examination is the leader, in whatever order the
responses arrive. Followers keep their own positions while they wait for it, so the order of verdicts does not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asyncfilter.engine.core.memory_limit import MemoryLimit
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.model import Detection, ListedObject, ObjectRef
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Totals

Content = tuple[str, int]
"""ETag and size, which are equal for two objects with the same bytes."""

CONTENT_FAILURES = frozenset({"invalid_image_format", "image_rejected", "image_too_large"})
"""Failures caused by the bytes, which every object with these bytes has; other failures concern one object only."""

_SINGLE_PART = re.compile(r"[0-9a-f]{32}")


def content_of(image: ObjectRef | ListedObject) -> Content | None:
    """The identity of an image's bytes; None when its ETag does not identify them.

    The ETag of an object uploaded in one part is the MD5 of its bytes, or, under SSE-KMS, a value that no other bytes
    have; the ETag of an object uploaded in several parts depends on their sizes (S3 API, *Object*).
    """
    return (image.etag, image.size_bytes) if _SINGLE_PART.fullmatch(image.etag) else None


def _no_content(_image: ObjectRef | ListedObject) -> Content | None:
    """``content_of`` where no ETag is trusted: two pictures can be made that have one MD5."""
    return None


class LookedUp(NamedTuple):
    """A batch of images to be admitted one by one, with the result of looking up their content in the checkpoint.

    Attributes:
        items: In the order of examination.
        known: Stored rows with labels of the same content.
        durable: Leaders whose labels were durable before the lookup.
    """

    items: Sequence[WorkItem]
    known: dict[Content, StoredImage]
    durable: Sequence[tuple[Content, WorkItem]]


class DuplicateTracker:
    """Finds images whose content has stored labels, or is being examined.

    Args:
        checkpoint: Looks up labels of the same content, a batch at a time.
        outcomes: Decide shared labels.
        sequencer: Has the position at which the present pass over the listing began.
        committer: Records the followers' outcomes.
        memory_limit: Frees what was prefetched for images that will not be examined.
        budget: Gives the price that a shared outcome saves.
        totals: Count shared outcomes and saved money.
        skips: True when duplicates count as skipped and have no verdict.
        has_lanes: True when answers are those of lanes.
        is_off: True when every image is examined by itself, whatever its ETag.
    """

    def __init__(
        self,
        *,
        checkpoint: LabelStore,
        outcomes: Outcomes,
        sequencer: Sequencer,
        committer: GroupCommitter,
        memory_limit: MemoryLimit,
        budget: Budget,
        totals: Totals,
        skips: bool,
        has_lanes: bool = False,
        is_off: bool = False,
    ) -> None:
        self._checkpoint = checkpoint
        self._outcomes = outcomes
        self._sequencer = sequencer
        self._committer = committer
        self._memory_limit = memory_limit
        self._budget = budget
        self._totals = totals
        self._skips = skips
        self._has_lanes = has_lanes
        self._content_of = _no_content if is_off else content_of
        self._known: dict[Content, StoredImage] = {}
        self._leaders: dict[Content, WorkItem] = {}

    async def look_up(self, items: Sequence[WorkItem]) -> LookedUp:
        """Look up the content of a batch in the checkpoint, while earlier batches are still being admitted."""
        # Before the lookup: only leaders that are durable now are certain to be found by it.
        durable = [(content, leader) for content, leader in self._leaders.items() if leader.is_ready]
        wanted = {self._content_of(item.image) for item in items if item.stored is None} - {None}
        known = await self._find(content for content in wanted if content is not None)
        return LookedUp(items, known, durable)

    def begin(self, batch: LookedUp) -> None:
        """Start with ``batch``, whose first image is admitted next; batches begin in the order of their ``look_up``.

        Leaders that were durable before the lookup of this batch are dropped from memory, because this lookup and all
        later ones find their rows in the checkpoint. The others are kept in memory.
        """
        self._known = batch.known
        for content, leader in batch.durable:
            if self._leaders.get(content) is leader:
                del self._leaders[content]

    async def try_follow(self, item: WorkItem) -> bool:
        """Let an image that is being admitted share the outcome of another image.

        Returns:
            False when the image must be examined; it is then the leader of its content, if that has an identity.
        """
        content = self._content_of(item.image)
        if content is None:
            return False
        leader = self._leaders.get(content)
        if leader is not None and leader.is_ready:
            # It became durable after the lookup of this batch, which therefore lacks its row.
            self._known |= await self._find([content])
        is_in_flight = leader is not None and not leader.is_ready
        row = self._known.get(content)
        if row is not None and row.detection is not None and not is_in_flight:
            is_listed = self._is_listed(row)
            self._share(item, row.detection, row.id, is_listed=is_listed)
            if not is_listed:
                # This image is the first listed one with the content: those behind it are its duplicates.
                self._leaders[content] = item
        elif leader is None or leader.is_ready:
            self._leaders[content] = item
            return False
        elif leader.is_examined:
            return self._pass_on(leader, item) or not self._becomes_leader(item, content)
        else:
            leader.followers.append(item)
        return True

    def add_leader(self, item: WorkItem) -> None:
        """Register an image with known labels: it is in the present listing, so that others can be its duplicates."""
        content = self._content_of(item.image)
        if content is not None:
            self._leaders.setdefault(content, item)

    def examined(self, leader: WorkItem) -> WorkItem | None:
        """Give the outcome of an examined image to its followers.

        Returns:
            The follower that must be examined next, when the leader failed for a reason that concerns it alone.
        """
        followers, leader.followers = leader.followers, []
        successor = None
        for follower in followers:
            if self._pass_on(leader, follower):
                continue
            content = self._content_of(follower.image)
            # Only the first of them becomes the leader; the others then follow it.
            if content is not None and self._becomes_leader(follower, content):
                successor = follower
        return successor

    def _pass_on(self, leader: WorkItem, follower: WorkItem) -> bool:
        """Give a leader's outcome to a follower; False when the outcome is not valid for the follower."""
        detection = leader.detection
        if detection is None and leader.stored is not None:
            detection = leader.stored.detection
        if detection is not None:
            self._share(follower, detection, leader.row_id, is_listed=True)
        elif leader.is_unpaid:
            self._memory_limit.clear(follower)
            follower.is_unpaid = True
            self._committer.ready(follower)
        elif leader.failure is not None and leader.failure.code in CONTENT_FAILURES:
            self._memory_limit.clear(follower)
            follower.failure = leader.failure
            self._committer.record(follower)
        else:
            return False
        return True

    def _becomes_leader(self, follower: WorkItem, content: Content) -> bool:
        """Make a follower of a failed leader the next leader; False when it follows another one instead."""
        leader = self._leaders.get(content)
        if leader is None or leader.is_examined:
            self._leaders[content] = follower
            return True
        leader.followers.append(follower)
        return False

    def _share(self, item: WorkItem, detection: Detection, row_id: int, *, is_listed: bool) -> None:
        """Give ``item`` the labels of a row; it counts as a duplicate only when the row's object is still listed.

        The labels of an object that was renamed or deleted are valid too, but ``item`` may then be the only copy.
        """
        self._memory_limit.clear(item)
        item.detection = detection
        if self._has_lanes:
            item.answered_by = provenance_of(detection).lane
        item.decision = self._outcomes.decide(detection, item.answer)
        if is_listed:
            item.same_as = row_id
            item.is_skipped = self._skips
        self._totals.duplicates += 1
        self._totals.saved_micros += self._budget.next_price_micros
        self._committer.record(item)

    async def _find(self, contents: Iterable[Content]) -> dict[Content, StoredImage]:
        wanted = set(contents)
        if not wanted:
            return {}
        found: dict[Content, StoredImage] = {}
        for row in await self._checkpoint.by_etags([etag for etag, _ in wanted]):
            content = (row.etag, row.size_bytes)
            if content not in wanted:
                continue
            # Rows come by id: the oldest one counts, in every run, but only where no image of this listing has the
            # content: paid overshoot and objects that are gone must not hide it.
            if content not in found or (self._is_listed(row) and not self._is_listed(found[content])):
                found[content] = row
        return found

    def _is_listed(self, row: StoredImage) -> bool:
        """Whether the object of a row is in the present listing.

        A row of an earlier pass may belong to an object that is gone, and a removed image is gone for certain.
        """
        return (row.seq or 0) > self._sequencer.watermark.pass_seq and row.removal is None
