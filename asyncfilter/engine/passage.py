"""One image on its way through the engine, from admission to settlement."""

from __future__ import annotations

import anyio
import msgspec

from asyncfilter.model import ActionKind, Decision, Detection, Failure, ObjectRef, Skip
from asyncfilter.policy.budget import Reservation
from asyncfilter.ports import Prepared, StoredImage
from asyncfilter.records.tally import Tally


class Passage(msgspec.Struct, kw_only=True):
    """An image between admission and settlement; the engine's parts fill it in as it passes.

    Attributes:
        image: What is examined; ``seq`` is its place in the order of examination.
        row_id: Its row in the checkpoint.
        stored: What the checkpoint held for it before: labels, or a failure. None for an image that must be paid for.
        replaces: The row whose place it takes: an older version of the object, or a failed attempt at it.
        replaced_effect: The action that was counted for that row, and the copies of it that were counted as stale.
        is_seated: True when ``stored`` has its place already (decisions are made anew, images are not).
        moves_cursor: True when it comes from the listing, so that a resumed run may list from behind it.
        listed: Objects the listing showed from behind the image before up to this one; ``skipped`` of them by reason.
        reservation: The money held for its next attempt.
        readiness: Set when its preparation is over; None when it needs none.
        prepared: What its preparation came to, until its call is over.
        decision: What the rules said; None while there are no labels.
        failure: Why there is no outcome, or why the action failed.
        same_as: Row of the image with the same content whose labels these are; None when it was examined itself.
        followers: Images with the same content that wait for its outcome.
        is_skipped: True for an image that counts as a duplicate and has no verdict.
        is_unpaid: True when the budget did not cover the attempt it would have needed: the run stops before it.
        is_ready: True once the outcome is durable, so that the monitor may count it and the sink act on it.
        effect: The action that was confirmed for it.
        stale: Copies of the object that the present decision would not make.
        claim: The target it holds against other objects until it is settled.
        is_acted: True once an action of it ended in this run, well or not.
        is_settled: True once nothing more will happen to it.
    """

    image: ObjectRef
    row_id: int
    stored: StoredImage | None = None
    replaces: StoredImage | None = None
    replaced_effect: ActionKind | None = None
    replaced_stale: int = 0
    is_seated: bool = False
    moves_cursor: bool = True
    listed: int = 1
    skipped: dict[str, int] | None = None
    reservation: Reservation | None = None
    readiness: anyio.Event | None = None
    prepared: Prepared | None = None
    decision: Decision | None = None
    detection: Detection | None = None
    failure: Failure | None = None
    same_as: int | None = None
    followers: list[Passage] = []
    is_skipped: bool = False
    is_unpaid: bool = False
    is_ready: bool = False
    effect: ActionKind | None = None
    stale: int = 0
    claim: str | None = None
    is_acted: bool = False
    is_settled: bool = False

    @property
    def is_examined(self) -> bool:
        """True once its outcome is known, durable or not."""
        return self.decision is not None or self.failure is not None or self.is_unpaid

    def count_judged(self, tally: Tally) -> None:
        """Count what the rules made of it; every tally sees this, in order."""
        if self.moves_cursor:
            tally.count_listed(self.listed, self.skipped)
        if self.is_skipped:
            tally.count_listed(0, {Skip.DUPLICATE.value: 1})
        elif self.decision is not None:
            tally.count_verdict(self.decision.verdict)
        elif self.failure is not None:
            tally.count_failure(self.failure.code)

    def count_acted(self, tally: Tally) -> None:
        """Count what became of its action; only settled images have that.

        Of an image that has its place already, what stood before was counted with its decision.
        """
        if self.is_seated and not self.is_acted:
            return
        tally.stale += self.stale
        if self.effect is not None:
            tally.count_effect(self.effect)
        if self.decision is not None and self.failure is not None and not self.is_skipped:
            tally.count_failed_action(self.decision.verdict, self.failure.code)

    def revoke_replaced(self, tally: Tally) -> None:
        """Take the row whose place this image takes out of a tally that covers the checkpoint's life."""
        row = self.replaces
        if row is not None:
            tally.revoke(
                row.decision.verdict if row.decision is not None else None,
                row.failure.code if row.failure is not None else None,
                self.replaced_effect,
                self.replaced_stale,
            )
