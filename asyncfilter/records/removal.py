"""Removals: how far the removal of an image, or its undoing, has come, as the removal journal stores it.

Invariants: a removal goes forward one step at a time, and each step is in the journal before the next is taken; an
image counts as removed from ``DELETED`` on, until it is ``UNDONE``.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from asyncfilter.model import ActionKind, Failure

REMOVING = frozenset({ActionKind.MOVE, ActionKind.DELETE})
"""The actions that take an image out of the source: ``apply`` alone carries them out."""

NULL_VERSION = "null"
"""Version id of objects written while versioning is suspended; the next such write replaces the object."""


class Step(StrEnum):
    """How far a removal, or its undoing, has come."""

    STARTED = "started"
    """It may have begun: a delete may have been sent, a copy made."""
    COPIED = "copied"
    VERIFIED = "verified"
    """The copy was verified; the delete may have been sent."""
    DELETED = "deleted"
    """The image is out of the source."""
    FAILED = "failed"
    """Given up; the image was left where it is."""
    RETURNING = "returning"
    RETURNED = "returned"
    """The image is in the source again; its copy in quarantine may still exist."""
    UNDONE = "undone"


UNDER_WAY = frozenset({Step.STARTED, Step.COPIED, Step.VERIFIED})
REMOVED = frozenset({Step.DELETED, Step.RETURNING, Step.RETURNED})
CLAIMING = UNDER_WAY | REMOVED
"""While a move is at one of these steps, its target belongs to its image."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """The removal of one image as the journal stores it; it holds all that is needed to finish or undo it.

    Attributes:
        image: Id of the image's row.
        etag: ETag of the image when it was examined, as is the size; the condition of every request about it.
        target: URI of a move's copy; empty for a delete.
        copied: ETag of that copy.
        is_foreign: True when the same content was at the target before; undoing leaves it there.
        marker: Version id of the image's delete marker; empty where there is none.
        returned: ETag of the image after it was brought back.
        decided_by: Fingerprint of the decisions at the time it was undone: these no longer lead to its removal.
        failure: Why it was given up, or why it could not be undone.
    """

    image: int
    key: str
    etag: str
    size_bytes: int
    kind: ActionKind
    target: str = ""
    step: Step = Step.STARTED
    copied: str = ""
    is_foreign: bool = False
    marker: str = ""
    returned: str = ""
    decided_by: str = ""
    failure: Failure | None = None


class Versioning(StrEnum):
    """Versioning of a bucket: what it keeps of deleted objects."""

    ON = "on"
    SUSPENDED = "suspended"
    OFF = "off"
    UNKNOWN = "unknown"


class BucketState(msgspec.Struct, frozen=True, kw_only=True):
    """What deleting means in a bucket; with ``mfa_delete`` only its owner can remove a delete marker."""

    versioning: Versioning
    mfa_delete: bool = False
