"""The tally: the counts up to one position in the order of examination.

A run has two tallies. That of the sequencer is ahead and decides about stopping. The settled one belongs to the
watermark and is stored in the checkpoint, so that a resumed run continues to count without reading old images. Both
count the same outcomes in the same order.

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
        judged: Verdicts, whether or not the action failed; ``matches`` of them were keep.
        misses_in_a_row: Reject verdicts since the last keep.
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

    def count_verdict(self, verdict: Verdict) -> None:
        """Add one decided image."""
        self._shift(verdict, 1)
        self.judged += 1
        self.recent.count()
        if verdict is Verdict.KEEP:
            self.matches += 1
            self.misses_in_a_row = 0
        elif verdict is Verdict.REJECT:
            self.misses_in_a_row += 1

    def count_failure(self, code: str) -> None:
        """Add one image that could not be examined; of the stop rules only ``errors`` counts it."""
        _add(self.failed, code, 1)
        self.recent.count_failure()

    def count_failed_action(self, verdict: Verdict, code: str) -> None:
        """Move an image already counted by its verdict to the failed ones; it stays a match."""
        self._shift(verdict, -1)
        _add(self.failed, code, 1)

    def count_effect(self, kind: ActionKind) -> None:
        """Add one confirmed action."""
        _add(self.effects, kind.value, 1)

    def take_back_effect(self, kind: ActionKind) -> None:
        """Subtract one confirmed action that was undone."""
        _add(self.effects, kind.value, -1)

    def revoke(
        self, verdict: Verdict | None, failure_code: str | None, effect: ActionKind | None, stale: int = 0
    ) -> None:
        """Subtract one image that is about to be examined anew; ``misses_in_a_row`` and ``recent`` stay as they are.

        Args:
            verdict: Its verdict; None for an image without one.
            failure_code: The code under which it was counted as failed; None when it was not.
            effect: The action that was counted for it; None when there was none.
            stale: Its copies that were counted as stale.
        """
        if failure_code is not None:
            _add(self.failed, failure_code, -1)
        elif verdict is not None:
            self._shift(verdict, -1)
        if verdict is not None:
            self.judged -= 1
        if verdict is Verdict.KEEP:
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
