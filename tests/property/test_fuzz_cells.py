"""Checkpoints and answers files of somebody else: sound SQLite files in which any value may be any other."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.answers import open_answers, open_reader
from asyncfilter.answers.draws import stored_draws, stored_seeds
from asyncfilter.checkpoint import open_checkpoint, read_images, read_status
from asyncfilter.errors import AnswersError, CheckpointError
from asyncfilter.model import ActionKind, Failure, Verdict
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.answers import Saw
from asyncfilter.records.images import DoneEffect
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import Removal, Step
from tests.kit.answers import MEMORY, box, new_answer, subject
from tests.kit.checkpoints import IDENTITY, stored_image
from tests.kit.fuzzing import few

CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([-1, 0, 1, 2, 7, 255, 2**31, 2**53]),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.binary(max_size=24),
    st.sampled_from(
        ["[" * 3000, '{"a":' * 3000, "[]", "{}", "null", '"a"', "9" * 5000, "1e999", "keep", "x'", "s3://a/b"]
    ),
    st.sampled_from([b"[" * 3000, b"{}", b"\xff" * 40, b"\x00" * 40, b"\xdf" + b"\xff" * 60]),
)


MOVED = "s3://bin/birds/001.jpg"
JOURNAL: dict[str, Any] = {
    "effects": [(1, DoneEffect(ActionKind.MOVE, MOVED)), (2, DoneEffect(ActionKind.COPY, "s3://clean/birds/002.jpg"))],
    "removals": [
        Removal(
            image=1,
            key="birds/001.jpg",
            etag=f"{1:032x}",
            size_bytes=1001,
            kind=ActionKind.MOVE,
            target=MOVED,
            step=Step.DELETED,
            copied=f"{1:032x}",
        ),
        Removal(
            image=3,
            key="birds/003.jpg",
            etag="an-etag-2",
            size_bytes=1003,
            kind=ActionKind.DELETE,
            marker="v1",
            failure=Failure("changed", "replaced"),
        ),
    ],
}
"""What ``apply`` and ``run`` did."""
PENDING = RemovalQuery(verdicts=tuple(Verdict))


async def read_removals(checkpoint: Checkpoint) -> None:
    """Read what ``apply`` and ``undo`` do; every value has the type that they expect."""
    found = await checkpoint.removals(sorted(Step), 0, 100)
    pending = await checkpoint.pending_removals(PENDING, 0, 100)
    for removal in [*(one for one, _ in found), *(one for _, one in pending if one is not None)]:
        msgspec.convert(msgspec.structs.asdict(removal), Removal)
    for row in [*(one for _, one in found if one is not None), *(one for one, _ in pending)]:
        assert isinstance(row.key, str)
        assert isinstance(row.etag, str)
        assert all(isinstance(effect.target, str) for effect in row.effects)


@cache
def checkpoint_file() -> bytes:
    """A checkpoint with every kind of row."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "job.db"

        async def write() -> None:
            async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
                await checkpoint.commit(Batch(new=[stored_image(number) for number in range(1, 6)], **JOURNAL))

        asyncio.run(write())
        return whole(path)


@cache
def answers_file() -> bytes:
    """An answers file with every part of a row."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "robins.answers.db"
        with open_answers(path) as answers:
            saw = Saw(verdict="review", rule=2, score=71.3, model_version="3.0")
            rows = [
                new_answer(
                    "keep", subject("a", content="c" * 64), labels=("Robin",), boxes=(box(),), saw=saw, note="n"
                ),
                new_answer("reject", subject("b")),
                new_answer("unsure", subject("a", content="c" * 64), reviewer="ben"),
            ]
            answers.add([*rows, new_answer(None, subject("b"), undoes=rows[1].uid)])
        return whole(path)


def whole(path: Path) -> bytes:
    """The file with what is in its log."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def change_cell(path: Path, data: st.DataObject) -> None:
    """Write another value into one cell, past all constraints."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        filled = [name for name in names if db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        table = data.draw(st.sampled_from(filled))
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = data.draw(st.sampled_from(columns))
        number = data.draw(st.integers(0, db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - 1))
        key = db.execute(f"SELECT {columns[0]} FROM {table} LIMIT 1 OFFSET ?", (number,)).fetchone()[0]
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        with suppress(sqlite3.IntegrityError):  # NOT NULL, unique keys: the file could not hold it
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {columns[0]} IS ?", (data.draw(CELLS), key))
        for _, statement in triggers:
            db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@few
@given(st.data())
def test_any_cell_of_a_checkpoint_is_read_or_refused(data: st.DataObject) -> None:
    """By those who only read, and by those who write."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "job.db"
        path.write_bytes(checkpoint_file())
        change_cell(path, data)
        with suppress(CheckpointError):
            read_status(path)
        with suppress(CheckpointError):
            list(read_images(path))

        async def open_it() -> None:
            async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
                await checkpoint.commit(Batch(new=[stored_image(9)]))

        with suppress(CheckpointError):
            asyncio.run(open_it())

        async def remove() -> None:
            async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
                await read_removals(checkpoint)

        with suppress(CheckpointError):
            asyncio.run(remove())


@pytest.mark.parametrize(
    "change",
    [
        "removal SET kind = 99",
        "removal SET key = x'ff'",
        "removal SET etag = 7",
        "removal SET target = x'ff' WHERE image = 1",
        "removal SET target = '' WHERE image = 1",
        "removal SET copied = x'00'",
        "removal SET marker = 1.5, decided_by = x'00'",
        "removal SET size_bytes = 'x'",
        "removal SET failure = x'00' WHERE failure IS NOT NULL",
        "effect SET kind = 99",
        "effect SET target = x'ff' WHERE image = 1",
        "image SET key = x'ff'",
        "image SET size_bytes = 'x'",
        "image SET etag = 7.5",
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(tmp_path: Path, change: str) -> None:
    """Not as a file that is locked, which a query that was left open made of it, and not by those who use the value."""
    path = tmp_path / "job.db"
    path.write_bytes(checkpoint_file())
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(f"UPDATE {change}")
        db.commit()

    async def remove() -> None:
        async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
            await read_removals(checkpoint)

    with pytest.raises(CheckpointError, match=r"not valid|not a valid"):
        asyncio.run(remove())


def read_answers(path: Path) -> Iterator[Callable[[], object]]:
    """What reads an answers file, each by itself."""
    reader = open_reader(path)
    assert reader is not None
    with reader:
        last = reader.last_serial()
        yield lambda: list(reader.all_rows(up_to=last))
        yield lambda: list(reader.all_images(up_to=last))
        yield lambda: reader.since(0, up_to=last, limit=100)
        yield lambda: reader.current([subject("a", content="c" * 64), subject("b"), subject("z")], up_to=last)
        yield lambda: (reader.count(0, up_to=last), reader.count_subjects(up_to=last))
    yield lambda: stored_draws(path, "robins")
    yield lambda: stored_seeds(path, "robins")


@few
@given(st.data())
def test_any_cell_of_an_answers_file_is_read_or_refused(data: st.DataObject) -> None:
    """Rows, images, and what they fold to."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "robins.answers.db"
        path.write_bytes(answers_file())
        change_cell(path, data)
        with suppress(AnswersError):
            for read in read_answers(path):
                with suppress(AnswersError):
                    read()


@pytest.mark.parametrize("frozen", ["[]", "{}", "[" * 3000, "no JSON", '{"job": 5}', "null"])
def test_a_draw_of_somebody_else_is_refused(frozen: str, tmp_path: Path) -> None:
    """A draw that this program cannot have frozen."""
    path = tmp_path / "robins.answers.db"
    path.write_bytes(answers_file())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO draw (job, rule, frozen) VALUES ('robins', 0, ?)", (frozen,))
    with pytest.raises(AnswersError):
        stored_draws(path, "robins")
