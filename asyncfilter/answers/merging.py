"""Other answers files into this one: rows by uid, undo rows too, in order of time; all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from asyncfilter.answers.reader import AnswersReader, open_reader
from asyncfilter.answers.writer import AnswersFile, Stored, Writing
from asyncfilter.checkpoint import sql
from asyncfilter.errors import AnswersError, UsageError
from asyncfilter.policy.answers.checks import BadAnswerError
from asyncfilter.records.answers import Answer, NewAnswer

_BATCH = 1000
_NEW_FIELDS = NewAnswer.__struct_fields__


class MergedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was merged.

    Attributes:
        file: Its path, as given.
        id: Its id.
        rows: Its rows.
        added: Rows that are new here.
        repeated: Rows that were here already, or came with an earlier file.
    """

    file: str
    id: str
    rows: int
    added: int
    repeated: int


def merge_files(target: AnswersFile, files: Sequence[Path]) -> list[MergedFile]:
    """Add all rows of ``files`` to ``target`` in one transaction, and remember the ids of the files.

    Raises:
        UsageError: One of the files is not there.
        AnswersError: One of them cannot be used; nothing was written.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(_opened(file)) for file in files]
        rows = [list(reader.all_rows(up_to=reader.last_serial())) for reader in readers]
        with target.transaction() as writing:
            added = [0] * len(files)
            for some in sql.chunks(_in_order_of_time(rows), _BATCH):
                for (number, _), one in zip(some, _added(writing, some, readers), strict=True):
                    added[number] += one.is_new
            writing.remember_merged([one for reader in readers for one in (reader.id, *reader.merged)])
        return [
            MergedFile(file=str(file), id=reader.id, rows=len(those), added=new, repeated=len(those) - new)
            for file, reader, those, new in zip(files, readers, rows, added, strict=True)
        ]


def _added(
    writing: Writing, rows: Sequence[tuple[int, NewAnswer]], readers: Sequence[AnswersReader]
) -> Sequence[Stored]:
    """Add rows, each with the number of its file.

    Raises:
        AnswersError: A row cannot have been written by asyncfilter.
    """
    try:
        return writing.add([row for _, row in rows])
    except BadAnswerError as error:
        files = ", ".join(str(reader.path) for reader in readers)
        raise AnswersError(f"{files}: a row cannot be taken over: {error.message}; nothing was merged") from error


def _opened(file: Path) -> AnswersReader:
    reader = open_reader(file)
    if reader is None:
        raise UsageError(f"{file}: there is no such file", hint="Name an answers file.")
    return reader


class _Timed(NamedTuple):
    """A row with what it is ordered by."""

    time_unix_s: float
    file: int
    serial: int
    row: NewAnswer


def _in_order_of_time(files: Sequence[Sequence[Answer]]) -> list[tuple[int, NewAnswer]]:
    """The rows of all files by time, each with the number of its file, from 0."""
    timed = sorted((one for number, rows in enumerate(files) for one in _timed(number, rows)), key=lambda one: one[:3])
    return [(one.file, one.row) for one in timed]


def _timed(number: int, rows: Sequence[Answer]) -> Iterator[_Timed]:
    """The rows of a file with their times; one that takes another one back never comes before that one."""
    times: dict[str, float] = {}
    for row in rows:
        time = max(row.at_unix_s, times.get(row.undoes or "", row.at_unix_s))
        times[row.uid] = time
        yield _Timed(time, number, row.serial, NewAnswer(**{name: getattr(row, name) for name in _NEW_FIELDS}))
