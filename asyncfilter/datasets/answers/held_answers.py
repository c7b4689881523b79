"""The answers of one file between reading and writing: on disk, so that memory stays flat, in the order of writing.

Conflicts show only when all of a file was read: one person says different things about one image, and no times tell
which is the later. Then none of these is taken; where times tell, the answers are put into their order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from asyncfilter.datasets.answers.uids import image_digest, uid_of, words_digest
from asyncfilter.datasets.answers.units import Said
from asyncfilter.records.answers import NewAnswer, PersonVerdict, Subject

_TABLE = """
CREATE TABLE held (
  number INTEGER PRIMARY KEY,
  place INTEGER NOT NULL,
  image BLOB NOT NULL,
  at REAL,
  verdict TEXT,
  verdict_words BLOB,
  label_words BLOB,
  box_words BLOB,
  uid TEXT NOT NULL,
  keeps_uid INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  said BLOB NOT NULL
)
"""
_NEW_TABLE = "CREATE TABLE new_row (number INTEGER PRIMARY KEY, row BLOB NOT NULL)"
_WORDS = ("verdict_words", "label_words", "box_words")
_CONFLICTING = 1


class HeldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer whose image is known.

    Attributes:
        number: Of its unit, from 1.
        said: What it says.
        subject: The image.
        reviewer: Whose it is.
        uid: The uid that its row will have.
    """

    number: int
    said: Said
    subject: Subject
    reviewer: str
    uid: str


class NextAnswer(NamedTuple):
    """An answer in the order of writing.

    Attributes:
        answer: It.
        is_repeated: Whether an earlier one of the file has its uid.
        is_conflicting: Whether it is not taken.
        former: What the person said about the image earlier in the file; None where that is nothing.
    """

    answer: HeldAnswer
    is_repeated: bool
    is_conflicting: bool
    former: PersonVerdict | None


class HeldAnswers:
    """Holds answers; ``close`` ends it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(_TABLE)
        self._db.execute(_NEW_TABLE)
        self._db.execute("BEGIN")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(HeldAnswer).decode
        self._decode_row = msgspec.msgpack.Decoder(NewAnswer).decode

    def add(self, number: int, said: Said, subject: Subject, reviewer: str) -> None:
        """Hold an answer; numbers rise."""
        own_uid = said.uid if said.keeps_uid else None
        answer = HeldAnswer(
            number=number,
            said=said,
            subject=subject,
            reviewer=reviewer,
            uid=own_uid or uid_of(said, subject, reviewer),
        )
        self._db.execute(
            "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                number,
                number,
                image_digest(subject, reviewer),
                said.at_unix_s,
                said.verdict,
                *map(words_digest, (said.verdict, said.labels, said.boxes)),
                answer.uid,
                own_uid is not None,
                self._encode(answer),
            ),
        )

    def settle(self) -> None:
        """Find conflicts, and put what is told apart by its times into their order; to be called once."""
        self._db.execute("CREATE INDEX held_image ON held (image)")
        differing = " OR ".join(f"count(DISTINCT {words}) > 1" for words in _WORDS)
        query = f"SELECT image FROM held WHERE NOT keeps_uid GROUP BY image HAVING {differing}"  # noqa: S608  constants
        for (image,) in self._db.execute(query).fetchall():
            self._settle_image(image)
        self._db.execute("CREATE INDEX held_uid ON held (uid, place)")
        self._db.execute("CREATE INDEX held_place ON held (place)")
        self._db.execute("CREATE INDEX held_former ON held (image, place)")

    def in_order(self) -> Iterator[NextAnswer]:
        """All answers, in the order of writing."""
        query = """
            SELECT said, state,
              EXISTS (SELECT 1 FROM held AS same WHERE same.uid = held.uid AND same.place < held.place
                      AND same.state = 0),
              (SELECT former.verdict FROM held AS former WHERE former.image = held.image AND former.place < held.place
               AND former.verdict IS NOT NULL AND former.state = 0 ORDER BY former.place DESC LIMIT 1)
            FROM held ORDER BY place
        """
        for said, state, is_repeated, former in self._db.execute(query):
            yield NextAnswer(
                self._decode(said),
                bool(is_repeated),
                state == _CONFLICTING,
                None if former is None else PersonVerdict(former),
            )

    # -- Rows that are to be written

    def forget_rows(self) -> None:
        """Forget the rows of ``add_rows``."""
        self._db.execute("DELETE FROM new_row")

    def add_rows(self, rows: Iterable[NewAnswer]) -> None:
        """Hold rows for an answers file."""
        self._db.executemany("INSERT INTO new_row (row) VALUES (?)", ((self._encode(row),) for row in rows))

    def rows(self) -> Iterator[NewAnswer]:
        """The rows of ``add_rows``, in their order."""
        for (row,) in self._db.execute("SELECT row FROM new_row ORDER BY number"):
            yield self._decode_row(row)

    def close(self) -> None:
        """Forget all answers."""
        self._db.close()

    def _settle_image(self, image: bytes) -> None:
        query = (
            f"SELECT number, at, {', '.join(_WORDS)} FROM held "  # noqa: S608  constants
            "WHERE image = ? AND NOT keeps_uid ORDER BY number"
        )
        rows = self._db.execute(query, (image,)).fetchall()
        if not all(_is_told_apart([(at, words[part]) for _, at, *words in rows]) for part in range(len(_WORDS))):
            self._db.executemany("UPDATE held SET state = ? WHERE number = ?", [(_CONFLICTING, row[0]) for row in rows])
            return
        places = [row[0] for row in rows]
        by_time = sorted(rows, key=lambda row: (row[1] is None, row[1] or 0.0, row[0]))
        self._db.executemany(
            "UPDATE held SET place = ? WHERE number = ?",
            [(place, row[0]) for place, row in zip(places, by_time, strict=True)],
        )


def _is_told_apart(words: Sequence[tuple[float | None, bytes | None]]) -> bool:
    """Whether the latest of some words can be told, which are of one kind, each with its time."""
    said = [(at, word) for at, word in words if word is not None]
    if len({word for _, word in said}) < 2:
        return True
    times = [at for at, _ in said if at is not None]
    if len(times) < len(said):
        return False
    return len({word for at, word in said if at == max(times)}) == 1
