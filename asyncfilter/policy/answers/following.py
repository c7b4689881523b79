"""Following: how far a checkpoint follows an answers file, and whether it may follow this one."""

from __future__ import annotations

from collections.abc import Collection

from asyncfilter.errors import AnswersError
from asyncfilter.records.answers import TakenOver


def check_followed(taken: TakenOver | None, *, location: str, file_id: str, merged: Collection[str]) -> None:
    """Check that a checkpoint may follow a file.

    Args:
        taken: What was taken over before.
        location: The file.
        file_id: Its id.
        merged: The ids of files that were merged into it.

    Raises:
        AnswersError: The answers were taken over from another file, which was not merged into this one.
    """
    if taken is not None and taken.id != file_id and taken.id not in merged:
        raise AnswersError(
            f"{location}: another answers file (id {file_id}) than the one that was taken over before (id {taken.id})",
            hint="Set `answers:` to the former file, or merge that into this one with `asyncfilter answers merge`. "
            "If it is lost, move this one away: what was taken over goes on to hold.",
        )


def is_older_copy(taken: TakenOver | None, *, file_id: str, last_serial: int) -> bool:
    """Whether a file has fewer answers than were taken over from it."""
    return taken is not None and taken.id == file_id and taken.serial > last_serial


def taken_over_to(taken: TakenOver | None, *, file_id: str, last_serial: int) -> int:
    """The serial up to which a file is taken over; serials of another file, or of a newer copy, say nothing."""
    return 0 if taken is None or not _has_serials_of(taken, file_id, last_serial) else taken.serial


def acted_on_to(taken: TakenOver | None, *, file_id: str, last_serial: int) -> int:
    """The serial up to which a run or refilter has acted on a file; likewise."""
    return 0 if taken is None or not _has_serials_of(taken, file_id, last_serial) else taken.acted_to


def _has_serials_of(taken: TakenOver, file_id: str, last_serial: int) -> bool:
    return taken.id == file_id and not is_older_copy(taken, file_id=file_id, last_serial=last_serial)
