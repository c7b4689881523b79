"""Outcomes: what follows for an image. Used by examination, refilter, ``apply``, stale copies and reports alike.

Input: a row, stored or about to be stored (labels, decision, failure, confirmed actions, duplicate or not, removal, the
answer of people), and the job's rules and actions. Output: the decision, the failure that still applies, the wanted
action and whether it was done already, and the stale copies.

Pure: the same row and job give the same outcome. This is the one place where a person's answer meets the rules:

- Where people say keep or reject, that is the verdict. Where they could not tell, or disagree, it is review.
- The person's first label takes the place of the rule's.
- An image without labels (not examined yet, or failed) has no decision, whatever people say about it.
- An image that counts as a skipped duplicate stays one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Decision, Detection, Effect, Failure, Skip
from asyncfilter.policy.effects import IMMEDIATE, Effects, done, image_of, with_hash
from asyncfilter.policy.rules import Ruleset
from asyncfilter.records.answers import CurrentAnswer
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.removal import REMOVING
from asyncfilter.records.tally import Tally

TARGET_FAILURES = frozenset({"target_collision", "target_too_long", "target_empty", "target_unsafe"})
"""Failures that new rules or targets may cure without another attempt."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The outcome of one image.

    Attributes:
        decision: Of a person or of the rules; None without labels.
        failure: The failure that still applies: the image could not be examined (no ``decision``), its action failed,
            or its target cannot be made (no ``effect``).
        effect: The action that the job wants for the image, confirmed or not; None when it wants none.
        is_skipped: True for an image that counts as a skipped duplicate and nothing else.
        is_done: True when ``effect`` is confirmed already.
        stale: Confirmed copies that ``effect`` would not make.
        removal: The confirmed action that took the image out of the source; None while the image is there.
    """

    decision: Decision | None
    failure: Failure | None
    effect: Effect | None
    is_skipped: bool = False
    is_done: bool = False
    stale: tuple[DoneEffect, ...] = ()
    removal: DoneEffect | None = None

    @property
    def pending(self) -> Effect | None:
        """The action that is still to be carried out; None while a failure applies."""
        return None if self.is_done or self.failure is not None else self.effect

    @property
    def counted(self) -> ActionKind | None:
        """The confirmed action that counts for the image: its removal, or the action that the job wants."""
        if self.removal is not None:
            return self.removal.kind
        if self.effect is not None and self.is_done and self.failure is None:
            return self.effect.kind
        return None

    def count(self, tally: Tally) -> None:
        """Add the image to a tally: its verdict or failure, its confirmed action and its stale copies.

        A removed image counts by its removal; one that is skipped has neither verdict nor failure.
        """
        if self.is_skipped:
            tally.count_listed(0, {Skip.DUPLICATE.value: 1})
        elif self.decision is not None:
            tally.count_verdict(self.decision.verdict, self.decision.ruled)
        elif self.failure is not None:
            tally.count_failure(self.failure.code)
        tally.stale += len(self.stale)
        kind = self.counted
        if kind is not None:
            tally.count_effect(kind)
        elif self.failure is not None and self.decision is not None and not self.is_skipped:
            tally.count_failed_action(self.decision.verdict, self.failure.code)

    def count_instead_of(self, before: Outcome, tally: Tally) -> None:
        """Count the image by this outcome where it was counted by ``before``; what stop rules see stays as it is."""
        before._count_again(tally, -1)
        self._count_again(tally, 1)

    def _count_again(self, tally: Tally, by: int) -> None:
        tally.stale += by * len(self.stale)
        kind, decision = self.counted, self.decision
        if kind is not None:
            tally.count_effect(kind, by)
        if self.is_skipped:
            return
        failure = None if kind is not None and decision is not None else self.failure
        tally.count_again(None if decision is None else decision.verdict, None if failure is None else failure.code, by)
        if decision is not None and decision.ruled is not None:
            tally.count_reviewed(decision.verdict, decision.ruled, by)


class Outcomes:
    """Computes the outcome of every image of a job.

    Args:
        job: The job with the actions.
        rules: The job's rules; None where only ``as_stored`` is used.
        kinds: The actions that are wanted here; images whose action is of another kind have no ``effect``.

    Attributes:
        effects: The actions, compiled.
    """

    def __init__(self, job: Job, rules: Ruleset | None = None, *, kinds: Collection[ActionKind] = IMMEDIATE) -> None:
        self.effects = Effects(job, kinds)
        self._rules = rules
        self._bucket = job.source.bucket
        self._skips_duplicates = job.source.skip_duplicates

    def of(self, row: StoredImage) -> Outcome:
        """The outcome of an image by its labels, whether just received or read from the checkpoint.

        A row without a position gets the same outcome as one with it. A failure of the action applies until the action
        is tried again, is done, or is no longer wanted.

        Args:
            row: The image, with its labels, and with the answer of people where there is one.
        """
        decision = self.decide(row.detection, row.answer)
        wanted, failure = self._wanted(row, decision, row.detection)
        effect = wanted if row.removal is None else None
        if failure is None and row.failure is not None:
            failure = self._standing(row, row.failure, decision, effect)
        return self._outcome(row, decision, failure, wanted)

    def as_stored(self, row: StoredImage, detection: Detection | None = None) -> Outcome:
        """The outcome of an image by the decision that its row holds; its labels are not used.

        A stored failure always applies. A row without a position has no wanted action: all its copies are stale.

        Args:
            row: The image.
            detection: What is recorded about its bytes, where the row does not have it.
        """
        seen = row.detection or detection
        wanted, failure = self._wanted(row, row.decision, seen) if row.seq is not None else (None, None)
        return self._outcome(row, row.decision, row.failure or failure, wanted)

    def decide(self, detection: Detection | None, human: CurrentAnswer | None = None) -> Decision | None:
        """The decision of a person, else of the rules; None without labels.

        Args:
            detection: The labels.
            human: What people say about the image.

        Raises:
            ValueError: There are no rules.
        """
        if self._rules is None:
            raise ValueError("these outcomes were made without rules: only stored decisions can be asked about")
        ruled = self._rules.decide(detection) if detection is not None else None
        if human is None or ruled is None:
            return ruled
        verdict, label = human.decides, human.label or ruled.label
        if verdict is None:
            return Decision(ruled.verdict, ruled.rule, label)
        return Decision(verdict, ruled.rule, label, ruled.verdict)

    def is_skipped(self, row: StoredImage) -> bool:
        """Whether an image counts as a skipped duplicate and nothing else."""
        return self._skips_duplicates and row.same_as is not None

    def _wanted(
        self, row: StoredImage, decision: Decision | None, detection: Detection | None
    ) -> tuple[Effect | None, Failure | None]:
        """The action for an image with this decision, or why its target cannot be made.

        An image that is skipped has none. Of one that left the source it tells which copies are wanted, and no failure.
        """
        is_duplicate = row.same_as is not None
        if decision is None or not self.effects.covers(decision, is_duplicate=is_duplicate):
            return None, None
        if self.is_skipped(row):
            return None, None
        try:
            effect = self.effects.effect(decision, image_of(self._bucket, row), is_duplicate=is_duplicate)
            return None if effect is None else with_hash(effect, detection), None
        except ImageError as error:
            return None, Failure(error.code, error.message) if row.removal is None else None

    def _standing(
        self, row: StoredImage, failure: Failure, decision: Decision | None, effect: Effect | None
    ) -> Failure | None:
        """The stored ``failure``, if it still applies after the image is decided anew."""
        if decision is None:
            return failure
        if failure.code in TARGET_FAILURES or row.removal is not None:
            return None
        if effect is not None:
            return None if done(effect) in row.effects else failure
        # No effect here, because `run` makes no moves and deletes: a failure of `apply` stays until `apply` is
        # repeated.
        action = self.effects.action(decision, is_duplicate=row.same_as is not None)
        return failure if action.kind in REMOVING and not self.is_skipped(row) else None

    def _outcome(
        self, row: StoredImage, decision: Decision | None, failure: Failure | None, wanted: Effect | None
    ) -> Outcome:
        is_skipped = self.is_skipped(row)
        effect = wanted if row.removal is None else None
        if not row.effects:  # most images: no action was carried out
            return Outcome(decision=decision, failure=failure, effect=effect, is_skipped=is_skipped)
        return Outcome(
            decision=decision,
            failure=failure,
            effect=effect,
            is_skipped=is_skipped,
            is_done=effect is not None and done(effect) in row.effects,
            stale=_stale_copies(row, wanted),
            removal=row.removal,
        )


def _stale_copies(row: StoredImage, effect: Effect | None) -> tuple[DoneEffect, ...]:
    target = effect.target.uri if effect is not None and effect.target is not None else None
    return tuple(was for was in row.effects if was.kind is ActionKind.COPY and was.target != target)
