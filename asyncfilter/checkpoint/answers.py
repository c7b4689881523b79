"""The table ``answer``: what people say about images, as it was taken over from an answers file.

It exists from the first answer on (format 2). Before that nothing is read or written here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.schema import ANSWERS_FORMAT, add_answers, format_of
from asyncfilter.checkpoint.sql import VALUES_PER_STATEMENT, Row, chunks, insert, marks
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict, LabelledBox
from asyncfilter.records.progress import Batch

_LABELS = msgspec.json.Decoder(tuple[str, ...])
_BOXES = msgspec.json.Decoder(tuple[LabelledBox, ...])


def read_answers(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, CurrentAnswer]:
    """The answers about the images with these ids, by id, in a file that has answers.

    Raises:
        CorruptRowError: An answer cannot have been stored like this.
    """
    found: dict[int, CurrentAnswer] = {}
    columns = "image, serial, verdict, labels, boxes, reviewer, at_unix_s"
    for some in chunks(ids, VALUES_PER_STATEMENT):
        query = f"SELECT {columns} FROM answer WHERE image IN ({marks(len(some))})"  # noqa: S608  only marks
        found.update((row[0], _answer(row)) for row in db.execute(query, some))
    return found


def has_answers(db: sqlite3.Connection) -> bool:
    """Whether a file has answers."""
    return format_of(db) >= ANSWERS_FORMAT


def write_answers(db: sqlite3.Connection, batch: Batch, *, is_first: bool) -> bool:
    """Store the answers about the images of a batch, in place of older ones; to be called inside its transaction.

    Args:
        db: The file.
        batch: What is written.
        is_first: Whether the file has no answers yet.

    Returns:
        Whether it has answers now.
    """
    said = [image for image in (*batch.new, *batch.positioned) if image.answer is not None]
    if is_first:
        if not said and batch.answers is None:
            return False
        add_answers(db)
    for some in chunks([image.id for image in batch.positioned], VALUES_PER_STATEMENT):
        db.execute(f"DELETE FROM answer WHERE image IN ({marks(len(some))})", some)  # noqa: S608  only marks
    insert(db, "INSERT INTO answer", [_row(image.id, image.answer) for image in said if image.answer is not None])
    return True


def _row(image: int, answer: CurrentAnswer) -> Row:
    """The values of an answer, in the order of the table's columns."""
    verdict = None if answer.verdict is None else answer.verdict.value
    labels, boxes = _json(answer.labels), _json(answer.boxes)
    return image, answer.serial, verdict, labels, boxes, answer.reviewer, answer.at_unix_s


def _answer(row: Row) -> CurrentAnswer:
    """The answer whose stored values are ``row``; the inverse of ``_row``."""
    image, serial, verdict, labels, boxes, reviewer, at_unix_s = row
    try:
        return CurrentAnswer(
            serial=serial,
            verdict=None if verdict is None else CurrentVerdict(verdict),
            labels=None if labels is None else _LABELS.decode(labels),
            boxes=None if boxes is None else _BOXES.decode(boxes),
            reviewer=reviewer,
            at_unix_s=at_unix_s,
        )
    except (ValueError, TypeError) as exc:
        raise CorruptRowError(f"the answer about image {image} is not valid: {exc}") from exc


def _json(values: Sequence[object] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values).decode()
