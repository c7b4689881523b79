"""The frozen draws of audits, in two tables of the answers file (``draw_tables``), on the calling thread.

A draw is never changed or deleted. Its number comes from the file, so that several jobs may share one; the draws of a
job are found by its name and its source, since two jobs of one name are not one. Draws of former versions have no
source, and are found by the name alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from asyncfilter.answers.errors import translated
from asyncfilter.answers.file import begin, exists, open_reading, open_writing, real_path
from asyncfilter.records.draws import Draw, DrawnImage, DrawnPart, NewDraw, PartName

NewDraws = Callable[[Sequence[Draw], int], Sequence[NewDraw]]
"""What to freeze: from the newest draw of each rule of the job, and the number that the first new one will have."""


_OF_JOB = "job = ? AND coalesce(json_extract(frozen, '$.source'), '') IN ('', ?)"


def stored_draws(path: Path, job: str, *, source: str = "") -> list[Draw]:
    """The newest draw of each rule of a job, by the number of the rule; none without an answers file.

    Raises:
        AnswersError: The file cannot be used.
    """
    return _before(real_path(path), (job, source))[0]


def stored_draw(path: Path, number: int) -> Draw | None:
    """The draw with this number; None when there is none. Raises as ``stored_draws``."""
    path = real_path(path)
    if not exists(path):
        return None
    with translated(path), closing(open_reading(path)) as db:
        return _read(db, number)


def stored_seeds(path: Path, job: str, *, source: str = "") -> list[tuple[int, int, int]]:
    """Number, rule and seed of every draw of a job, by number. Raises as ``stored_draws``."""
    path = real_path(path)
    if not exists(path):
        return []
    query = f"SELECT number, rule, json_extract(frozen, '$.seed') FROM draw WHERE {_OF_JOB} ORDER BY number"  # noqa: S608  a constant
    with translated(path), closing(open_reading(path)) as db:
        return db.execute(query, (job, source)).fetchall()


def freeze(path: Path, job: str, make: NewDraws, *, source: str = "") -> list[Draw]:
    """Store new draws, and return the newest of each rule of a job.

    ``make`` may take its time, since the file is not locked meanwhile. Where another process has stored a draw by then,
    it is called again with that. The file is created with the first draw.

    Raises:
        AnswersError: The file cannot be used.
    """
    path = real_path(path)
    of_job = (job, source)
    before, last = _before(path, of_job)
    while new := make(before, last + 1):
        with translated(path), closing(open_writing(path)) as db:
            is_stored = _store(db, new, after=last)
            before, last = _newest(db, of_job), _last_number(db)
        if is_stored:
            break
    return before


def _before(path: Path, of_job: tuple[str, str]) -> tuple[list[Draw], int]:
    """The newest draws of a job, by name and source, and the number of the newest of all."""
    if not exists(path):
        return [], 0
    with translated(path), closing(open_reading(path)) as db:
        db.execute("BEGIN")
        return _newest(db, of_job), _last_number(db)


def _last_number(db: sqlite3.Connection) -> int:
    (found,) = db.execute("SELECT coalesce(max(number), 0) FROM draw").fetchone()
    return int(found)


def _store(db: sqlite3.Connection, draws: Iterable[NewDraw], *, after: int) -> bool:
    """Store all of the draws, or, where ``after`` is no longer the newest, none."""
    begin(db)
    try:
        is_newest = _last_number(db) == after
        if is_newest:
            _insert(db, draws)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return is_newest


def _insert(db: sqlite3.Connection, draws: Iterable[NewDraw]) -> None:
    for draw in draws:
        bare = msgspec.structs.replace(draw, taken=_bare(draw.taken), rest=_bare(draw.rest))
        frozen = msgspec.json.encode(bare).decode()
        insert = "INSERT INTO draw (job, rule, frozen) VALUES (?, ?, ?)"
        number = db.execute(insert, (draw.job, draw.measured.rule, frozen)).lastrowid
        db.executemany(
            "INSERT INTO draw_position VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((number, name.value, *position) for name in PartName for position in _positions(draw.part(name))),
        )


def _newest(db: sqlite3.Connection, of_job: tuple[str, str]) -> list[Draw]:
    query = f"SELECT max(number) FROM draw WHERE {_OF_JOB} GROUP BY rule ORDER BY rule"  # noqa: S608  a constant
    numbers = [number for (number,) in db.execute(query, of_job).fetchall()]
    return [draw for number in numbers if (draw := _read(db, number)) is not None]


def _read(db: sqlite3.Connection, number: int) -> Draw | None:
    row = db.execute("SELECT frozen FROM draw WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    frozen = msgspec.json.decode(row[0], type=NewDraw)
    parts = {
        name.value: msgspec.structs.replace(frozen.part(name), positions=_drawn(db, number, name)) for name in PartName
    }
    fields = {name: getattr(frozen, name) for name in NewDraw.__struct_fields__}
    return Draw(number=number, **{**fields, **parts})


def _bare(part: DrawnPart) -> DrawnPart:
    return DrawnPart(images=part.images)


def _positions(part: DrawnPart) -> Iterator[tuple[object, ...]]:
    for number, image in enumerate(part.positions, 1):
        yield number, image.bucket, image.key, image.etag, image.size_bytes, image.score


def _drawn(db: sqlite3.Connection, number: int, name: PartName) -> Sequence[DrawnImage]:
    query = (
        "SELECT bucket, key, etag, size_bytes, score FROM draw_position WHERE draw = ? AND part = ? ORDER BY position"
    )
    return tuple(
        DrawnImage(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes, score=score)
        for bucket, key, etag, size_bytes, score in db.execute(query, (number, name.value))
    )
