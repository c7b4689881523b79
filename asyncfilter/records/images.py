"""Images as the checkpoint stores them: one row an image, with its labels, its decision and what was done about it."""

from __future__ import annotations

import msgspec

from asyncfilter.model import ActionKind, Decision, Detection, Failure
from asyncfilter.records.answers import CurrentAnswer
from asyncfilter.records.removal import REMOVING


class DoneEffect(msgspec.Struct, frozen=True):
    """An action that was confirmed for an image.

    ``target`` is the URI of a copy or move, a tag's tags as a query string, and empty for a delete.
    """

    kind: ActionKind
    target: str


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image as the checkpoint holds it.

    An image with a ``seq`` has a position in the order of examination and is counted. One without is cached: its labels
    are paid for and are used when the listing has the same object again (overshoot of a stop, work beyond the watermark
    of a run that was killed, an older version of an object).

    Attributes:
        id: Number of the row, from 1, given by the engine, never used again.
        decision: The decision of a person or of the rules; None where there are no labels.
        failure: Why it has no outcome, or why its action failed.
        detection: The labels; None where there are none or they were not asked for.
        same_as: Row of an earlier image with the same content, whose labels these are; None for one examined itself.
        effects: The actions confirmed for it, oldest first: usually none or one, more when rules or targets changed.
        answer: The answer of people that was taken over for it; None where there is none.
    """

    id: int
    seq: int | None
    key: str
    etag: str
    size_bytes: int
    decision: Decision | None = None
    failure: Failure | None = None
    detection: Detection | None = None
    same_as: int | None = None
    effects: tuple[DoneEffect, ...] = ()
    answer: CurrentAnswer | None = None

    @property
    def removal(self) -> DoneEffect | None:
        """The confirmed action that took the image out of the source; None while the image is there."""
        if not self.effects:
            return None
        return next((effect for effect in self.effects if effect.kind in REMOVING), None)

    @property
    def copied_to(self) -> str | None:
        """The address that the image was copied or moved to last; None when it was not."""
        kinds = (ActionKind.COPY, ActionKind.MOVE)
        return next((effect.target for effect in reversed(self.effects) if effect.kind in kinds), None)

    @property
    def is_unexamined(self) -> bool:
        """True for an image whose examination failed; one whose action failed has a decision."""
        return self.failure is not None and self.decision is None


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The owner of a target: the source key it was written from, and the row of the image if that was moved there."""

    key: str
    moved: int | None = None


class StoredReference(msgspec.Struct, frozen=True, kw_only=True):
    """A reference image whose labels were paid for.

    Attributes:
        uri: Its address, as rules name it.
        etag: What identifies its content, with ``size_bytes``.
    """

    uri: str
    etag: str
    size_bytes: int
    detection: Detection
