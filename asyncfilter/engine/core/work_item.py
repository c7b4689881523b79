"""The work item: one image in the engine, from admission to settlement."""

from __future__ import annotations

import anyio
import msgspec

from asyncfilter.engine.core.backends import PacedBackend
from asyncfilter.model import ActionKind, Decision, Detection, Failure, ObjectRef, Skip, Verdict
from asyncfilter.policy.budget import Reservation
from asyncfilter.policy.outcome import Outcome
from asyncfilter.ports.examine import Prepared
from asyncfilter.records.answers import CurrentAnswer
from asyncfilter.records.images import StoredImage
from asyncfilter.records.tally import Tally


class WorkItem(msgspec.Struct, kw_only=True):
    """An image between admission and settlement; written by one part after another.

    ===============================================  ======================================================
    field                                            written by
    ===============================================  ======================================================
    image ... skipped (set at creation)              the producer; the redecider and the take-over for stored images
    answer                                           the producer, before admission; at creation for stored images
    replaced_effect, replaced_stale                  admission
    readiness, prepared                              the prefetch stage; the memory limit clears ``prepared``
    reservation, backend                             admission; the detect stage takes both for its attempt
    lane, barred_s                                   the detect stage, where the job has lanes
    answered_by                                      the same, or the duplicate tracker
    decision, failure, same_as, is_skipped           the part that has the outcome: admission (stored labels),
                                                     the prefetch stage (rejected), the detect stage, or the
                                                     duplicate tracker (shared)
    detection                                        the same; the committer clears it
    followers                                        the duplicate tracker
    is_unpaid                                        the detect stage and the duplicate tracker
    is_withheld                                      the detect stage
    is_ready                                         the committer, once the outcome is durable
    stale                                            the sequencer, when it releases the image
    claim                                            the target claims, at the same moment
    counted_in                                       the take-over, at creation
    effect, failure of an action, is_acted,          the sequencer (nothing to do, target refused), or the sink
    is_settled                                       stage (action confirmed or failed)
    ===============================================  ======================================================

    Invariants: the outcome (decision, failure, same_as) does not change between ``record`` and release; ``is_ready``
    precedes every count and every action; ``is_settled`` is the last change. ``detection`` is dropped once the outcome
    is durable, so that the window holds no labels.

    Attributes:
        image: The object to examine; ``seq`` is its position in the order of examination.
        row_id: Its row in the checkpoint.
        stored: The row that the checkpoint held before: labels, or a failure. None for an image that must be paid for.
        replaces: The row whose position it takes: an older version of the object, or a failed examination of it.
        replaced_effect: The action that was counted for that row; ``replaced_stale``: its copies that counted as stale.
        is_positioned: True when ``stored`` has its position already: its image is redecided, not examined.
        moves_cursor: True when it comes from the listing, so that a resumed run can continue the listing after it.
        listed: Objects listed after the previous image, up to this one; ``skipped``: those skipped, by reason.
        reservation: The money held for its next attempt.
        backend: The backend whose permit it has; its next attempt is made there.
        lane: The lane of its last attempt; None without lanes, and before the first one.
        answered_by: Name of the lane whose answer it has; None without lanes, and for labels of earlier runs.
        barred_s: Lanes that throttled it, and until when they do not take it again, by the clock's ``monotonic``.
        readiness: Set when its preparation is over; None when there is none.
        prepared: The result of its preparation, until its call is over.
        answer: What people say about it; None where nobody said anything.
        decision: The decision of a person or of the rules; None while there are no labels.
        recorded: What is recorded about its bytes, once its labels are durable; kept where its action needs the hash.
        failure: Why there is no outcome, or why the action failed.
        same_as: Row of the image with the same content, whose labels it shares; None when it was examined itself.
        followers: Images with the same content that wait for its outcome.
        is_skipped: True for an image that counts as a duplicate and has no verdict.
        is_unpaid: True when the budget did not cover an attempt that it needed: the run stops before it.
        is_withheld: True when its answer is kept and must not be judged: the run stops before it.
        is_ready: True once the outcome is durable: only then may it be counted and its action be carried out.
        effect: The action that was confirmed for it.
        stale: Copies of the object that the present decision would not make.
        claim: The target that is reserved for it until it is settled; no other object may write there.
        is_acted: True once an action of it succeeded or failed in this run.
        counted_in: Tallies that count its action as soon as it is over; empty where it is counted when it is settled.
        is_settled: True once nothing is left to do for it.
    """

    image: ObjectRef
    row_id: int
    stored: StoredImage | None = None
    replaces: StoredImage | None = None
    replaced_effect: ActionKind | None = None
    replaced_stale: int = 0
    is_positioned: bool = False
    moves_cursor: bool = True
    listed: int = 1
    skipped: dict[str, int] | None = None
    reservation: Reservation | None = None
    backend: PacedBackend | None = None
    lane: PacedBackend | None = None
    barred_s: dict[PacedBackend, float] | None = None
    answered_by: str | None = None
    readiness: anyio.Event | None = None
    prepared: Prepared | None = None
    answer: CurrentAnswer | None = None
    decision: Decision | None = None
    detection: Detection | None = None
    recorded: Detection | None = None
    failure: Failure | None = None
    same_as: int | None = None
    followers: list[WorkItem] = []
    is_skipped: bool = False
    is_unpaid: bool = False
    is_withheld: bool = False
    is_ready: bool = False
    effect: ActionKind | None = None
    stale: int = 0
    claim: str | None = None
    is_acted: bool = False
    counted_in: tuple[Tally, ...] = ()
    is_settled: bool = False

    def take_outcome(self, stored: StoredImage, outcome: Outcome) -> None:
        """Take the outcome that follows from stored labels."""
        self.same_as, self.answer = stored.same_as, stored.answer
        self.is_skipped = outcome.is_skipped
        self.decision, self.failure = outcome.decision, outcome.failure

    def confirm_action(self, kind: ActionKind) -> None:
        """Record that its action was confirmed; nothing is left to do for it."""
        self.effect = kind
        self._end_action()

    def fail_action(self, failure: Failure) -> None:
        """Record that its action failed, or cannot be carried out; nothing is left to do for it."""
        self.failure = failure
        self._end_action()

    def _end_action(self) -> None:
        self.is_acted = self.is_settled = True
        for tally in self.counted_in:
            self.count_acted(tally)

    def row(self) -> StoredImage:
        """The row to write to the checkpoint, with the actions that are confirmed for it."""
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
            answer=self.answer,
        )

    def forget_labels(self, *, keeps_recorded: bool) -> None:
        """Drop the labels, which are durable and need no memory while the image waits in the window.

        Args:
            keeps_recorded: Keep what is recorded beside them.
        """
        if keeps_recorded and self.detection is not None:
            self.recorded = Detection((), extra=self.detection.extra)
        self.detection = None

    @property
    def known(self) -> Detection | None:
        """What is recorded about its bytes, by this run or by its row; None where it is not kept."""
        if self.recorded is not None:
            return self.recorded
        return self.stored.detection if self.stored is not None and self.stored.id == self.row_id else None

    @property
    def is_new(self) -> bool:
        """True when the checkpoint has no row for it yet."""
        return self.stored is None or self.stored.id != self.row_id

    @property
    def is_examined(self) -> bool:
        """True once its outcome is known, durable or not."""
        return self.decision is not None or self.failure is not None or self.is_unpaid

    @property
    def counted_verdict(self) -> Verdict | None:
        """The verdict of the rules that ``count_judged`` counts; None where it counts a failure or a skip."""
        return self.decision.by_rules if self.decision is not None and not self.is_skipped else None

    def count_judged(self, tally: Tally) -> None:
        """Count its verdict, failure or skip in ``tally``; every tally counts images in order."""
        if self.moves_cursor:
            tally.count_listed(self.listed, self.skipped)
        if self.is_skipped:
            tally.count_listed(0, {Skip.DUPLICATE.value: 1})
        elif self.decision is not None:
            tally.count_verdict(self.decision.verdict, self.decision.ruled)
        elif self.failure is not None:
            tally.count_failure(self.failure.code)

    def count_acted(self, tally: Tally) -> None:
        """Count the result of its action in ``tally``; for settled images only.

        Of a redecided image, actions of earlier runs were counted with its new decision.
        """
        if self.is_positioned and not self.is_acted:
            return
        tally.stale += self.stale
        if self.effect is not None:
            tally.count_effect(self.effect)
        if self.decision is not None and self.failure is not None and not self.is_skipped:
            tally.count_failed_action(self.decision.verdict, self.failure.code)

    def revoke_replaced(self, tally: Tally) -> None:
        """Subtract the row that this image replaces from a tally that covers all runs of the checkpoint."""
        row = self.replaces
        if row is not None:
            tally.revoke(
                row.decision.verdict if row.decision is not None else None,
                row.failure.code if row.failure is not None else None,
                self.replaced_effect,
                self.replaced_stale,
                ruled=row.decision.ruled if row.decision is not None else None,
            )
