"""The current answer about an image, from all rows about it.

1. A row that is taken back by a row that is itself not taken back does not count: taking back an undo restores. Only
   a row of the same person, and an earlier one, can be taken back.
2. With a verdict ``adjudicate`` the newest of these decides. Otherwise each person's newest verdict is their word.
3. More words for keep than for reject are keep, fewer are reject, as many are unresolved; ``unsure`` counts only where
   nobody says keep or reject.
4. Labels and boxes are each those of the newest row that says something about them, adjudications before all others.

"Newest" is by serial; times play no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from asyncfilter.records.answers import Answer, AskedAs, CurrentAnswer, CurrentVerdict, LabelledBox, PersonVerdict

T = TypeVar("T")


def fold(rows: Sequence[Answer]) -> CurrentAnswer | None:
    """What ``rows`` fold to; None when nothing that they say counts.

    Args:
        rows: All rows about one image, by serial.
    """
    counting = counting_rows(rows)
    if not counting:
        return None
    verdict, decisive = _verdict(counting)
    return CurrentAnswer(
        serial=rows[-1].serial,
        verdict=verdict,
        labels=_newest(counting, _labels_of),
        boxes=_newest(counting, _boxes_of),
        reviewer=decisive.reviewer,
        at_unix_s=decisive.at_unix_s,
    )


def counting_rows(rows: Sequence[Answer]) -> list[Answer]:
    """The rows that say something and are not taken back; arguments are those of ``fold``."""
    gone = taken_back(rows)
    return [row for row in rows if row.uid not in gone and _says_something(row)]


def taken_back(rows: Sequence[Answer]) -> set[str]:
    """The uids of rows, undo rows among them, that are taken back; arguments are those of ``fold``."""
    by_uid = {row.uid: row for row in rows}
    gone: set[str] = set()
    # From the newest on: whether a row counts is known before what it takes back, which is older.
    for row in reversed(rows):
        if row.undoes is None or row.uid in gone:
            continue
        former = by_uid.get(row.undoes)
        if former is not None and former.serial < row.serial and former.reviewer == row.reviewer:
            gone.add(former.uid)
    return gone


def last_word(rows: Sequence[Answer], reviewer: str) -> Answer | None:
    """The newest row with a verdict by ``reviewer`` that counts; ``rows`` are those of ``fold``."""
    words = [row for row in counting_rows(rows) if row.reviewer == reviewer and row.verdict is not None]
    return words[-1] if words else None


def _says_something(row: Answer) -> bool:
    # An empty list of labels says "none of them"; the note of a row that takes back is about the taking back.
    note = row.note if row.undoes is None else None
    return any(part is not None for part in (row.verdict, row.labels, row.boxes, note))


def _verdict(counting: Sequence[Answer]) -> tuple[CurrentVerdict | None, Answer]:
    """The folded verdict, and the newest row whose word it is."""
    words = _words(counting)
    if not words:
        return None, counting[-1]
    outcome = _majority([word for word, _ in words])
    if outcome is CurrentVerdict.UNRESOLVED:
        return outcome, words[-1][1]
    return outcome, next(row for word, row in reversed(words) if CurrentVerdict(word) is outcome)


def _words(counting: Sequence[Answer]) -> list[tuple[PersonVerdict, Answer]]:
    """The words that count, by serial: that of the newest adjudication alone, or one for each person."""
    given = [(row.verdict, row) for row in counting if row.verdict is not None]
    adjudications = [word for word in given if word[1].asked_as is AskedAs.ADJUDICATE]
    if adjudications:
        return adjudications[-1:]
    newest = {row.reviewer: (verdict, row) for verdict, row in given}
    return sorted(newest.values(), key=lambda word: word[1].serial)


def _majority(words: Sequence[PersonVerdict]) -> CurrentVerdict:
    votes = Counter(words)
    keep, reject = votes[PersonVerdict.KEEP], votes[PersonVerdict.REJECT]
    if not keep and not reject:
        return CurrentVerdict.UNSURE
    if keep == reject:
        return CurrentVerdict.UNRESOLVED
    return CurrentVerdict.KEEP if keep > reject else CurrentVerdict.REJECT


def _labels_of(row: Answer) -> tuple[str, ...] | None:
    return row.labels


def _boxes_of(row: Answer) -> tuple[LabelledBox, ...] | None:
    return row.boxes


def _newest(counting: Sequence[Answer], part: Callable[[Answer], tuple[T, ...] | None]) -> tuple[T, ...] | None:
    saying = [row for row in counting if part(row) is not None]
    adjudications = [row for row in saying if row.asked_as is AskedAs.ADJUDICATE]
    newest = (adjudications or saying)[-1:]
    return part(newest[0]) if newest else None
