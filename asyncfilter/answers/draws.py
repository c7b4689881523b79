"""The frozen draws of audits, in the answers file: its own two tables, on the calling thread.

A draw is never changed or deleted. Its number comes from the file, so that several jobs may share one; the draws of a
job are found by its name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from asyncfilter.records.draws import Draw, DrawnImage, DrawnPart, NewDraw, PartName

STATEMENTS = (
    """
CREATE TABLE draw (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  job TEXT NOT NULL,
  rule INTEGER NOT NULL,
  frozen TEXT NOT NULL
)
""",
    "CREATE INDEX draw_rule ON draw (job, rule)",
    """
CREATE TABLE draw_position (
  draw INTEGER NOT NULL REFERENCES draw (number),
  part TEXT NOT NULL,
  position INTEGER NOT NULL,
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  score REAL,
  PRIMARY KEY (draw, part, position)
) WITHOUT ROWID
""",
)
"""What makes the tables: ``draw.frozen`` is a ``NewDraw`` as JSON without positions, ``draw_position`` has these."""


def last_number(db: sqlite3.Connection) -> int:
    """The number of the newest draw of the file; 0 when there is none."""
    (found,) = db.execute("SELECT coalesce(max(number), 0) FROM draw").fetchone()
    return int(found)


def add_draws(db: sqlite3.Connection, draws: Iterable[NewDraw]) -> None:
    """Store new draws under the next numbers; to be called inside a transaction."""
    for draw in draws:
        bare = msgspec.structs.replace(draw, taken=_bare(draw.taken), rest=_bare(draw.rest))
        frozen = msgspec.json.encode(bare).decode()
        insert = "INSERT INTO draw (job, rule, frozen) VALUES (?, ?, ?)"
        number = db.execute(insert, (draw.job, draw.measured.rule, frozen)).lastrowid
        db.executemany(
            "INSERT INTO draw_position VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((number, name.value, *position) for name in PartName for position in _positions(draw.part(name))),
        )


def read_draw(db: sqlite3.Connection, number: int) -> Draw | None:
    """The draw with this number; None when there is none."""
    row = db.execute("SELECT frozen FROM draw WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    frozen = msgspec.json.decode(row[0], type=NewDraw)
    parts = {
        name.value: msgspec.structs.replace(frozen.part(name), positions=_read(db, number, name)) for name in PartName
    }
    return Draw(number=number, **{**msgspec.structs.asdict(frozen), **parts})


def newest_draws(db: sqlite3.Connection, job: str) -> list[Draw]:
    """The newest draw of each rule of a job, by the number of the rule."""
    query = "SELECT max(number) FROM draw WHERE job = ? GROUP BY rule ORDER BY rule"
    numbers = [number for (number,) in db.execute(query, (job,)).fetchall()]
    return [draw for number in numbers if (draw := read_draw(db, number)) is not None]


def _bare(part: DrawnPart) -> DrawnPart:
    return DrawnPart(images=part.images)


def _positions(part: DrawnPart) -> Iterator[tuple[object, ...]]:
    for number, image in enumerate(part.positions, 1):
        yield number, image.bucket, image.key, image.etag, image.size_bytes, image.score


def _read(db: sqlite3.Connection, number: int, name: PartName) -> Sequence[DrawnImage]:
    query = (
        "SELECT bucket, key, etag, size_bytes, score FROM draw_position WHERE draw = ? AND part = ? ORDER BY position"
    )
    return tuple(
        DrawnImage(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes, score=score)
        for bucket, key, etag, size_bytes, score in db.execute(query, (number, name.value))
    )
