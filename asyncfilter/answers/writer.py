"""Adding rows to an answers file: durable before the call returns, and a repetition changes nothing.

For one thread at a time. Transactions are short: the lock of writers is not held while waiting.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from asyncfilter.answers import queries
from asyncfilter.answers.errors import sqlite_translated, translated
from asyncfilter.answers.file import begin, open_writing, real_path
from asyncfilter.answers.schema import MERGED
from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.transaction import committed
from asyncfilter.policy.answers.checks import BadAnswerError, checked_answer
from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import Answer, ImageRows, NewAnswer, Subject

_ANSWER = (
    "INSERT INTO answer (serial, uid, subject, reviewer, at_unix_s, verdict, labels, boxes, note, shown_ms, how, "
    "asked_as, blind, saw, undoes)"
)


def new_uid() -> str:
    """A uid for a new row, which no other row has."""
    return secrets.token_hex(16)


class Stored(NamedTuple):
    """A row that is in the file now.

    Attributes:
        uid: Its uid.
        serial: Its serial.
        is_new: False when a row with this uid was there already, which was left as it was.
    """

    uid: str
    serial: int
    is_new: bool


class AnswersFile:
    """An answers file that is open for writing; ``open_answers`` makes it, ``close`` or a ``with`` block ends it.

    Args:
        path: The file, without links.
        db: A connection in autocommit mode.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def add(self, rows: Sequence[NewAnswer]) -> list[Stored]:
        """Add rows in one transaction, which is on disk when this returns; see ``Writing.add``.

        Raises:
            BadAnswerError: A row is not what it may be; nothing was written.
            AnswersLockedError: Another program kept the file locked; nothing was written.
            AnswersError: The file cannot be written.
        """
        with self.transaction() as writing:
            return writing.add(rows)

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        """A transaction: durable when the block ends, without effect after an exception.

        Nothing changes in the file between what the block reads and what it writes.

        Raises:
            AnswersLockedError: Another program kept the file locked.
            AnswersError: The file cannot be read or written.
        """
        with sqlite_translated(self._path), committed(self._db, begin):
            yield Writing(self._db)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with translated(self._path):
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_answers(path: Path) -> AnswersFile:
    """Open the answers file at ``path`` for writing; it and its folder are created where they are missing.

    Raises:
        AnswersError: It cannot be used, and was left as it is.
    """
    path = real_path(path)
    return AnswersFile(path, open_writing(path))


class Writing:
    """An open transaction on an answers file; made by ``AnswersFile.transaction``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._next = self.last_serial + 1

    @property
    def last_serial(self) -> int:
        """The serial of the newest row, those of this transaction among them; 0 when there is none."""
        return queries.last_serial(self.db)

    def images_of(self, objects: Sequence[Subject]) -> list[ImageRows | None]:
        """All that is known about the image of each of ``objects``, in their order; None where no row is about it."""
        return queries.images_of(self.db, objects, up_to=self.last_serial)

    def rows_with(self, uids: Sequence[str]) -> dict[str, Answer]:
        """The rows with these uids, those that exist, by uid."""
        return queries.rows_with(self.db, uids)

    def add(self, rows: Sequence[NewAnswer]) -> list[Stored]:
        """Add rows, in their order.

        A uid that is there already, in the file or earlier in ``rows``, changes nothing. A row that takes another one
        back is about the same subject as that one.

        Returns:
            Where each row is now, in their order.

        Raises:
            BadAnswerError: A row is not what it may be (see ``checks``), or takes back one that is not there
                (``unknown_uid``) or another person's (``not_yours``).
        """
        checked = [checked_answer(row) for row in rows]
        stored = self.rows_with([row.uid for row in checked])
        new: dict[str, NewAnswer] = {}
        for row in checked:
            if row.uid not in stored and row.uid not in new:
                new[row.uid] = row
        placed = self._with_subjects_of_taken_back(new)
        serials = {uid: number for number, uid in enumerate(placed, self._next)}
        self._insert(placed, serials)
        self._next += len(placed)
        first = set(placed)
        found: list[Stored] = []
        for uid in (row.uid for row in checked):
            found.append(Stored(uid, serials.get(uid) or stored[uid].serial, uid in first))
            first.discard(uid)
        return found

    def remember_merged(self, ids: Sequence[str]) -> None:
        """Note the ids of files that were merged into this one."""
        known = sorted({*queries.merged_ids(self.db), *ids} - {queries.file_id(self.db)})
        if known:
            value = msgspec.json.encode(known).decode()
            self.db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (MERGED, value))

    def _with_subjects_of_taken_back(self, new: dict[str, NewAnswer]) -> dict[str, NewAnswer]:
        """``new`` by uid, each row that takes another one back with the subject of that one."""
        there: dict[str, NewAnswer] = dict(self.rows_with([row.undoes for row in new.values() if row.undoes]))
        found: dict[str, NewAnswer] = {}
        for uid, row in new.items():
            placed = row
            if row.undoes is not None:
                former = found.get(row.undoes) or there.get(row.undoes)
                if former is None:
                    raise BadAnswerError("unknown_uid", f"{uid} takes back {row.undoes}, which is not there")
                if former.reviewer != row.reviewer:
                    raise BadAnswerError(
                        "not_yours", f"{uid} of {row.reviewer} takes back {row.undoes} of {former.reviewer}"
                    )
                placed = msgspec.structs.replace(row, subject=former.subject)
            found[uid] = placed
        return found

    def _insert(self, rows: dict[str, NewAnswer], serials: dict[str, int]) -> None:
        subjects = self._subject_ids([(row.subject, serials[row.uid]) for row in rows.values()])
        reviewers = self._reviewer_ids([row.reviewer for row in rows.values()])
        values = [
            (
                serials[row.uid],
                row.uid,
                subjects[name_of(row.subject)],
                reviewers[row.reviewer],
                row.at_unix_s,
                row.verdict,
                _json(row.labels),
                _json(row.boxes),
                row.note,
                row.shown_ms,
                row.how,
                row.asked_as,
                int(row.blind),
                _json(row.saw),
                row.undoes,
            )
            for row in rows.values()
        ]
        sql.insert(self.db, _ANSWER, values)

    def _subject_ids(self, wanted: Sequence[tuple[Subject, int]]) -> dict[Name, int]:
        """Row ids of subjects by name; missing ones are added, and what was not known of their content is noted."""
        known = self._known_subjects(list(dict.fromkeys(name_of(subject) for subject, _ in wanted)))
        new: dict[Name, int] = {}
        contents: dict[Name, tuple[str, int]] = {}
        for subject, serial in wanted:
            name = name_of(subject)
            if name not in known:
                new.setdefault(name, serial)
            if subject.content is not None and known.get(name, (0, None))[1] is None:
                contents.setdefault(name, (subject.content, serial))
        into = "INSERT INTO subject (bucket, key, etag, size_bytes, since, content, content_since)"
        sql.insert(self.db, into, [(*name, since, *contents.pop(name, (None, None))) for name, since in new.items()])
        query = "UPDATE subject SET content = ?, content_since = ? WHERE id = ?"
        self.db.executemany(query, [(*content, known[name][0]) for name, content in contents.items()])
        return {name: id_ for name, (id_, _) in {**known, **self._known_subjects(list(new))}.items()}

    def _known_subjects(self, names: Sequence[Name]) -> dict[Name, tuple[int, str | None]]:
        """Row id and content of the subjects that exist, by name."""
        found: dict[Name, tuple[int, str | None]] = {}
        for clause, parameters in sql.values(names):
            query = (
                "SELECT id, bucket, key, etag, size_bytes, content FROM "  # noqa: S608  only marks
                f"({clause}) AS wanted CROSS JOIN subject ON bucket = column1 AND key = column2 AND etag = column3 "
                "AND size_bytes = column4"
            )
            for id_, bucket, key, etag, size_bytes, content in self.db.execute(query, parameters):
                found[bucket, key, etag, size_bytes] = (id_, content)
        return found

    def _reviewer_ids(self, names: Sequence[str]) -> dict[str, int]:
        wanted = list(dict.fromkeys(names))
        for some in sql.chunks(wanted, sql.VALUES_PER_STATEMENT):
            sql.insert(self.db, "INSERT OR IGNORE INTO reviewer (name)", [(name,) for name in some])
        found: dict[str, int] = {}
        for some in sql.chunks(wanted, sql.VALUES_PER_STATEMENT):
            query = f"SELECT name, id FROM reviewer WHERE name IN ({sql.marks(len(some))})"  # noqa: S608  only marks
            found.update(self.db.execute(query, list(some)))
        return found


def _json(value: Any) -> str | None:  # noqa: ANN401  whatever a column of JSON holds
    return None if value is None else msgspec.json.encode(value).decode()
