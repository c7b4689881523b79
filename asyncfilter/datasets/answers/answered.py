"""Subjects with a current answer, in the order of an export: by bucket and key, held on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from asyncfilter.policy.answers.fold import counting_rows, fold
from asyncfilter.policy.answers.identity import name_of
from asyncfilter.records.answers import Answer, CurrentAnswer, ImageRows, Subject

_TABLE = """
CREATE TABLE answered (
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  image BLOB NOT NULL,
  PRIMARY KEY (bucket, key, etag, size_bytes)
) WITHOUT ROWID
"""


class AnsweredSubject(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object with a current answer.

    Attributes:
        subject: It.
        rows: What was said about the image, by serial.
        current: What that folds to.
    """

    subject: Subject
    rows: tuple[Answer, ...]
    current: CurrentAnswer

    @property
    def note(self) -> str | None:
        """The newest note that counts."""
        return next((row.note for row in reversed(counting_rows(self.rows)) if row.note is not None), None)


class AnsweredSubjects:
    """Holds the subjects that have a current answer; ``close`` ends it.

    Args:
        images: All that was said.
        reviewer: Only what this person said counts; None for everybody.
    """

    def __init__(self, images: Iterable[ImageRows], reviewer: str | None = None) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._decode = msgspec.msgpack.Decoder(AnsweredSubject).decode
        self.count = 0
        try:
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute(_TABLE)
            self._db.execute("BEGIN")
            for image in images:
                self._add(image, reviewer)
        except BaseException:  # images come from a file
            self.close()
            raise

    def __iter__(self) -> Iterator[AnsweredSubject]:
        for (held,) in self._db.execute("SELECT image FROM answered ORDER BY bucket, key, etag, size_bytes"):
            yield self._decode(held)

    def has(self, subject: Subject) -> bool:
        """Whether this version of an object is among them."""
        query = "SELECT 1 FROM answered WHERE bucket = ? AND key = ? AND etag = ? AND size_bytes = ?"
        return self._db.execute(query, name_of(subject)).fetchone() is not None

    def close(self) -> None:
        """Forget them."""
        self._db.close()

    def _add(self, image: ImageRows, reviewer: str | None) -> None:
        rows = said_by(image.rows, reviewer)
        current = fold(rows)
        if current is None:
            return
        for subject in image.subjects:
            held = AnsweredSubject(subject=subject, rows=rows, current=current)
            values = (*name_of(subject), msgspec.msgpack.encode(held))
            self._db.execute("INSERT INTO answered VALUES (?, ?, ?, ?, ?)", values)
            self.count += 1


def said_by(rows: Sequence[Answer], reviewer: str | None) -> tuple[Answer, ...]:
    """The rows of a person; those of everybody for None."""
    return tuple(row for row in rows if reviewer is None or row.reviewer == reviewer)
