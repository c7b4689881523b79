"""What an answers file holds: its figures, and the images that are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from asyncfilter.answers import AnswersReader
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.policy.answers.following import taken_over_to
from asyncfilter.policy.answers.listing import MOST_IMAGES, AnswerList, FoundAnswers, Selection
from asyncfilter.records.answers import Subject
from asyncfilter.wiring.answers import AnswersPlace


def list_answers(place: AnswersPlace, selection: Selection) -> FoundAnswers:
    """What the answers file of a place holds.

    Args:
        place: The answers.
        selection: Which images are listed.

    Raises:
        NothingToWorkOnError: There is neither an answers file nor a checkpoint; or nothing has the selected key.
        AnswersError: The answers file cannot be used.
        CheckpointError: The checkpoint cannot be used.
    """
    reader = place.open_reader()
    if reader is None:
        place.check_known()
        return _checked(FoundAnswers(
            file=place.path, id=None, format=None, serial=0, subjects=0, pending=0 if place.job is not None else None,
            answers=AnswerList(selection), are_current=(),
        ), place)  # fmt: skip
    with reader:
        return _checked(_read(reader, place, selection), place)


def _read(reader: AnswersReader, place: AnswersPlace, selection: Selection) -> FoundAnswers:
    serial = reader.last_serial()
    answers = AnswerList(selection)
    answers.add_all(reader.all_images(up_to=serial))
    return FoundAnswers(
        file=place.path,
        id=reader.id,
        format=reader.format,
        serial=serial,
        subjects=reader.count_subjects(up_to=serial),
        pending=_pending(reader, place, serial),
        answers=answers,
        are_current=tuple(_are_current(place, [one.subject for one in answers.images[:MOST_IMAGES]])),
    )


def _pending(reader: AnswersReader, place: AnswersPlace, serial: int) -> int | None:
    if place.job is None or not place.is_known:
        return None
    after = taken_over_to(place.taken_over(), file_id=reader.id, last_serial=serial)
    return reader.count(after, up_to=serial)


def _are_current(place: AnswersPlace, subjects: Iterable[Subject]) -> Iterable[bool | None]:
    """Whether each subject is what is known under its key; ``subjects`` are by bucket."""
    for bucket, those in groupby(subjects, key=lambda one: one.bucket):
        some = list(those)
        known = place.images.find([one.key for one in some]) if bucket == place.images.bucket else {}
        for one in some:
            found = known.get(one.key)
            yield None if found is None else (found.etag, found.size_bytes) == (one.etag, one.size_bytes)


def _checked(found: FoundAnswers, place: AnswersPlace) -> FoundAnswers:
    """``found``, if something has the selected key.

    Raises:
        NothingToWorkOnError: Nothing has: no row is about it, and no image.
    """
    key = found.answers.selection.key
    if key is not None and not found.answers.has_key and not place.images.find([key]):
        raise NothingToWorkOnError(
            f"{key}: no image with this key is known, and no answer is about one",
            hint="Give the key as `asyncfilter export` shows it, or its address.",
        )
    return found
