"""How far a checkpoint follows an answers file, for commands that only show it."""

from __future__ import annotations

from pathlib import Path

from asyncfilter.answers.reader import open_reader
from asyncfilter.model import AnswersState
from asyncfilter.policy.answers.following import check_followed, taken_over_to
from asyncfilter.records.answers import TakenOver


def read_answers_state(path: Path, taken: TakenOver | None) -> AnswersState | None:
    """How far a checkpoint follows the file at ``path`` as it is now; None where there is none.

    Args:
        path: The answers file.
        taken: What the checkpoint has taken over.

    Raises:
        AnswersError: The file cannot be read, or is another one than that which the checkpoint follows.
    """
    reader = open_reader(path)
    if reader is None:
        return None
    with reader:
        check_followed(taken, location=str(reader.path), file_id=reader.id, merged=reader.merged)
        last = reader.last_serial()
        after = taken_over_to(taken, file_id=reader.id, last_serial=last)
        return AnswersState(
            file=str(reader.path),
            id=reader.id,
            serial=0 if taken is None else taken.serial,
            pending=reader.count(after, up_to=last),
        )
