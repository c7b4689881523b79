"""One suite for every checkpoint: the file and the one in memory keep the same guarantees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from asyncfilter.errors import CheckpointError
from asyncfilter.model import (
    ActionKind,
    Box,
    Counts,
    Decision,
    Detection,
    Failure,
    Instance,
    Label,
    ListedObject,
    StopReason,
    Verdict,
)
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.images import DoneEffect, Owner, StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.records.tally import Tally
from tests.kit.checkpoints import KEEP, CheckpointHarness, MemoryHarness, SqliteHarness, stored_image

ROBIN = Detection(
    labels=(
        Label(
            "Robin", 98.3, (Instance(Box(0.1, 0.2, 0.3, 0.4), 97.0),), ("Bird", "Animal"), ("Redbreast",), ("Fauna",)
        ),
        Label("Bird", 98.3, (), ("Animal",)),
    ),
    model_version="3.0",
    extra=b'{"ImageProperties":{}}',
)
COPY = DoneEffect(ActionKind.COPY, "s3://clean/robin.jpg")


@pytest.fixture(params=["memory", "sqlite"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CheckpointHarness]:
    """The harness of each kind; every test runs on both."""
    harness: CheckpointHarness = MemoryHarness() if request.param == "memory" else SqliteHarness(tmp_path)
    yield harness
    await harness.close()


@pytest.fixture
async def checkpoint(harness: CheckpointHarness) -> Checkpoint:
    """A new checkpoint."""
    return await harness.open()


image = partial(stored_image, detection=ROBIN)


async def all_positioned(checkpoint: Checkpoint) -> list[StoredImage]:
    """All placed rows in order."""
    return list(await checkpoint.positioned(0, 1000))


async def test_a_new_checkpoint_is_empty(checkpoint: Checkpoint) -> None:
    """A new checkpoint has no rows and no spending, and ids begin at 1."""
    opened = checkpoint.opened
    assert (opened.is_new, opened.next_id, opened.decided_by) == (True, 1, None)
    assert (opened.watermark, opened.totals) == (Watermark(), Totals())
    assert await all_positioned(checkpoint) == []
    assert await checkpoint.listing_state() == (False, None)


async def test_a_row_comes_back_as_it_was(checkpoint: Checkpoint) -> None:
    """Every field of decided, failed and cached images survives."""
    rows = [
        image(1),
        image(2, decision=Decision(Verdict.REVIEW, 3), etag="9b2cf535f27731c974343645a3985328-12"),
        image(3, decision=Decision(Verdict.REJECT), detection=Detection(()), etag="ABCDEF"),
        image(4, decision=None, detection=None, failure=Failure("vanished", "gone\nfor good")),
        image(5, failure=Failure("changed", "")),
        image(6, seq=None, decision=None),
    ]
    await checkpoint.commit(Batch(new=rows))
    assert await all_positioned(checkpoint) == rows[:5]
    assert await checkpoint.by_keys([rows[5].key]) == rows[5:]


async def test_only_cached_rows_come_with_their_labels_by_key(checkpoint: Checkpoint) -> None:
    """For comparison with a page of a listing, the labels of completed rows are not read."""
    rows = [image(1, key="b"), image(2, key="a", seq=None), image(3, key="b", seq=None, etag="old"), image(4, key="c")]
    await checkpoint.commit(Batch(new=rows))
    found = await checkpoint.by_keys(["b", "a", "missing", "b"])
    assert [(row.id, row.detection) for row in found] == [(2, ROBIN), (1, None), (3, ROBIN)]


async def test_many_keys_and_targets_may_be_asked_for_at_once(checkpoint: Checkpoint) -> None:
    """One call looks up a whole page of 1,000 keys and more, in UTF-8 order."""
    rows = [image(id_, key=f"{id_ * 7919 % 2500:05}") for id_ in range(1, 2401)]
    targets = [f"s3://clean/{row.key}" for row in rows]
    effects = [(row.id, DoneEffect(ActionKind.COPY, target)) for row, target in zip(rows, targets, strict=True)]
    await checkpoint.commit(Batch(new=rows, effects=effects))
    found = await checkpoint.by_keys([row.key for row in rows])
    assert [row.key for row in found] == sorted(row.key for row in rows)
    assert all(row.effects == (DoneEffect(ActionKind.COPY, f"s3://clean/{row.key}"),) for row in found)
    assert await checkpoint.owners([*targets, "s3://clean/x"]) == dict(
        zip(targets, (Owner(key=row.key) for row in rows), strict=True)
    )


async def test_positioned_rows_are_read_in_order_and_in_portions(checkpoint: Checkpoint) -> None:
    """Rows come in the order of examination, stored in any order."""
    await checkpoint.commit(Batch(new=[image(id_, seq=seq) for id_, seq in enumerate([4, 2, 5, 1, 3], 1)]))
    assert [row.seq for row in await checkpoint.positioned(0, 2)] == [1, 2]
    assert [row.id for row in await checkpoint.positioned(2, 2)] == [5, 1]
    assert await checkpoint.positioned(5, 2) == []


async def test_failed_rows_are_found(checkpoint: Checkpoint) -> None:
    """Failed rows with a position, within the range, in order."""
    rows = [image(id_, failure=Failure("changed", "x") if id_ % 2 else None) for id_ in range(1, 10)]
    await checkpoint.commit(Batch(new=[*rows, image(10, seq=None, failure=Failure("changed", "x"))]))
    assert [row.seq for row in await checkpoint.failed(1, 7, 10)] == [3, 5, 7]
    assert await checkpoint.failed(0, 9, 1) == rows[:1]


async def test_a_cached_row_gets_its_position(checkpoint: Checkpoint) -> None:
    """Placing a row sets position, decision and failure; labels and effects stay."""
    await checkpoint.commit(Batch(new=[image(1, seq=None, decision=None)], effects=[(1, COPY)]))
    placed = image(
        1, seq=7, decision=Decision(Verdict.REVIEW, 1, "Bird"), failure=Failure("changed", "x"), detection=None
    )
    await checkpoint.commit(Batch(positioned=[placed]))
    await checkpoint.commit(Batch(positioned=[placed]))  # A repeated commit is harmless.
    (row,) = await all_positioned(checkpoint)
    assert (row.seq, row.decision, row.failure) == (7, placed.decision, placed.failure)
    assert (row.detection, row.effects) == (ROBIN, (COPY,))
    await checkpoint.commit(Batch(positioned=[image(1, seq=7)]))
    assert (await all_positioned(checkpoint))[0].failure is None


async def test_a_row_examined_anew_loses_its_position(checkpoint: Checkpoint) -> None:
    """In one batch the old row frees the position that the new one takes; a row without labels is removed."""
    await checkpoint.commit(Batch(new=[image(1), image(2, detection=None, decision=None, failure=Failure("x", ""))]))
    await checkpoint.commit(Batch(unpositioned=[1, 2], new=[image(3, seq=1), image(4, seq=2)]))
    assert [(row.id, row.seq) for row in await all_positioned(checkpoint)] == [(3, 1), (4, 2)]
    found = await checkpoint.by_keys([image(1).key, image(2).key])
    assert [(row.id, row.seq, row.detection) for row in found] == [(1, None, ROBIN)]


async def test_a_failed_action_is_noted(checkpoint: Checkpoint) -> None:
    """A failed action adds the failure and keeps the verdict."""
    await checkpoint.commit(Batch(new=[image(1)]))
    await checkpoint.commit(Batch(failures=[(1, Failure("changed", "the object was replaced"))]))
    (row,) = await all_positioned(checkpoint)
    assert (row.decision, row.failure) == (KEEP, Failure("changed", "the object was replaced"))


async def test_effects_are_kept_oldest_first(checkpoint: Checkpoint) -> None:
    """Several targets of one image are kept; a repeated action counts once."""
    tagged, other = DoneEffect(ActionKind.TAG, ""), DoneEffect(ActionKind.COPY, "s3://clean/other.jpg")
    await checkpoint.commit(Batch(new=[image(1)], effects=[(1, COPY), (1, tagged)]))
    await checkpoint.commit(Batch(effects=[(1, other), (1, tagged)]))
    (row,) = await all_positioned(checkpoint)
    assert row.effects == (COPY, other, tagged)


async def test_a_target_passes_to_the_newer_row_of_its_key(checkpoint: Checkpoint) -> None:
    """An object that changed is copied over its older version: the target is the new row's."""
    await checkpoint.commit(Batch(new=[image(1, key="a", seq=None)], effects=[(1, COPY)]))
    await checkpoint.commit(Batch(new=[image(2, key="a")], effects=[(2, COPY)]))
    assert [row.effects for row in await checkpoint.by_keys(["a"])] == [(), (COPY,)]
    assert await checkpoint.owners([COPY.target]) == {COPY.target: Owner(key="a")}


async def test_two_keys_never_own_one_target(checkpoint: Checkpoint) -> None:
    """The checkpoint refuses the batch and keeps nothing of it."""
    await checkpoint.commit(Batch(new=[image(1), image(2)], effects=[(1, COPY)]))
    before = await all_positioned(checkpoint)
    with pytest.raises(CheckpointError):
        await checkpoint.commit(Batch(new=[image(3)], effects=[(2, COPY)], watermark=Watermark(seq=9)))
    assert await all_positioned(checkpoint) == before
    assert await checkpoint.owners([COPY.target]) == {COPY.target: Owner(key=image(1).key)}


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(new=[image(5), image(1, seq=6)]),
        Batch(new=[image(5, seq=1)]),
        Batch(new=[image(5)], positioned=[image(77)]),
        Batch(new=[image(5)], positioned=[image(2, seq=1)]),
        Batch(new=[image(5)], failures=[(77, Failure("x", ""))]),
        Batch(new=[image(5)], effects=[(77, COPY)]),
    ],
    ids=["id twice", "position twice", "placed row unknown", "position taken", "failure unknown", "effect unknown"],
)
async def test_an_invalid_batch_changes_nothing(
    harness: CheckpointHarness, checkpoint: Checkpoint, wrong: Batch
) -> None:
    """No row, watermark or sum of a refused batch stays, and the next batch is accepted."""
    await checkpoint.commit(Batch(new=[image(1), image(2)]))
    before = await all_positioned(checkpoint)
    tern = Detection((Label("Tern", 77.7),), "3.1")
    wrong = msgspec.structs.replace(wrong, new=[*wrong.new, image(9, detection=tern)])
    with pytest.raises(CheckpointError):
        await checkpoint.commit(wrong)
    assert await all_positioned(checkpoint) == before
    await checkpoint.commit(Batch(new=[image(3, detection=tern)], watermark=Watermark(seq=3)))
    await harness.close()
    assert await all_positioned(await harness.open()) == [*before, image(3, detection=tern)]


async def test_the_next_process_finds_everything(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """After a clean end the next process has watermark, tally, sums, fingerprint and rows."""
    watermark = Watermark(seq=2, cursor="birds/002.jpg", tally=Tally(keep=2, listed=5, skipped={"empty": 3}, matches=2))
    totals = Totals(calls=2, attempts=3, billed_calls=2, spent_micros=2000)
    await checkpoint.commit(Batch(new=[image(1), image(2)], effects=[(1, COPY)], watermark=watermark, totals=totals))
    await checkpoint.decided("abc", watermark)
    rows = await all_positioned(checkpoint)
    await harness.close()
    again = await harness.open()
    assert (again.opened.watermark, again.opened.totals) == (watermark, totals)
    assert (again.opened.decided_by, again.opened.next_id, again.opened.is_new) == ("abc", 3, False)
    assert await all_positioned(again) == rows


async def test_what_was_committed_survives_a_crash(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """After a crash rows beyond the watermark are cached with their labels, and ids continue."""
    await checkpoint.commit(Batch(new=[image(1), image(2)], watermark=Watermark(seq=2)))
    await checkpoint.commit(Batch(new=[image(4), image(3)], effects=[(4, COPY)]))
    await harness.crash()
    again = await harness.open()
    assert [row.id for row in await all_positioned(again)] == [1, 2]
    assert again.opened.next_id == 5
    cached = await again.by_keys([image(3).key, image(4).key])
    assert cached == [image(3, seq=None), image(4, seq=None, effects=(COPY,))]


async def test_reservations_of_a_dead_run_are_spent(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """The reservations of a killed run count as spent durably and once, also after the next crash."""
    await checkpoint.commit(
        Batch(totals=Totals(billed_calls=10, spent_micros=9000, reserved_calls=3, reserved_micros=2700))
    )
    for _ in range(2):
        await harness.crash()
        again = await harness.open()
        assert again.opened.totals == Totals(billed_calls=13, spent_micros=11700)


async def test_an_id_is_never_used_again(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """An id is not used again, even when its row was removed."""
    await checkpoint.commit(Batch(new=[image(1), image(2, detection=None, decision=None, failure=Failure("x", ""))]))
    await checkpoint.commit(Batch(unpositioned=[2], watermark=Watermark(seq=1)))
    await harness.close()
    assert (await harness.open()).opened.next_id == 3


async def test_a_stop_that_moved_back_drops_positions(checkpoint: Checkpoint) -> None:
    """All rows beyond the position become cached and keep their labels."""
    await checkpoint.commit(Batch(new=[image(id_) for id_ in range(1, 6)]))
    await checkpoint.drop_positions_after(3)
    assert [row.seq for row in await all_positioned(checkpoint)] == [1, 2, 3]
    assert [row.detection for row in await checkpoint.by_keys([image(4).key, image(5).key])] == [ROBIN, ROBIN]


async def test_overshoot_counts_what_was_paid_for_and_not_used(checkpoint: Checkpoint) -> None:
    """Overshoot counts cached rows with labels whose object has no placed row; no older versions, no failures."""
    rows = [
        image(1, key="a"),
        image(2, key="a", seq=None, etag="old"),
        image(3, key="b", seq=None),
        image(4, key="c", seq=None),
        image(5, key="d", seq=None, detection=None, decision=None, failure=Failure("x", "")),
    ]
    await checkpoint.commit(Batch(new=rows))
    assert await checkpoint.overshoot() == 2


async def test_the_stored_listing_is_read_by_rank(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """The listing is saved by page, read in rank order, and complete only after its last page."""
    listed = [
        ListedObject(key, size, "ab" * 16, "GLACIER") for size, key in enumerate(["a", "b\n", "c", "é", "\U0001f426"])
    ]
    ranks = [2**63 - 1, 5, 5, 0, 7]
    ranked = list(zip(ranks, listed, strict=True))
    await checkpoint.save_listing(ranked[:3], is_last=False)
    assert await checkpoint.listing_state() == (False, "c")
    await harness.crash()
    again = await harness.open()
    await again.save_listing(ranked[2:], is_last=True)
    assert await again.listing_state() == (True, "\U0001f426")
    in_order = [entry for _, entry in sorted(ranked, key=lambda pair: (pair[0], pair[1].key))]
    assert await again.listing(None, 2) == in_order[:2]
    assert await again.listing((5, "b\n"), 10) == in_order[2:]
    await again.drop_listing()
    assert await again.listing_state() == (False, None)
    assert await again.listing(None, 10) == []


async def test_a_stored_list_has_each_key_once(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """With its version; of several rows of a key the first counts; a list that is not whole is not kept."""
    ranked = [(rank, ListedObject(key, rank, "")) for rank, key in enumerate(["c", "a", "c", "b\n", "a", "\U0001f426"])]
    assert (await checkpoint.listing_origin(), await checkpoint.listing_rank("c")) == ("", None)
    await checkpoint.save_listing(ranked[:3], is_last=False, origin="v1")
    await harness.crash()
    again = await harness.open()
    await again.drop_listing()
    await again.save_listing(ranked[:4], is_last=False, origin="v1")
    await again.save_listing(ranked[4:], is_last=True, origin="v1")
    await harness.crash()
    last = await harness.open()
    assert (await last.listing_state())[0]
    assert await last.listing_origin() == "v1"
    assert [await last.listing_rank(key) for key in ("c", "a", "b\n", "\U0001f426", "d")] == [0, 1, 3, 5, None]
    assert await last.listing(None, 10) == [ranked[place][1] for place in (0, 1, 3, 5)]
    assert await last.listing((1, "a"), 1) == [ranked[3][1]]
    await last.drop_listing()
    assert (await last.listing_origin(), await last.listing_state()) == ("", (False, None))
    await last.save_listing([], is_last=True, origin="v2")
    assert (await last.listing_state())[0]


async def test_an_empty_last_page_ends_the_listing(checkpoint: Checkpoint) -> None:
    """The last page of a listing may be empty."""
    await checkpoint.save_listing([(1, ListedObject("a", 1, "e"))], is_last=False)
    await checkpoint.save_listing([], is_last=True)
    assert await checkpoint.listing_state() == (True, "a")


async def test_references_are_kept_by_address(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """A reference is returned with its labels, a newer one at its address replaces it, and a crash loses none."""
    first = StoredReference(uri="s3://good/b.jpg", etag="1", size_bytes=5, detection=ROBIN)
    other = StoredReference(uri="/good/a.jpg", etag="2", size_bytes=6, detection=Detection(()))
    await checkpoint.commit(Batch(references=[first, other], totals=Totals(calls=2)))
    assert list(await checkpoint.references()) == [other, first]
    newer = StoredReference(uri="s3://good/b.jpg", etag="3", size_bytes=7, detection=Detection((), "4.0"))
    await checkpoint.commit(Batch(references=[newer]))
    await harness.crash()
    checkpoint = await harness.open()
    assert list(await checkpoint.references()) == [other, newer]
    assert checkpoint.opened.totals.calls == 2


async def test_labels_come_once_with_boxes_where_asked(checkpoint: Checkpoint) -> None:
    """Every label that an image had; one that had boxes has an instance, whether the newest images have some or not."""
    plain = [Label(label.name, 0.0, (), label.parents, label.aliases, label.categories) for label in ROBIN.labels]
    without = msgspec.structs.replace(ROBIN, labels=tuple(plain))
    rows = [image(1), *(image(number, detection=without) for number in range(2, 1200))]
    await checkpoint.commit(Batch(new=rows))
    assert await checkpoint.labels() == plain
    assert [label.instances for label in await checkpoint.labels(boxes=True)] == [ROBIN.labels[0].instances, ()]


async def test_a_run_begins_once(checkpoint: Checkpoint) -> None:
    """A run id belongs to one run."""
    await checkpoint.begin_run("one", 1.0)
    await checkpoint.end_run("one", 2.0, StopReason.COMPLETED, Counts())
    with pytest.raises(CheckpointError):
        await checkpoint.begin_run("one", 3.0)


async def test_batches_are_not_kept_by_reference(checkpoint: Checkpoint, harness: CheckpointHarness) -> None:
    """Sums that the engine changes after a commit are not in the checkpoint before the next commit."""
    totals, watermark = Totals(calls=1), Watermark(seq=0, tally=Tally(listed=1))
    await checkpoint.commit(Batch(totals=totals, watermark=watermark))
    totals.calls = 2
    watermark.tally.listed = 2
    await harness.close()
    opened = (await harness.open()).opened
    assert (opened.totals.calls, opened.watermark.tally.listed) == (1, 1)


async def test_rows_are_found_by_position_and_by_content(checkpoint: Checkpoint) -> None:
    """``at`` gives the rows at positions; ``by_etags`` rows with labels of that content, placed or cached."""
    rows = [image(1), image(2, etag="ff" * 16), image(3, etag="ff" * 16, seq=None), image(4, same_as=2)]
    failed = image(5, etag="ff" * 16, detection=None, decision=None, failure=Failure("vanished", "gone"))
    await checkpoint.commit(Batch(new=[*rows, failed]))
    assert await checkpoint.at([4, 2, 9]) == [rows[1], rows[3]]
    assert await checkpoint.at([]) == []
    assert await checkpoint.by_etags(["ff" * 16, "nobody's"]) == [rows[1], rows[2]]


async def test_only_requested_labels_are_returned(checkpoint: Checkpoint) -> None:
    """Groups come in order without boxes, interleaved with other queries, and include new rows."""
    few = image(2, detection=Detection((Label("Robin", 55.5), Label("Never met before", 44.0))))
    await checkpoint.commit(Batch(new=[image(1), image(3, detection=None, failure=Failure("vanished", "gone"))]))

    def is_wanted(label: Label) -> bool:
        assert label.confidence_pct == 0
        return label.name in {"Robin", "Never met before"}

    def bare(detection: Detection) -> Detection:
        wanted = [label for label in detection.labels if label.name in {"Robin", "Never met before"}]
        return Detection(tuple(msgspec.structs.replace(label, instances=()) for label in wanted))

    first, third = await checkpoint.positioned(0, 9, is_asked=is_wanted)
    assert first.detection == bare(ROBIN)
    assert 0 < len(bare(ROBIN).labels) < len(ROBIN.labels)
    assert third.detection is None
    assert await checkpoint.positioned(0, 9, is_asked=is_wanted) == [first, third]
    (nothing, _) = await checkpoint.positioned(0, 9, is_asked=lambda _: False)
    assert nothing.detection == Detection(())
    await checkpoint.commit(Batch(new=[few]))
    assert few.detection is not None
    assert [row.detection for row in await checkpoint.at([1, 2], is_asked=is_wanted)] == [
        first.detection,
        bare(few.detection),
    ]
    assert (await checkpoint.at([1]))[0].detection == ROBIN


async def test_an_effect_needs_its_row_even_when_another_takes_its_target(checkpoint: Checkpoint) -> None:
    """A batch that names a missing row is refused as a whole."""
    await checkpoint.commit(Batch(new=[image(1)]))
    effect = DoneEffect(ActionKind.COPY, "s3://clean/x")
    with pytest.raises(CheckpointError):
        await checkpoint.commit(Batch(effects=[(99, effect), (1, effect)]))
    assert (await all_positioned(checkpoint))[0].effects == ()
