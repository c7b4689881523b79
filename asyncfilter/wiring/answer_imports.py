"""``answers import``: the units of a file become rows of an answers file, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

from asyncfilter.datasets.answers.importing import AnswerImport
from asyncfilter.datasets.answers.trial import Trial
from asyncfilter.datasets.answers.units import ReadNotes, Unit
from asyncfilter.wiring.answers import AnswersPlace

Read = Callable[[ReadNotes], Iterator[Unit]]
"""Reads the units of a file, and counts what is beside them."""


class Imported(NamedTuple):
    """What an import did.

    Attributes:
        found: The counts.
        serial: Of the newest row of the answers file; 0 where there is none.
    """

    found: AnswerImport
    serial: int


def import_answers(
    place: AnswersPlace,
    read: Read,
    *,
    reviewer: str | None,
    default_reviewer: str,
    dry_run: bool,
    clock: Callable[[], float] = time.time,
) -> Imported:
    """Import a file; nothing is written before all of it was read.

    Args:
        place: The answers file, and the images.
        read: Reads the file.
        reviewer: Whose all answers are; None for whom the file names.
        default_reviewer: Whose they are where it names nobody.
        dry_run: Count alone; no file is made or changed.
        clock: The time.

    Raises:
        NothingToWorkOnError: There is no checkpoint yet.
        UsageError: The file is of no such format.
        CheckpointError: The checkpoint cannot be read.
        AnswersError: The answers file cannot be used.
    """
    place.check_known()
    found = AnswerImport(known=place.images, reviewer=reviewer, default_reviewer=default_reviewer, now_unix_s=clock())
    with closing(found):
        found.add_all(read(found.notes))
        found.settle()
        if dry_run or not found.has_answers:
            return Imported(found, _prepared(place, found))
        with place.open() as file:
            seen = _prepared(place, found)
            with file.transaction() as writing:
                if writing.last_serial != seen:  # another program wrote meanwhile
                    found.prepare(writing)
                found.store(writing)
                return Imported(found, writing.last_serial)


def _prepared(place: AnswersPlace, found: AnswerImport) -> int:
    """Find and count what is new; returns the newest serial that was seen."""
    reader = place.open_reader()
    if reader is None:
        found.prepare(Trial(None))
        return 0
    with reader:
        trial = Trial(reader)
        found.prepare(trial)
        return trial.last_serial
