"""People's answers in a checkpoint: one suite for the file and the double in memory, and the format of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.checkpoint import open_checkpoint, read_images, read_status
from asyncfilter.checkpoint.rows import RowCodec
from asyncfilter.checkpoint.schema import VERDICTS
from asyncfilter.errors import CheckpointError, CheckpointUnreadableError
from asyncfilter.model import Decision, Verdict
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict, TakenOver
from asyncfilter.records.progress import Batch, Watermark
from tests.kit.answers import box
from tests.kit.checkpoints import IDENTITY, CheckpointHarness, MemoryHarness, SqliteHarness, stored_image

SAID = CurrentAnswer(
    serial=7,
    verdict=CurrentVerdict.KEEP,
    labels=("Wren", "Robin"),
    boxes=(box(),),
    reviewer="anna",
    at_unix_s=1_790_000_000.25,
)
BARE = CurrentAnswer(serial=8, verdict=None, labels=(), reviewer="ben", at_unix_s=1.0)
FOLLOWED = TakenOver(id="0" * 32, serial=8)


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


async def test_answers_come_back_as_they_were(harness: CheckpointHarness, checkpoint: Checkpoint) -> None:
    """With every read of a row, after a crash too; and how far the file is followed."""
    rows = [
        stored_image(1, answer=SAID, decision=Decision(Verdict.KEEP, 2, "Wren", Verdict.REJECT)),
        stored_image(2, answer=BARE, decision=Decision(Verdict.REVIEW, None, None, Verdict.REVIEW)),
        stored_image(3, seq=None, answer=SAID, decision=None),
        stored_image(4),
    ]
    await checkpoint.commit(Batch(new=rows, answers=FOLLOWED, watermark=Watermark(seq=4)))
    await harness.crash()
    again = await harness.open()
    assert again.opened.answers == FOLLOWED
    assert await again.rows([1, 2, 3, 4]) == rows
    assert [row.answer for row in await again.by_keys([row.key for row in rows])] == [SAID, BARE, SAID, None]
    assert list(await again.positioned(0, 9)) == [rows[0], rows[1], rows[3]]


async def test_an_answer_is_set_and_taken_away_with_its_row(checkpoint: Checkpoint) -> None:
    """A row that is written again has exactly the answer that it is written with; a row of another image keeps its."""
    await checkpoint.commit(Batch(new=[stored_image(1), stored_image(2, answer=BARE)]))
    await checkpoint.commit(Batch(positioned=[stored_image(1, answer=SAID)]))
    assert [row.answer for row in await checkpoint.rows([1, 2])] == [SAID, BARE]
    await checkpoint.commit(Batch(positioned=[stored_image(1)]))
    assert [row.answer for row in await checkpoint.rows([1, 2])] == [None, BARE]


async def test_a_batch_that_fails_leaves_no_answer(checkpoint: Checkpoint) -> None:
    """Also when it would have been the first one: the next batch is stored."""
    await checkpoint.commit(Batch(new=[stored_image(1)]))
    with pytest.raises(CheckpointError):
        await checkpoint.commit(Batch(new=[stored_image(1, answer=SAID)], answers=FOLLOWED))
    assert [row.answer for row in await checkpoint.rows([1])] == [None]
    await checkpoint.commit(Batch(positioned=[stored_image(1, answer=BARE)]))
    assert [row.answer for row in await checkpoint.rows([1])] == [BARE]


async def test_what_leaves_is_the_final_verdict(checkpoint: Checkpoint) -> None:
    """The images to remove are those that people reject, and not those that they keep, whatever the rules say."""
    every = [(final, ruled) for final in Verdict for ruled in (None, *Verdict)]
    rows = [
        stored_image(id_, decision=Decision(*pair, None, ruled))
        for id_, (pair, ruled) in enumerate(
            [((final, rule), ruled) for final, ruled in every for rule in (None, 0, 3)], 1
        )
    ]
    await checkpoint.commit(Batch(new=rows))
    for verdict in Verdict:
        which = RemovalQuery(verdicts=(verdict,))
        wanted = [row.id for row in rows if row.decision is not None and row.decision.verdict is verdict]
        assert [row.id for row, _ in await checkpoint.pending_removals(which, 0, 1000)] == wanted
        assert await checkpoint.count_pending_removals(which) == len(wanted)


@given(
    final=st.sampled_from(Verdict),
    ruled=st.none() | st.sampled_from(Verdict),
    rule=st.none() | st.integers(0, 100_000),
)
def test_the_lowest_two_bits_are_the_final_verdict(final: Verdict, ruled: Verdict | None, rule: int | None) -> None:
    """Of every decision that can be stored, which comes back as it was, with all of its parts."""
    with closing(sqlite3.connect(":memory:")) as db:
        codec = RowCodec(db)
        decision = Decision(final, rule, None, ruled)
        stored = codec.outcome(stored_image(1, decision=decision))[0]
        assert stored % 4 == VERDICTS[final]
        assert stored < 2**63
        assert codec._decision(stored, None) == decision


# -- The format of the file --------------------------------------------------------------------------------------------


def user_version(path: Path) -> int:
    """The format of a file."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


async def test_a_file_has_the_second_format_from_its_first_answer_on(tmp_path: Path) -> None:
    """Without answers it stays one that an older asyncfilter reads."""
    path = tmp_path / "robins.db"
    async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
        await checkpoint.commit(Batch(new=[stored_image(1), stored_image(2)], watermark=Watermark(seq=2)))
    assert (user_version(path), read_status(path).taken_over) == (1, None)
    async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
        await checkpoint.commit(Batch(positioned=[stored_image(2, answer=SAID)], answers=FOLLOWED))
    assert (user_version(path), read_status(path).taken_over) == (2, FOLLOWED)
    assert [row.answer for row in read_images(path)] == [None, SAID]


async def test_a_file_of_the_second_format_without_its_table_is_refused(tmp_path: Path) -> None:
    """It is damaged, and was left as it is."""
    path = tmp_path / "robins.db"
    async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
        await checkpoint.commit(Batch(new=[stored_image(1, answer=SAID)], answers=FOLLOWED))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE answer")
    with pytest.raises(CheckpointUnreadableError, match="without answer"):
        await open_checkpoint(path, identity=IDENTITY, name="robins")
