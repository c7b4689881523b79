"""What readers and writers ask of an answers file, in bulk: a page of a thousand keys is a handful of statements.

Every query names the serial up to which rows count. Subjects and contents that later rows brought do not exist for it,
so that rows written meanwhile do not change its result.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from asyncfilter.answers.schema import ID, MERGED
from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.errors import UNREADABLE_ROW, CorruptRowError
from asyncfilter.policy.answers.identity import Images, marks_of
from asyncfilter.records.answers import (
    Answer,
    AskedAs,
    How,
    ImageRows,
    LabelledBox,
    PersonVerdict,
    Saw,
    Subject,
)

_SUBJECT = "subject.id, bucket, key, etag, size_bytes, CASE WHEN content_since <= ? THEN content END"
_ROW = (
    "serial, uid, subject, reviewer.name, at_unix_s, verdict, labels, boxes, note, shown_ms, how, asked_as, blind, "
    "saw, undoes FROM answer JOIN reviewer ON reviewer.id = answer.reviewer"
)
_BATCH = 500
"""Images of ``all_images`` whose rows are held at a time."""


class FoundSubject(NamedTuple):
    """A row of ``subject``."""

    id: int
    subject: Subject


def file_id(db: sqlite3.Connection) -> str:
    """The id of the file."""
    (found,) = db.execute("SELECT value FROM setting WHERE key = ?", (ID,)).fetchone()
    return str(found)


def format_of(db: sqlite3.Connection) -> int:
    """The format of the file, from 1."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def merged_ids(db: sqlite3.Connection) -> frozenset[str]:
    """The ids of files that were merged into this one."""
    row = db.execute("SELECT value FROM setting WHERE key = ?", (MERGED,)).fetchone()
    try:
        return frozenset() if row is None else frozenset(msgspec.json.decode(row[0], type=list[str]))
    except (TypeError, *UNREADABLE_ROW) as exc:
        raise CorruptRowError(f"{MERGED} of setting: {exc}") from exc


def last_serial(db: sqlite3.Connection) -> int:
    """The serial of the newest row; 0 when there is none."""
    (found,) = db.execute("SELECT coalesce(max(serial), 0) FROM answer").fetchone()
    return int(found)


def count_rows(db: sqlite3.Connection, after: int, *, up_to: int) -> int:
    """How many rows have a serial with ``after < serial <= up_to``."""
    (found,) = db.execute("SELECT count(*) FROM answer WHERE serial > ? AND serial <= ?", (after, up_to)).fetchone()
    return int(found)


def count_subjects(db: sqlite3.Connection, *, up_to: int) -> int:
    """How many versions of objects have a row with a serial of at most ``up_to``."""
    (found,) = db.execute("SELECT count(*) FROM subject WHERE since <= ?", (up_to,)).fetchone()
    return int(found)


# -- Images ------------------------------------------------------------------------------------------------------------


def images_of(db: sqlite3.Connection, objects: Sequence[Subject], *, up_to: int) -> list[ImageRows | None]:
    """What is known about the image of each of ``objects``, in their order; None where there is no row about it.

    An object's own content and ETag count, also where the file does not have them.
    """
    marks = [tuple(marks_of(one)) for one in objects]
    found = _connected(db, {mark for these in marks for mark in these}, up_to)
    images = Images(one.subject for one in found)
    # Usually one image; an object that is the same as several, not yet known to be one, connects them.
    wanted = [images.with_marks(these) for these in marks]
    rows = _rows_of(db, found, up_to)
    members: dict[int, list[int]] = {}
    for number in range(len(found)):
        members.setdefault(images.image_of(number), []).append(number)
    made: dict[frozenset[int], ImageRows | None] = {}
    for those in wanted:
        if those not in made:
            numbers = sorted(number for image in those for number in members[image])
            made[those] = _image([found[number] for number in numbers], rows)
    return [made[those] for those in wanted]


def all_images(db: sqlite3.Connection, *, up_to: int) -> Iterator[ImageRows]:
    """Every image with a row, by its first subject; the subjects are held, and the rows of a few images at a time."""
    query = f"SELECT {_SUBJECT} FROM subject WHERE since <= ? ORDER BY subject.id"  # noqa: S608  constants
    found = [_subject(row) for row in db.execute(query, (up_to, up_to))]
    images = Images(one.subject for one in found)
    members: dict[int, list[FoundSubject]] = {}
    for number, one in enumerate(found):
        members.setdefault(images.image_of(number), []).append(one)
    for some in sql.chunks(list(members.values()), _BATCH):
        rows = _rows_of(db, [one for group in some for one in group], up_to)
        for group in some:
            if (image := _image(group, rows)) is not None:
                yield image


def images_since(db: sqlite3.Connection, after: int, *, up_to: int, limit: int) -> list[tuple[int, ImageRows]]:
    """Up to ``limit`` images with a row in ``after < serial <= up_to``, each with the serial of its first such row."""
    found: dict[frozenset[Subject], tuple[int, ImageRows]] = {}
    at = after
    while len(found) < limit:
        query = (
            f"SELECT serial, {_SUBJECT} FROM answer JOIN subject ON subject.id = answer.subject "  # noqa: S608  constants
            "WHERE serial > ? AND serial <= ? ORDER BY serial LIMIT ?"
        )
        new = db.execute(query, (up_to, at, up_to, limit)).fetchall()
        if not new:
            break
        at = new[-1][0]
        images = images_of(db, [_subject(row[1:]).subject for row in new], up_to=up_to)
        for (serial, *_), image in zip(new, images, strict=True):
            if image is not None and len(found) < limit:
                found.setdefault(frozenset(image.subjects), (serial, image))
    return list(found.values())


def _image(subjects: Sequence[FoundSubject], rows: dict[int, list[Answer]]) -> ImageRows | None:
    these = sorted((row for one in subjects for row in rows.get(one.id, ())), key=lambda row: row.serial)
    if not these:
        return None
    return ImageRows(subjects=tuple(one.subject for one in subjects), rows=tuple(these))


# -- Subjects ----------------------------------------------------------------------------------------------------------


def _connected(db: sqlite3.Connection, marks: set[Any], up_to: int) -> list[FoundSubject]:
    """The subjects that share one of ``marks`` with an object, directly or through others, by id."""
    found: dict[int, FoundSubject] = {}
    asked: set[Any] = set()
    while marks:
        asked |= marks
        new = {one.id: one for one in _with_marks(db, marks, up_to) if one.id not in found}
        found |= new
        marks = {mark for one in new.values() for mark in marks_of(one.subject)} - asked
    return [found[id_] for id_ in sorted(found)]


def _with_marks(db: sqlite3.Connection, marks: Iterable[Any], up_to: int) -> Iterator[FoundSubject]:
    """The subjects that share one of ``marks`` (see ``identity``), some of them more than once."""
    columns = {4: _NAME, 2: _NAME[2:], 1: ("content",)}
    wanted: dict[int, list[tuple[Any, ...]]] = {width: [] for width in columns}
    for mark in marks:
        values = mark if isinstance(mark, tuple) else (mark,)
        wanted[len(values)].append(values)
    for width, these in wanted.items():
        yield from _joined(db, these, columns[width], up_to)


_NAME = ("bucket", "key", "etag", "size_bytes")


def _joined(
    db: sqlite3.Connection, wanted: Sequence[tuple[Any, ...]], columns: Sequence[str], up_to: int
) -> Iterator[FoundSubject]:
    """The subjects whose ``columns`` are one of ``wanted``."""
    # CROSS: the values are the outer loop, so that each is found by the index.
    on = " AND ".join(f"subject.{column} = wanted.column{number + 1}" for number, column in enumerate(columns))
    for clause, parameters in sql.values(wanted):
        query = f"SELECT {_SUBJECT} FROM ({clause}) AS wanted CROSS JOIN subject ON {on} AND since <= ?"  # noqa: S608
        for row in db.execute(query, (up_to, *parameters, up_to)):
            found = _subject(row)
            if columns != ("content",) or found.subject.content is not None:
                yield found


def _subject(row: Sequence[Any]) -> FoundSubject:
    id_, bucket, key, etag, size_bytes, content = row
    texts = (bucket, key, etag) if content is None else (bucket, key, etag, content)
    if not (all(type(text) is str for text in texts) and type(size_bytes) is int):
        raise CorruptRowError(f"row {id_} of subject: a value is of another type")
    return FoundSubject(id_, Subject(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes, content=content))


# -- Rows --------------------------------------------------------------------------------------------------------------


def rows_with(db: sqlite3.Connection, uids: Sequence[str]) -> dict[str, Answer]:
    """The rows with these uids, those that exist, by uid."""
    found: dict[str, Answer] = {}
    for some in sql.chunks(uids, sql.VALUES_PER_STATEMENT):
        query = f"SELECT {_ROW} WHERE uid IN ({sql.marks(len(some))})"
        rows = db.execute(query, list(some)).fetchall()
        subjects = _by_id(db, {row[2] for row in rows})
        found.update((row[1], _answer(row, subjects)) for row in rows)
    return found


def all_rows(db: sqlite3.Connection, *, after: int = 0, up_to: int, batch: int = 1000) -> Iterator[Answer]:
    """Every row with ``after < serial <= up_to``, undo rows too, by serial; a batch is held at a time."""
    at = after
    while rows := db.execute(
        f"SELECT {_ROW} WHERE serial > ? AND serial <= ? ORDER BY serial LIMIT ?",
        (at, up_to, batch),
    ).fetchall():
        at = rows[-1][0]
        subjects = _by_id(db, {row[2] for row in rows})
        for row in rows:
            yield _answer(row, subjects)


def _by_id(db: sqlite3.Connection, ids: Collection[int]) -> dict[int, Subject]:
    if not all(type(one) is int for one in ids):
        raise CorruptRowError("subject of answer is no number")
    found: dict[int, Subject] = {}
    for some in sql.chunks(sorted(ids), sql.VALUES_PER_STATEMENT):
        query = f"SELECT id, bucket, key, etag, size_bytes, content FROM subject WHERE id IN ({sql.marks(len(some))})"  # noqa: S608
        found.update(_subject(row) for row in db.execute(query, list(some)))
    return found


def _rows_of(db: sqlite3.Connection, subjects: Sequence[FoundSubject], up_to: int) -> dict[int, list[Answer]]:
    """The rows about each of ``subjects``, by its id."""
    by_id = dict(subjects)
    found: dict[int, list[Answer]] = {}
    for some in sql.chunks(list(by_id), sql.VALUES_PER_STATEMENT):
        query = f"SELECT {_ROW} WHERE subject IN ({sql.marks(len(some))}) AND serial <= ?"
        for row in db.execute(query, (*some, up_to)):
            found.setdefault(row[2], []).append(_answer(row, by_id))
    return found


_VERDICTS: dict[str | None, PersonVerdict | None] = {None: None, **{str(one): one for one in PersonVerdict}}
_HOW = {str(one): one for one in How}
_ASKED_AS = {str(one): one for one in AskedAs}
_labels = msgspec.json.Decoder(tuple[str, ...])
_boxes = msgspec.json.Decoder(tuple[LabelledBox, ...])
_saw = msgspec.json.Decoder(Saw)


def _answer(row: Sequence[Any], subjects: dict[int, Subject]) -> Answer:
    (
        serial,
        uid,
        subject,
        reviewer,
        at_unix_s,
        verdict,
        labels,
        boxes,
        note,
        shown_ms,
        how,
        asked_as,
        blind,
        saw,
        undoes,
    ) = row
    texts = (uid, reviewer, *(text for text in (note, undoes) if text is not None))
    is_sound = all(type(text) is str for text in texts) and type(at_unix_s) is float
    if not (is_sound and type(blind) is int and (shown_ms is None or type(shown_ms) is int)):
        raise CorruptRowError(f"row {serial} of answer: a value is of another type")
    try:
        return Answer(
            serial=serial,
            uid=uid,
            subject=subjects[subject],
            reviewer=reviewer,
            at_unix_s=at_unix_s,
            verdict=_VERDICTS[verdict],
            labels=None if labels is None else _labels.decode(labels),
            boxes=None if boxes is None else _boxes.decode(boxes),
            note=note,
            shown_ms=shown_ms,
            how=_HOW[how],
            asked_as=_ASKED_AS[asked_as],
            blind=bool(blind),
            saw=None if saw is None else _saw.decode(saw),
            undoes=undoes,
        )
    except (KeyError, TypeError, *UNREADABLE_ROW) as exc:
        raise CorruptRowError(f"row {serial} of answer: {exc}") from exc
