"""The tally: the counts up to one position in the order of examination.

A run has two tallies. That of the sequencer is ahead and decides about stopping. The settled one belongs to the
watermark and is stored in the checkpoint, so that a resumed run continues to count without reading old images. Both
count the same outcomes in the same order.

``keep``, ``review`` and ``reject`` count final verdicts, which may be a person's. ``judged``, ``matches`` and
``misses_in_a_row`` count verdicts of the rules: stop rules see only these, so that no answer of a person moves a stop.

Invariant: ``examined == keep + review + reject + sum(failed)``.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from asyncfilter.model import ActionKind, Verdict
from asyncfilter.records.error_window import ErrorWindow


class Tally(msgspec.Struct, kw_only=True):
    """Counts of everything up to a position, and the state of the stop rules.

    Attributes:
        listed: Objects in the current pass over the listing.
        skipped: Of these, the ones not examined, by reason.
        keep: Images with this verdict whose action, if they have one, did not fail; likewise review and reject.
        failed: Images without an outcome, by cause.
        judged: Verdicts of the rules, whether or not the action failed; ``matches`` of them were keep.
        misses_in_a_row: Reject verdicts of the rules since the last keep.
        reviewed: Verdicts of people, whether or not the action failed, by name; the names are those of ``Reviewed``.
        effects: Actions confirmed, by kind.
        stale: Copies that the present rules would not make.
        recent: Which of the last images could not be examined.
    """

    listed: int = 0
    skipped: dict[str, int] = {}
    keep: int = 0
    review: int = 0
    reject: int = 0
    failed: dict[str, int] = {}
    judged: int = 0
    matches: int = 0
    misses_in_a_row: int = 0
    reviewed: dict[str, int] = {}
    effects: dict[str, int] = {}
    stale: int = 0
    recent: ErrorWindow = msgspec.field(default_factory=ErrorWindow)

    @property
    def examined(self) -> int:
        """Images with an outcome."""
        return self.keep + self.review + self.reject + sum(self.failed.values())

    def count_listed(self, listed: int, skipped: Mapping[str, int] | None = None) -> None:
        """Add ``listed`` objects, of which ``skipped`` (by reason) are not examined."""
        self.listed += listed
        for reason, count in (skipped or {}).items():
            _add(self.skipped, reason, count)

    def count_verdict(self, verdict: Verdict, ruled: Verdict | None = None) -> None:
        """Add one decided image.

        Args:
            verdict: The final verdict.
            ruled: The verdict of the rules where a person decided; None where no person did.
        """
        self._shift(verdict, 1)
        self.judged += 1
        self.recent.count()
        if ruled is not None:
            self.count_reviewed(verdict, ruled, 1)
            verdict = ruled
        if verdict is Verdict.KEEP:
            self.matches += 1
            self.misses_in_a_row = 0
        elif verdict is Verdict.REJECT:
            self.misses_in_a_row += 1

    def count_reviewed(self, verdict: Verdict, ruled: Verdict, by: int) -> None:
        """Add the verdict of a person about an image; ``by`` is -1 to subtract it."""
        _add(self.reviewed, "unsure" if verdict is Verdict.REVIEW else verdict.value, by)
        if {verdict, ruled} == {Verdict.KEEP, Verdict.REJECT}:
            _add(self.reviewed, "overruled", by)

    def count_again(self, verdict: Verdict | None, failure_code: str | None, by: int) -> None:
        """Add an image once more that the stop rules have seen, by its verdict or failure; ``by`` -1 subtracts it."""
        if failure_code is not None:
            _add(self.failed, failure_code, by)
        elif verdict is not None:
            self._shift(verdict, by)

    def count_failure(self, code: str) -> None:
        """Add one image that could not be examined; of the stop rules only ``errors`` counts it."""
        _add(self.failed, code, 1)
        self.recent.count_failure()

    def count_failed_action(self, verdict: Verdict, code: str) -> None:
        """Move an image already counted by its verdict to the failed ones; it stays a match."""
        self._shift(verdict, -1)
        _add(self.failed, code, 1)

    def count_effect(self, kind: ActionKind, by: int = 1) -> None:
        """Add one confirmed action; ``by`` is -1 to subtract one."""
        _add(self.effects, kind.value, by)

    def take_back_effect(self, kind: ActionKind) -> None:
        """Subtract one confirmed action that was undone."""
        _add(self.effects, kind.value, -1)

    def revoke(
        self,
        verdict: Verdict | None,
        failure_code: str | None,
        effect: ActionKind | None,
        stale: int = 0,
        *,
        ruled: Verdict | None = None,
    ) -> None:
        """Subtract one image that is about to be examined anew; ``misses_in_a_row`` and ``recent`` stay as they are.

        Args:
            verdict: Its verdict; None for an image without one.
            failure_code: The code under which it was counted as failed; None when it was not.
            effect: The action that was counted for it; None when there was none.
            stale: Its copies that were counted as stale.
            ruled: As for ``count_verdict``.
        """
        self.count_again(verdict, failure_code, -1)
        if verdict is not None:
            self.judged -= 1
            if ruled is not None:
                self.count_reviewed(verdict, ruled, -1)
        if (verdict if ruled is None else ruled) is Verdict.KEEP:
            self.matches -= 1
        if effect is not None:
            _add(self.effects, effect.value, -1)
        self.stale -= stale

    def copy(self) -> Tally:
        """An independent tally with the same counts."""
        return msgspec.structs.replace(
            self,
            skipped=dict(self.skipped),
            failed=dict(self.failed),
            reviewed=dict(self.reviewed),
            effects=dict(self.effects),
            recent=self.recent.copy(),
        )

    def _shift(self, verdict: Verdict, by: int) -> None:
        if verdict is Verdict.KEEP:
            self.keep += by
        elif verdict is Verdict.REVIEW:
            self.review += by
        else:
            self.reject += by


def _add(counts: dict[str, int], key: str, by: int) -> None:
    total = counts.get(key, 0) + by
    if total:
        counts[key] = total
    else:
        counts.pop(key, None)
