"""Other answers files into this one: rows by uid, undo rows too, in order of time; all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from asyncfilter.answers.reader import open_reader
from asyncfilter.answers.writer import Stored, Writing, open_answers
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


class Merged(NamedTuple):
    """What a merge did.

    Attributes:
        files: The merged files, as they were given.
        serial: Of the newest row afterwards.
    """

    files: list[MergedFile]
    serial: int


def merge_files(target: Path, files: Sequence[Path]) -> Merged:
    """Add all rows of ``files`` to the answers file ``target`` in one transaction, and remember their ids.

    The file is created where it is missing, but not before all others have been read.

    Raises:
        UsageError: One of the files is not there.
        AnswersError: One of them cannot be used; nothing was written.
    """
    read = [_read(file) for file in files]
    added = [0] * len(read)
    with open_answers(target) as answers, answers.transaction() as writing:
        for some in sql.chunks(_in_order_of_time([one.rows for one in read]), _BATCH):
            for (number, _), stored in zip(some, _added(writing, some, files), strict=True):
                added[number] += stored.is_new
        writing.remember_merged([id_ for one in read for id_ in one.ids])
        serial = writing.last_serial
    merged = [
        MergedFile(file=str(one.file), id=one.ids[0], rows=len(one.rows), added=new, repeated=len(one.rows) - new)
        for one, new in zip(read, added, strict=True)
    ]
    return Merged(merged, serial)


class _Read(NamedTuple):
    """A file that was read.

    Attributes:
        ids: Its own id, then those of files that were merged into it.
    """

    file: Path
    ids: tuple[str, ...]
    rows: list[Answer]


def _read(file: Path) -> _Read:
    reader = open_reader(file)
    if reader is None:
        raise UsageError(f"{file}: there is no such file", hint="Name an answers file.")
    with reader:
        return _Read(file, (reader.id, *sorted(reader.merged)), list(reader.all_rows(up_to=reader.last_serial())))


def _added(writing: Writing, rows: Sequence[tuple[int, NewAnswer]], files: Sequence[Path]) -> Sequence[Stored]:
    """Add rows, each with the number of its file.

    Raises:
        AnswersError: A row cannot have been written by asyncfilter.
    """
    try:
        return writing.add([row for _, row in rows])
    except BadAnswerError as error:
        names = ", ".join(map(str, files))
        raise AnswersError(f"{names}: a row cannot be taken over: {error.message}; nothing was merged") from error


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
