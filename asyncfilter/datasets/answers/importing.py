"""Importing a file of answers: the image of each unit, what is there already, and counts in which each unit is once.

Reading comes first (``add_all``), then the conflicts of the file (``settle``), then what is new beside the rows that
are there (``prepare``), which is all that a trial does, and then writing (``store``), in one transaction of the
caller's. Only that keeps other writers out; where one of them was faster, ``prepare`` is called again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import NamedTuple

import msgspec

from asyncfilter.datasets.answers.held_answers import HeldAnswer, HeldAnswers, NextAnswer
from asyncfilter.datasets.answers.known import KnownImages
from asyncfilter.datasets.answers.trial import Adding, Rows
from asyncfilter.datasets.answers.units import Left, Place, ReadNotes, Reject, RotatedBox, Said, Unit
from asyncfilter.policy.answers.fold import last_word
from asyncfilter.printable import is_text
from asyncfilter.records.answers import Answer, ImageRows, NewAnswer, PersonVerdict, Subject

MOST_PROBLEMS = 1_000
"""Problems that are kept; all are counted."""
_SAME_TIME_S = 0.001
_AT_ONCE = 500
"""Units that are looked up or written together."""

_PREPARED = (
    "imported", "repeated", "changed", "boxes_taken", "lost", "rejected", "reviewers", "_problems", "problems_total",
)  # fmt: skip
"""The counts of ``AnswerImport`` that depend on what is in the answers file."""

STALE, UNKNOWN, CONFLICTING, ROTATED = "stale", "unknown", "conflicting", "rotated"


class ImportProblem(NamedTuple):
    """Something that was not taken as it is in the file.

    Attributes:
        at: Where it stands.
        code: What it is.
        key: The image that it names.
        message: All of it, for people.
        number: Of its unit, from 1.
    """

    at: Place
    code: str
    key: str | None
    message: str
    number: int


class AnswerImport:
    """One import.

    Args:
        known: The images that answers may be about.
        reviewer: Whose all answers are; None for whom the file names.
        default_reviewer: Whose they are where it names nobody.
        now_unix_s: When they were given where it does not say.

    Attributes:
        notes: For the reader.
        read: How many units there are.
        imported: New rows; ``changed`` of these give another verdict than the person had given.
        repeated: Units whose row is there already.
        lost: Units that are stale, unknown or conflicting, by which of these.
        skipped: By code. Likewise ``rejected``.
        reviewers: Units that are imported or repeated, by reviewer.
        problems: The first of them, in the order of the file.
        problems_total: How many there are.
    """

    def __init__(self, *, known: KnownImages, reviewer: str | None, default_reviewer: str, now_unix_s: float) -> None:
        self._known, self._reviewer, self._default_reviewer = known, reviewer, default_reviewer
        self._now_unix_s = now_unix_s
        self._held = HeldAnswers()
        self.notes = ReadNotes(self._note_rotated)
        self.read = self.imported = self.repeated = self.changed = self.boxes_taken = 0
        self.lost: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.reviewers: Counter[str] = Counter()
        self._problems: list[ImportProblem] = []
        self.problems_total = 0
        self._settled: dict[str, object] = {}

    def close(self) -> None:
        """Forget what was read."""
        self._held.close()

    @property
    def matched(self) -> int:
        """Units whose image is known and whose words are taken: imported or repeated."""
        return self.imported + self.repeated

    @property
    def is_complete(self) -> bool:
        """Whether all was taken that was not left out on purpose."""
        return not self.lost.total() and not self.rejected.total()

    @property
    def problems(self) -> list[ImportProblem]:
        """The first problems, in the order of the file."""
        return sorted(self._problems, key=lambda problem: problem.number)

    # -- Reading -------------------------------------------------------------------------------------------------------

    def add_all(self, units: Iterable[Unit]) -> None:
        """Read units, and find their images."""
        numbered = self._numbered(units)
        while some := list(islice(numbered, _AT_ONCE)):
            said = [unit for _, unit in some if isinstance(unit, Said)]
            found = self._known.find([image.key for unit in said for image in unit.images if is_text(image.key)])
            for number, unit in some:
                if isinstance(unit, Said):
                    self._match(number, unit, found)
                else:
                    self._leave(number, unit)

    def settle(self) -> None:
        """Find what one person says twice in the file; to be called when all units were read."""
        self._held.settle()
        self._settled = self._counts()

    def _numbered(self, units: Iterable[Unit]) -> Iterator[tuple[int, Unit]]:
        for unit in units:
            self.read += 1
            yield self.read, unit

    def _leave(self, number: int, unit: Left) -> None:
        if unit.is_rejected:
            self.rejected[unit.code] += 1
            self._note(ImportProblem(unit.at, unit.code, unit.key, unit.message, number))
        else:
            self.skipped[unit.code] += 1

    def _match(self, number: int, said: Said, found: Mapping[str, Subject]) -> None:
        buckets = (None, self._known.bucket)
        here = [found[image.key] for image in said.images if image.bucket in buckets and image.key in found]
        subject = here[0] if here else None
        key = said.images[0].key
        if subject is None:
            self._lose(number, said.at, UNKNOWN, key, _unknown(said, self._known.bucket))
            return
        differing = _differing(said, subject)
        if differing is not None:
            self._lose(number, said.at, STALE, subject.key, differing)
            return
        if said.content is not None and said.etag is not None:
            subject = msgspec.structs.replace(subject, content=said.content)
        said = msgspec.structs.replace(said, images=())
        self._held.add(number, said, subject, self._reviewer or said.reviewer or self._default_reviewer)

    def _lose(self, number: int, at: Place, code: str, key: str | None, message: str) -> None:
        self.lost[code] += 1
        self._note(ImportProblem(at, code, key, message, number))

    def _note_rotated(self, box: RotatedBox) -> None:
        self._note(ImportProblem(box.at, ROTATED, box.key, box.message, self.read + 1))

    def _note(self, problem: ImportProblem) -> None:
        self.problems_total += 1
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(problem)

    @property
    def has_answers(self) -> bool:
        """Whether there is anything that may be written."""
        return self.read > self.lost.total() + self.skipped.total() + self.rejected.total()

    # -- Writing -------------------------------------------------------------------------------------------------------

    def prepare(self, rows: Rows) -> None:
        """Find what is new beside the rows of an answers file, and count it; to be called after ``settle``.

        A later call begins anew.
        """
        for name, value in self._settled.items():
            setattr(self, name, copy(value))
        self._held.forget_rows()
        answers = self._held.in_order()
        taken: dict[str, str] = {}
        while some := list(islice(answers, _AT_ONCE)):
            self._held.add_rows(list(self._new(some, rows, taken)))

    def store(self, writing: Adding) -> None:
        """Add what ``prepare`` has found to the rows of an answers file."""
        rows = self._held.rows()
        while some := list(islice(rows, _AT_ONCE)):
            writing.add(some)

    def _counts(self) -> dict[str, object]:
        """The counts that ``prepare`` changes."""
        return {name: copy(getattr(self, name)) for name in _PREPARED}

    def _new(self, some: Sequence[NextAnswer], rows: Rows, taken: dict[str, str]) -> Iterator[NewAnswer]:
        """The rows of those answers that are new.

        Args:
            some: In the order of writing.
            rows: What is there.
            taken: Whose the earlier answers of the file are that rows may take back, by uid.
        """
        wanted = [uid for one in some for uid in _uids(one.answer)]
        there, images = (
            rows.rows_with(list(dict.fromkeys(wanted))),
            rows.images_of([one.answer.subject for one in some]),
        )
        for one, image in zip(some, images, strict=True):
            answer, said = one.answer, one.answer.said
            if one.is_conflicting:
                message = f"{answer.reviewer} says different things about the image, and no times tell the later"
                self._lose(answer.number, said.at, CONFLICTING, answer.subject.key, message)
                continue
            if one.is_repeated or answer.uid in there or _is_said_already(answer, image):
                self._count(answer)
                self.repeated += 1
                continue
            problem = _undo_problem(answer, there, taken)
            if problem is not None:
                code, message = problem
                self._leave(answer.number, Left(said.at, code, message, answer.subject.key))
                continue
            if said.keeps_uid:
                taken[answer.uid] = answer.reviewer
            self._count(answer)
            self.imported += 1
            former = one.former or _last_verdict(image, answer.reviewer)
            self.changed += said.verdict is not None and former is not None and former is not said.verdict
            yield self._row(answer)

    def _count(self, answer: HeldAnswer) -> None:
        self.reviewers[answer.reviewer] += 1
        self.boxes_taken += len(answer.said.boxes or ())

    def _row(self, answer: HeldAnswer) -> NewAnswer:
        said = answer.said
        return NewAnswer(
            uid=answer.uid,
            subject=answer.subject,
            reviewer=answer.reviewer,
            at_unix_s=self._now_unix_s if said.at_unix_s is None else said.at_unix_s,
            verdict=said.verdict,
            labels=said.labels,
            boxes=said.boxes,
            note=said.note,
            shown_ms=said.shown_ms,
            how=said.how,
            asked_as=said.asked_as,
            blind=said.blind,
            saw=said.saw,
            undoes=said.undoes,
        )


def _unknown(said: Said, bucket: str) -> str:
    image = said.images[0]
    where = bucket if image.bucket is None else image.bucket
    return f"{image.key!r} in {where} is not among the images here"


def _differing(said: Said, subject: Subject) -> str | None:
    """What shows that an answer is about another version of the object; None where nothing does."""
    if said.etag is not None and said.etag != subject.etag:
        return f"the answer is about ETag {said.etag[:64]}; the object has {subject.etag} now"
    if said.size_bytes is not None and said.size_bytes != subject.size_bytes:
        return f"the answer is about {said.size_bytes:,} bytes; the object has {subject.size_bytes:,} now"
    return None


def _uids(answer: HeldAnswer) -> Iterator[str]:
    yield answer.uid
    for uid in (answer.said.uid, answer.said.undoes):
        if uid is not None:
            yield uid


def _rows_of(image: ImageRows, reviewer: str) -> list[Answer]:
    return [row for row in image.rows if row.reviewer == reviewer]


def _last_verdict(image: ImageRows | None, reviewer: str) -> PersonVerdict | None:
    word = None if image is None else last_word(image.rows, reviewer)
    return None if word is None else word.verdict


def _is_said_already(answer: HeldAnswer, image: ImageRows | None) -> bool:
    """Whether a unit says what its person had said in the row that it was made from, or since.

    That row has the uid that the unit carries, or its time; a note may be anybody's, since a row of CSV has the newest.
    A row of ours is never compared: it is what it is.
    """
    said = answer.said
    if image is None or said.keeps_uid or said.note not in {None, *(row.note for row in image.rows)}:
        return False
    new = (said.verdict, said.labels, said.boxes)
    words: list[object] = [None, None, None]
    is_since = False
    for row in _rows_of(image, answer.reviewer):
        for part, word in enumerate((row.verdict, row.labels, row.boxes)):
            words[part] = words[part] if word is None else word
        is_since = is_since or row.uid == said.uid or _is_at(row, said)
        if is_since and all(word in (None, words[part]) for part, word in enumerate(new)):
            return True
    return False


def _is_at(row: Answer, said: Said) -> bool:
    """Whether a unit has the time of a row, of which files have milliseconds."""
    return said.at_unix_s is not None and abs(row.at_unix_s - said.at_unix_s) < _SAME_TIME_S


def _undo_problem(answer: HeldAnswer, there: dict[str, Answer], taken: dict[str, str]) -> tuple[str, str] | None:
    """Why a row cannot take another one back; None where it can, or takes none back."""
    undoes = answer.said.undoes
    if undoes is None:
        return None
    former = taken.get(undoes) or (there[undoes].reviewer if undoes in there else None)
    if former is None:
        return Reject.UNKNOWN_UID, f"it takes back {undoes}, which is not there"
    if former != answer.reviewer:
        return Reject.NOT_YOURS, f"it takes back an answer of {former}; one may take back one's own"
    return None
