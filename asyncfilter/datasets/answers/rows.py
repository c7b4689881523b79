"""Answers as JSON Lines that lose nothing: every row of an answers file, in one order of members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from asyncfilter.datasets.answers.json_lines import json_lines
from asyncfilter.datasets.answers.units import Address, Left, ReadNotes, Reject, Said, SkipReason, Unit
from asyncfilter.datasets.answers.words import moment_text, moment_unix_s
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.datasets.manifests.line_form import encode_line
from asyncfilter.datasets.manifests.physical_lines import ByteSink
from asyncfilter.policy.answers.checks import (
    MAX_BOXES,
    BadAnswerError,
    checked_box,
    checked_labels,
    checked_note,
    checked_reviewer,
    checked_subject,
    checked_uid,
)
from asyncfilter.records.answers import Answer, AskedAs, How, LabelledBox, NewAnswer, PersonVerdict, Saw, Subject

_MOST_MS = 2**53


def row_mapping(row: NewAnswer) -> dict[str, Any]:
    """A row as all results have it."""
    subject = row.subject
    return {
        "uid": row.uid,
        "reviewer": row.reviewer,
        "at": moment_text(row.at_unix_s),
        "bucket": subject.bucket,
        "key": subject.key,
        "etag": subject.etag,
        "size_bytes": subject.size_bytes,
        "content": subject.content,
        "verdict": row.verdict,
        "labels": row.labels,
        "boxes": row.boxes,
        "note": row.note,
        "shown_ms": row.shown_ms,
        "how": row.how,
        "asked_as": row.asked_as,
        "blind": row.blind,
        "saw": row.saw,
        "undoes": row.undoes,
    }


def write_rows(rows: Iterable[Answer], out: ByteSink) -> int:
    """Write a line for each row; returns their number."""
    lines = 0
    for row in rows:
        out.write(encode_line(row_mapping(row)))
        lines += 1
    return lines


# -- Reading -----------------------------------------------------------------------------------------------------------


class _BadRowError(Exception):
    """A line cannot be used; the message says why."""


def read_rows(stream: BinaryIO, notes: ReadNotes) -> Iterator[Unit]:
    """The units of a file: its lines."""
    for number, found in json_lines(stream):
        if found is None:
            yield Left(number, SkipReason.BLANK)
        elif isinstance(found, str):
            yield Left(number, Reject.BAD_LINE, f"the line {found}")
        else:
            key = found.get("key")
            key = key if isinstance(key, str) else None
            try:
                yield _said(number, _Members(found), notes)
            except _BadRowError as error:
                yield Left(number, Reject.BAD_LINE, str(error), key=key)
            except BadAnswerError as error:
                yield Left(number, Reject.BAD_LINE, error.message, key=key)


class _Members:
    """The members of a line, each of its type or null."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def text(self, name: str) -> str | None:
        """A text."""
        found: str | None = self._of(name, str, "a text")
        return found

    def flag(self, name: str) -> bool:
        """True or false; false where it is missing."""
        return bool(self._of(name, bool, "true or false"))

    def whole(self, name: str) -> int | None:
        """A whole number of at least 0."""
        found: int | None = self._of(name, int, "a whole number")
        if found is not None and (isinstance(found, bool) or not 0 <= found <= _MOST_MS):
            raise _BadRowError(f"{name} is {kind_of(found)}")
        return found

    def moment(self, name: str) -> float | None:
        """A moment."""
        found = self._found.get(name)
        moment = moment_unix_s(found)
        if found is not None and moment is None:
            raise _BadRowError(f"{name} is {kind_of(found)}, not a time in ISO 8601")
        return moment

    def converted(self, name: str, kind: Any) -> Any:  # noqa: ANN401  a type
        """A member of a type that msgspec knows."""
        found = self._found.get(name)
        if found is None:
            return None
        try:
            return msgspec.convert(found, kind)
        except (msgspec.ValidationError, RecursionError) as error:
            raise _BadRowError(f"{name}: {error}") from error

    def _of(self, name: str, kind: type, what: str) -> Any:  # noqa: ANN401  JSON
        found = self._found.get(name)
        if found is not None and not isinstance(found, kind):
            raise _BadRowError(f"{name} is {kind_of(found)}, not {what}")
        return found


def _said(number: int, members: _Members, notes: ReadNotes) -> Said:
    key, bucket, etag = members.text("key"), members.text("bucket"), members.text("etag")
    if not key:
        raise _BadRowError("there is no key")
    size_bytes, content, uid = members.whole("size_bytes"), members.text("content"), members.text("uid")
    checked_subject(Subject(bucket=bucket or "", key=key, etag=etag or "", size_bytes=size_bytes or 0, content=content))
    reviewer, undoes = members.text("reviewer"), members.text("undoes")
    said = Said(
        at=number,
        images=(Address(bucket, key),),
        etag=None if etag is None else etag.strip('"'),
        size_bytes=size_bytes,
        content=content,
        reviewer=None if reviewer is None else checked_reviewer(reviewer),
        at_unix_s=members.moment("at"),
        verdict=members.converted("verdict", PersonVerdict),
        labels=_labels(members),
        boxes=_boxes(members, notes),
        note=checked_note(members.text("note")),
        uid=None if uid is None else checked_uid(uid),
        keeps_uid=uid is not None,
        shown_ms=members.whole("shown_ms"),
        how=members.converted("how", How) or How.IMPORT,
        asked_as=members.converted("asked_as", AskedAs) or AskedAs.DECIDE,
        blind=members.flag("blind"),
        saw=_saw(members),
        undoes=None if undoes is None else checked_uid(undoes),
    )
    _check(said)
    return said


def _check(said: Said) -> None:
    """Check that a row says something that a row can say.

    A row of ours, which has its uid, may have a note alone.

    Raises:
        _BadRowError: It does not.
    """
    says = any(part is not None for part in (said.verdict, said.labels, said.boxes))
    has_note = said.note is not None and said.keeps_uid
    if not says and said.undoes is None and not has_note:
        raise _BadRowError("neither verdict, labels, boxes nor undoes")
    if says and said.undoes is not None:
        raise _BadRowError("a row that takes another one back says nothing besides")


def _labels(members: _Members) -> tuple[str, ...] | None:
    found = members.converted("labels", list[str])
    return None if found is None else checked_labels(found)


def _boxes(members: _Members, notes: ReadNotes) -> tuple[LabelledBox, ...] | None:
    found = members.converted("boxes", list[LabelledBox])
    if found is None:
        return None
    if len(found) > MAX_BOXES:
        raise _BadRowError(f"{len(found):,} boxes, {MAX_BOXES:,} are taken")
    checked = [checked_box(box.label, left=box.left, top=box.top, width=box.width, height=box.height) for box in found]
    notes.boxes["clamped"] += sum(one.is_clamped and one.box is not None for one in checked)
    notes.boxes["too_small"] += sum(one.box is None for one in checked)
    return tuple(one.box for one in checked if one.box is not None)


def _saw(members: _Members) -> Saw | None:
    found: Saw | None = members.converted("saw", Saw)
    if found is not None and found.score is not None and not is_number(found.score):
        raise _BadRowError("saw: score is no finite number")
    return found
