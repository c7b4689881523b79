"""Which decided images leave the source, and how a removed one is restored."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Verdict
from asyncfilter.records.removal import NULL_VERSION, REMOVING, BucketState, Removal


class RestoreMethod(StrEnum):
    """How a removed image is restored."""

    MARKER = "marker"
    COPY = "copy"
    NONE = "none"


def restore_method(removal: Removal, state: BucketState) -> RestoreMethod:
    """The method with the fewest changes: removing the delete marker leaves the image exactly as it was.

    A marker of the version ``null`` is never removed: an object written since under that version would be deleted for
    good.
    """
    if removal.marker not in {"", NULL_VERSION} and not state.mfa_delete:
        return RestoreMethod.MARKER
    return RestoreMethod.COPY if removal.kind is ActionKind.MOVE else RestoreMethod.NONE


class RemovalQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which decided images are to leave the source.

    Attributes:
        verdicts: Verdicts whose images leave.
        duplicates: Of images whose content an earlier one has: all, none, or (None) those with such a verdict.
        settled_by: Fingerprint of decisions; images that were undone under these stay. None to include them.
    """

    verdicts: tuple[Verdict, ...]
    duplicates: bool | None = None
    settled_by: str | None = None

    @property
    def is_empty(self) -> bool:
        """True when it covers no image at all."""
        return not self.verdicts and not self.duplicates

    def covers(self, verdict: Verdict, *, is_duplicate: bool) -> bool:
        """Whether an image with this decision is to leave."""
        if is_duplicate and self.duplicates is not None:
            return self.duplicates or False
        return verdict in self.verdicts


def removal_query(job: Job, settled_by: str | None = None) -> RemovalQuery:
    """The images that the actions of a job take out of the source."""
    duplicates = None if job.duplicate is None else job.duplicate.kind in REMOVING
    return RemovalQuery(
        verdicts=tuple(verdict for verdict, action in job.actions.items() if action.kind in REMOVING),
        duplicates=False if job.source.skip_duplicates else duplicates,
        settled_by=settled_by,
    )
