"""One person's word about one image, from the terminal."""

from __future__ import annotations

import time

import msgspec

from asyncfilter.answers import Writing, new_uid
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.policy.answers.fold import fold, last_word
from asyncfilter.records.answers import AskedAs, CurrentVerdict, How, ImageRows, NewAnswer, PersonVerdict, Subject
from asyncfilter.wiring.answers import AnswersPlace


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says about an image; None as the verdict takes back their last one.

    Attributes:
        reviewer: The person.
        labels: None where nothing is said about them.
    """

    reviewer: str
    verdict: PersonVerdict | None
    labels: tuple[str, ...] | None = None
    note: str | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What a word changed.

    Attributes:
        key: Of the image.
        previous: The current verdict before it; None where nobody had given one.
        current: Likewise after it.
        uid: Of the row that was written; None where there was nothing to take back. Likewise ``serial``.
    """

    key: str
    previous: CurrentVerdict | None
    current: CurrentVerdict | None
    uid: str | None = None
    serial: int | None = None


def set_answer(place: AnswersPlace, named: str, word: Word) -> Changed:
    """Write a word about one image; it is durable when this returns.

    Args:
        place: The answers.
        named: The image's key, or its address.
        word: What is said.

    Raises:
        NothingToWorkOnError: There is no such image, or no checkpoint yet.
        BadAnswerError: The word has something that an answer may not hold.
        AnswersError: The answers file cannot be used.
        CheckpointError: The checkpoint cannot be used.
    """
    place.check_known()
    subject = place.find(named)
    if subject is None:
        raise NothingToWorkOnError(
            f"{named}: no image with this key is known",
            hint="Give the key as `asyncfilter export` shows it, or its address.",
        )
    if word.verdict is None and not _has_word(place, subject, word.reviewer):
        return _unchanged(place, subject)
    with place.open() as file, file.transaction() as writing:
        return _written(writing, subject, word)


def _written(writing: Writing, subject: Subject, word: Word) -> Changed:
    (before,) = writing.images_of([subject])
    last = None if before is None else last_word(before.rows, word.reviewer)
    if word.verdict is None and last is None:  # taken back by another program meanwhile
        return Changed(key=subject.key, previous=_verdict(before), current=_verdict(before))
    row = NewAnswer(
        uid=new_uid(),
        subject=subject,
        reviewer=word.reviewer,
        at_unix_s=time.time(),
        verdict=word.verdict,
        labels=word.labels,
        note=word.note,
        how=How.SET,
        asked_as=AskedAs.FREE,
        undoes=last.uid if word.verdict is None and last is not None else None,
    )
    (stored,) = writing.add([row])
    (after,) = writing.images_of([subject])
    return Changed(
        key=subject.key, previous=_verdict(before), current=_verdict(after), uid=stored.uid, serial=stored.serial
    )


def _has_word(place: AnswersPlace, subject: Subject, reviewer: str) -> bool:
    """Whether a person has a word that could be taken back; no file is made to find out."""
    image = _read(place, subject)
    return image is not None and last_word(image.rows, reviewer) is not None


def _unchanged(place: AnswersPlace, subject: Subject) -> Changed:
    verdict = _verdict(_read(place, subject))
    return Changed(key=subject.key, previous=verdict, current=verdict)


def _read(place: AnswersPlace, subject: Subject) -> ImageRows | None:
    reader = place.open_reader()
    if reader is None:
        return None
    with reader:
        return reader.images_of([subject], up_to=reader.last_serial())[0]


def _verdict(image: ImageRows | None) -> CurrentVerdict | None:
    found = None if image is None else fold(image.rows)
    return None if found is None else found.verdict
