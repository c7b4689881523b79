"""After any sequence of operations the file and the checkpoint in memory hold the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncfilter.checkpoint import etag_index, read_images
from asyncfilter.errors import CheckpointError
from asyncfilter.model import ActionKind, Decision, Detection, Failure, Label, ListedObject, Verdict
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.listing_ranges import KeyRange, ListingRanges
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.records.removal import REMOVED, REMOVING, Removal, Step
from asyncfilter.testing.checkpoint import MemoryCheckpoint
from tests.kit.checkpoints import SqliteHarness

KEYS = ["a", "a\n", "b", "z", "é", "\uffff", "\U0001f426"]
ETAGS = ["ab" * 16, "ab-2", "AB", "cd-2", "abababab" + "cd" * 12]
"""Two ETags share a prefix, so that an index of prefixes finds false matches."""
TARGETS = ["", "s3://clean/1", "s3://clean/2"]

ids = st.integers(1, 12)
positions = st.none() | st.integers(1, 12)
decisions = st.none() | st.builds(
    Decision, st.sampled_from(Verdict), st.none() | st.integers(0, 40), st.none() | st.sampled_from(["Bird", "Tern"])
)
failures = st.builds(Failure, st.sampled_from(["changed", "vanished"]), st.text(max_size=5))
detections = st.none() | st.builds(
    Detection,
    st.lists(st.builds(Label, st.sampled_from("ABCDEFGH"), st.floats(0, 100)), max_size=3).map(tuple),
    st.sampled_from(["2.0", "3.0"]),
)
images = st.builds(
    StoredImage,
    id=ids,
    seq=positions,
    key=st.sampled_from(KEYS),
    etag=st.sampled_from(ETAGS),
    size_bytes=st.integers(0, 2**40),
    decision=decisions,
    failure=st.none() | failures,
    detection=detections,
)
effects = st.builds(DoneEffect, st.sampled_from(ActionKind), st.sampled_from(TARGETS))
totals = st.builds(Totals, calls=st.integers(0, 9), spent_micros=st.integers(0, 9), reserved_micros=st.integers(0, 9))
watermarks = st.builds(Watermark, seq=st.integers(0, 12), cursor=st.none() | st.sampled_from(KEYS))
REMOVAL_QUERIES = [
    RemovalQuery(verdicts=verdicts, duplicates=duplicates, settled_by="fingerprint")
    for verdicts in ((), (Verdict.REJECT,))
    for duplicates in (None, True, False)
]
removals = st.builds(
    Removal,
    image=ids,
    key=st.sampled_from(KEYS),
    etag=st.sampled_from(["ab" * 16, "ab-2", "AB"]),
    size_bytes=st.integers(0, 2**40),
    kind=st.sampled_from(sorted(REMOVING)),
    target=st.sampled_from(TARGETS),
    step=st.sampled_from(Step),
    copied=st.sampled_from(["", "ab-2"]),
    is_foreign=st.booleans(),
    marker=st.sampled_from(["", "null", "v1"]),
    decided_by=st.sampled_from(["", "fingerprint"]),
    failure=st.none() | failures,
)
batches = st.builds(
    Batch,
    new=st.lists(images, max_size=4),
    positioned=st.lists(images, max_size=2, unique_by=lambda image: image.id),
    effects=st.lists(st.tuples(ids, effects), max_size=3),
    failures=st.lists(st.tuples(ids, failures), max_size=2, unique_by=lambda pair: pair[0]),
    revoked=st.lists(st.tuples(ids, effects), max_size=2),
    renewed=st.lists(st.tuples(ids, st.sampled_from(ETAGS)), max_size=2),
    removals=st.lists(removals, max_size=3, unique_by=lambda removal: removal.image),
    unpositioned=st.lists(ids, max_size=3),
    watermark=st.none() | watermarks,
    totals=st.none() | totals,
)
listed = st.builds(ListedObject, st.sampled_from(KEYS), st.integers(0, 9), st.sampled_from(["ab", "x"]))


@pytest.fixture(autouse=True)
def small_memtable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows flush the memtable of the ETag index."""
    monkeypatch.setattr(etag_index, "MEMTABLE_ENTRIES", 3)


class BothCheckpoints(RuleBasedStateMachine):
    """Applies each operation to both checkpoints and compares them after each step."""

    @initialize()
    def make(self) -> None:
        """Two new checkpoints."""
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.memory = MemoryCheckpoint()
        self.harness = SqliteHarness(self.folder)
        self.file = self.runner.run(self.harness.open())

    def teardown(self) -> None:
        """Close and remove the checkpoint file."""
        if hasattr(self, "file"):
            self.runner.run(self.harness.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    def both(self, act: Callable[[Checkpoint], Awaitable[object]]) -> None:
        """Apply ``act`` to both; both accept it, or both refuse."""
        refused = []
        for checkpoint in (self.memory, self.file):
            try:
                self.runner.run(_awaited(act(checkpoint)))
                refused.append(False)
            except CheckpointError:
                refused.append(True)
        assert refused[0] == refused[1]

    @rule(batch=batches)
    def commit(self, batch: Batch) -> None:
        """Commit any batch; many are invalid."""
        self.both(lambda checkpoint: checkpoint.commit(batch))

    @rule(new=st.lists(images, min_size=1, max_size=6))
    def insert(self, new: list[StoredImage]) -> None:
        """Commit a batch as the engine makes it, with new ids and free positions."""
        known = self.memory.images
        next_id = 1 + max((image.id for image in known), default=0)
        next_seq = 1 + max((image.seq or 0 for image in known), default=0)
        rows = [_moved(image, next_id + i, next_seq + i) for i, image in enumerate(new)]
        self.commit(Batch(new=rows))

    @rule(seq=st.integers(0, 12))
    def drop_positions_after(self, seq: int) -> None:
        """Move the stop position back."""
        self.both(lambda checkpoint: checkpoint.drop_positions_after(seq))

    @rule(watermark=watermarks, fingerprint=st.none() | st.just("fingerprint"))
    def decided(self, watermark: Watermark, fingerprint: str | None) -> None:
        """Mark all decisions as made by a fingerprint, or as in progress (None)."""
        self.both(lambda checkpoint: checkpoint.decided(fingerprint, watermark))

    @rule(ranked=st.lists(st.tuples(st.integers(0, 3), listed), max_size=4), is_last=st.booleans())
    def save_listing(self, ranked: list[tuple[int, ListedObject]], is_last: bool) -> None:
        """Save another page of the listing."""
        self.both(lambda checkpoint: checkpoint.save_listing(ranked, is_last=is_last))

    @rule(
        ranked=st.lists(st.tuples(st.integers(0, 3), listed), max_size=4),
        left=st.lists(st.builds(KeyRange, st.sampled_from(KEYS), st.none() | st.sampled_from(KEYS)), max_size=2),
        is_ranked=st.booleans(),
    )
    def save_ranges(self, ranked: list[tuple[int, ListedObject]], left: list[KeyRange], is_ranked: bool) -> None:
        """Save pages of a listing in ranges."""
        ranges = ListingRanges(left=tuple(left), cuts=len(left))
        self.both(lambda checkpoint: checkpoint.save_ranges(ranked, ranges, is_ranked=is_ranked, spread=KEYS))

    @rule()
    def drop_listing(self) -> None:
        """Begin a new pass."""
        self.both(lambda checkpoint: checkpoint.drop_listing())

    @rule(is_crash=st.booleans())
    def reopen(self, is_crash: bool) -> None:
        """Reopen as the next process does, after a clean end or a kill."""
        self.runner.run(self.harness.crash() if is_crash else self.harness.close())
        self.memory = self.memory.reopen()
        self.file = self.runner.run(self.harness.open())
        uid = self.file.opened.uid  # at random
        assert self.file.opened == msgspec.structs.replace(self.memory.opened, uid=uid)

    @invariant()
    def checkpoints_agree(self) -> None:
        """Compare every row and the result of every query."""
        if not hasattr(self, "file"):
            return
        assert sorted(read_images(self.harness.path), key=lambda image: image.id) == list(self.memory.images)
        assert self.runner.run(_answers(self.file)) == self.runner.run(_answers(self.memory))


def _moved(image: StoredImage, id_: int, seq: int) -> StoredImage:
    return msgspec.structs.replace(image, id=id_, seq=seq, effects=())


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def _answers(checkpoint: Checkpoint) -> list[object]:
    return [
        list(await checkpoint.by_keys(KEYS)),
        list(await checkpoint.positioned(0, 3)),
        list(await checkpoint.positioned(3, 99)),
        list(await checkpoint.failed(1, 9, 4)),
        *[list(await checkpoint.by_etags([etag])) for etag in ETAGS],
        list(await checkpoint.by_etags(ETAGS)),
        await checkpoint.overshoot(),
        dict(await checkpoint.owners(TARGETS)),
        list(await checkpoint.pending_removals(RemovalQuery(verdicts=(Verdict.KEEP, Verdict.REJECT)), 2, 5)),
        *[list(await checkpoint.pending_removals(which, 0, 99)) for which in REMOVAL_QUERIES],
        *[await checkpoint.count_pending_removals(which) for which in REMOVAL_QUERIES],
        list(await checkpoint.rows([3, 1, 99])),
        list(await checkpoint.removals(sorted(REMOVED), 1, 4)),
        list(await checkpoint.listing(None, 3)),
        list(await checkpoint.listing((1, "b"), 9)),
        await checkpoint.listing_state(),
        await checkpoint.listing_ranges(),
        list(await checkpoint.listed_between("a", "c", 3)),
        list(await checkpoint.listed_between("", None, 99)),
        await checkpoint.count_listed("b"),
        list(await checkpoint.spread_keys()),
    ]


TestBothCheckpoints = BothCheckpoints.TestCase
TestBothCheckpoints.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
