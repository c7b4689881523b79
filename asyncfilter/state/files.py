"""The two kinds of SQLite files that a state holds, and the check of one that came from a store.

Anyone with write access to the bucket may have made the file: a trigger or a view in it would run with the first
statement that touches it. So a file that was restored has nothing in its schema but what asyncfilter itself makes; then
it is opened by the checks that every such file passes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from asyncfilter.answers import schema as answers_schema
from asyncfilter.answers.file import open_reading
from asyncfilter.answers.leases import TABLE as LEASES
from asyncfilter.checkpoint import schema as checkpoint_schema
from asyncfilter.checkpoint.changes import LOG_TABLES
from asyncfilter.checkpoint.errors import translated, unreadable
from asyncfilter.checkpoint.open_file import check_content, check_header, connect, translated_reading
from asyncfilter.state.names import StateKind


class FileKind(NamedTuple):
    """One kind of file.

    Attributes:
        newest_format: The newest format that is read.
        make: Makes everything that asyncfilter ever makes in such a file, in an empty one.
        check: The checks before such a file is used; raises ``CheckpointError`` or ``AnswersError``.
    """

    newest_format: int
    make: Callable[[sqlite3.Connection], None]
    check: Callable[[Path], None]


def check_restored(path: Path, kind: FileKind) -> None:
    """Check a file that came from a store, before anything in it is run.

    Args:
        path: The file; nothing else writes to it.
        kind: What it should be.

    Raises:
        CheckpointError: It is damaged, newer, or has something in its schema that is not ours.
        AnswersError: Likewise, for an answers file.
    """
    with translated(path), closing(connect(path, "ro&immutable=1")) as db:
        found = _parts(db)
        expected = _expected(kind)
        foreign = sorted(name for name, part in found.items() if not _is_ours(part, expected.get(name)))
        if foreign:
            raise unreadable(path, f"its schema has {', '.join(map(repr, foreign))}, which asyncfilter does not make")
        hidden = [name for name, part in found.items() if part.kind == "table" and _has_hidden_columns(db, name)]
        if hidden:
            raise unreadable(path, f"its tables {', '.join(hidden)} compute columns, which those of asyncfilter do not")
    kind.check(path)


class _Part(NamedTuple):
    kind: str
    sql: str


def _parts(db: sqlite3.Connection) -> dict[str, _Part]:
    """Everything in the schema of a file by name, SQLite's own left out."""
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
    return {
        str(name): _Part(str(kind), " ".join(str(sql).split()))
        for kind, name, sql in rows
        if not (kind in {"table", "index"} and str(name).startswith("sqlite_"))
    }


def _expected(kind: FileKind) -> Mapping[str, _Part]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        kind.make(db)
        return {**_parts(db), **{name: _Part("table", "") for name in LOG_TABLES}}


def _is_ours(part: _Part, ours: _Part | None) -> bool:
    """Whether a part of a schema is one that asyncfilter makes; a table may be of an earlier version, nothing else."""
    if ours is None or part.kind != ours.kind:
        return False
    return part.sql == ours.sql or (part.kind == "table" and not part.sql.upper().startswith("CREATE VIRTUAL"))


def _has_hidden_columns(db: sqlite3.Connection, name: str) -> bool:
    rows = db.execute("SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden <> 0", (name,)).fetchone()
    return bool(rows[0])


def _make_checkpoint(db: sqlite3.Connection) -> None:
    checkpoint_schema.create_tables(db)
    for statement in (checkpoint_schema.ANSWER, checkpoint_schema.CONTENT, checkpoint_schema.SHUFFLE):
        db.execute(statement)


def _check_checkpoint(path: Path) -> None:
    with translated(path):
        check_header(path)
        with translated_reading(path) as db:
            check_content(db, path)


def _make_answers(db: sqlite3.Connection) -> None:
    answers_schema.create_tables(db, "")
    db.execute(LEASES)


def _check_answers(path: Path) -> None:
    open_reading(path).close()


KINDS: Mapping[StateKind, FileKind] = {
    StateKind.CHECKPOINT: FileKind(checkpoint_schema.FORMAT_VERSION, _make_checkpoint, _check_checkpoint),
    StateKind.ANSWERS: FileKind(answers_schema.FORMAT_VERSION, _make_answers, _check_answers),
}
"""What each kind of state holds."""
