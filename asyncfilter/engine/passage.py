"""One image on its way through the engine, from admission to settlement."""

from __future__ import annotations

import anyio
import msgspec

from asyncfilter.engine.core.backends import PacedBackend
from asyncfilter.model import ActionKind, Decision, Detection, Failure, ObjectRef, Skip
from asyncfilter.policy.budget import Reservation
from asyncfilter.policy.outcome import Outcome
from asyncfilter.ports import Prepared, StoredImage
from asyncfilter.records.tally import Tally


class Passage(msgspec.Struct, kw_only=True):
    """An image between admission and settlement; each field has one writer.

    ===================================================  ==================================================
    field                                                written by
    ===================================================  ==================================================
    image ... skipped (what it begins with)              the producer; the redecider for stored images
    replaced_effect, replaced_stale, reservation,        admission
    backend
    readiness, prepared                                  the prefetch stage
    decision, detection, failure, same_as, is_skipped    admission (stored labels), the detect stage, or the
                                                         duplicate tracker: whichever found the outcome
    followers                                            the duplicate tracker
    is_unpaid                                            the detect stage and the duplicate tracker
    is_ready                                             the committer, once the outcome is durable
    effect, stale, claim                                 the sequencer, when it releases the image
    effect, failure, is_acted, is_settled                the sequencer (nothing to do, target refused), or the
                                                         sink stage (action confirmed or failed)
    ===================================================  ==================================================

    Invariants: the outcome (decision, failure, same_as) does not change between ``record`` and release; ``is_ready``
    precedes every count and every action; ``is_settled`` is the last change. After the outcome is durable ``detection``
    is dropped, so that the window holds no labels.

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
        backend: Where that attempt is made: the backend whose permit it has.
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
    backend: PacedBackend | None = None
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

    def take_outcome(self, stored: StoredImage, outcome: Outcome) -> None:
        """Note what it comes to by labels that are stored."""
        self.same_as = stored.same_as
        self.is_skipped = outcome.is_skipped
        self.decision, self.failure = outcome.decision, outcome.failure

    def confirm_action(self, kind: ActionKind) -> None:
        """Note that its action was confirmed; nothing more happens to it."""
        self.effect = kind
        self.is_acted = self.is_settled = True

    def fail_action(self, failure: Failure) -> None:
        """Note that its action failed, or cannot be carried out; nothing more happens to it."""
        self.failure = failure
        self.is_acted = self.is_settled = True

    def row(self) -> StoredImage:
        """The image as the checkpoint is to hold it, with the actions that are confirmed for its row."""
        image, stored = self.image, self.stored
        return StoredImage(
            id=self.row_id,
            seq=image.seq,
            key=image.key,
            etag=image.etag,
            size_bytes=image.size_bytes,
            decision=self.decision,
            failure=self.failure,
            detection=self.detection,
            same_as=self.same_as,
            effects=stored.effects if stored is not None and stored.id == self.row_id else (),
        )

    @property
    def is_new(self) -> bool:
        """True when the checkpoint has no row for it yet."""
        return self.stored is None or self.stored.id != self.row_id

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
