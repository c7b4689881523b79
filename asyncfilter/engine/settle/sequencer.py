"""The sequencer: judges and settles images in the order of examination, in whatever order the responses arrive.

It applies the stop rules, returns what is to be released to the sink, and moves the watermark past the images for which
nothing is left to do. Its window bounds the number of images between admission and settlement; so the memory of a run
does not grow with the listing.

Invariant: verdicts, released actions and the stop position depend on listing, responses and job alone
(docs/guarantees.md, *Same answer at any speed*).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import anyio

from asyncfilter.clock import Clock
from asyncfilter.engine.core.stopping import StopRequest
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.target_claims import TargetClaims
from asyncfilter.events import Emit, ImageExamined, ImageFailed
from asyncfilter.job.spec import Limits, Stop
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.certain_stop import CertainStop
from asyncfilter.policy.outcome import Outcome, Outcomes
from asyncfilter.policy.stopping import stop_cause, stop_due
from asyncfilter.records.error_window import ErrorWindow
from asyncfilter.records.images import Owner
from asyncfilter.records.progress import Watermark
from asyncfilter.records.tally import Tally

WINDOW_IMAGES = 20_000
"""Most images between admission and settlement: at 1,000 a second, one can retry for 20 s before others wait for it."""


class Judged(NamedTuple):
    """Images that were counted, in order, and the stop rule that holds after the last of them."""

    items: Sequence[WorkItem]
    stop: StopRequest | None


class Release(NamedTuple):
    """The release of one judged image: an action to carry out, or the failure of an action that cannot be."""

    item: WorkItem
    effect: Effect | None
    failure: Failure | None


class Settled(NamedTuple):
    """The result of settling: the rows whose positions were taken over, and whether the watermark moved."""

    replaced: list[int]
    is_moved: bool


class Sequencer:
    """Counts, releases and settles images in order, and applies the stop rules.

    Args:
        watermark: The position at which the work continues; from now on only the sequencer changes it.
        stop: The job's stop rules.
        limits: The job's limits.
        outcomes: Give the action of a decision; None for a dry run, which has no actions.
        claims: Decide which image may write a target.
        certain_stop: Counts outcomes in the order of their arrival, from the position of ``watermark`` on.
        emit: Called with every verdict and every failure.
        clock: Time.
    """

    def __init__(
        self,
        *,
        watermark: Watermark,
        stop: Stop,
        limits: Limits,
        outcomes: Outcomes | None,
        claims: TargetClaims,
        certain_stop: CertainStop,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.watermark = watermark
        # Counts up to the last judged image, for the stop rules; those of the watermark end at the last settled image.
        self.ahead = watermark.tally.copy()
        self.this_run = Tally()
        self._stop = stop
        self._limits = limits
        self._outcomes = outcomes
        self._claims = claims
        self.certain_stop = certain_stop
        certain_stop.start_at(watermark.seq, self.ahead)
        self._emit = emit
        self._clock = clock
        self._undecided: deque[WorkItem] = deque()
        self._unsettled: deque[WorkItem] = deque()
        self._is_stopped = False
        self._moved = anyio.Event()
        self._first_seq = watermark.seq
        self._forgotten = 0

    # -- Admission -----------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """True while another image may be admitted."""
        return len(self._undecided) + len(self._unsettled) < WINDOW_IMAGES

    def admit(self, item: WorkItem) -> None:
        """Put an image at the end of the order; its outcome follows later."""
        self._undecided.append(item)

    @property
    def may_be_last(self) -> bool:
        """True when the images admitted so far may be all: a stop is certain, or ``limits.max_images`` is reached."""
        if self.certain_stop.last_seq is not None:
            return True
        cap = self._limits.max_images
        return cap is not None and self.ahead.examined + len(self._undecided) >= cap

    async def wait_room(self) -> None:
        """Return when another image may be admitted."""
        while not self.has_room:
            await self._moved.wait()

    async def wait_judged(self) -> None:
        """Return when every admitted image is judged, or a stop holds before the first that is not."""
        while self._undecided and not self._is_stopped:
            await self._moved.wait()

    async def wait_settled(self) -> None:
        """Return when every admitted image is settled; after a stop, when those up to the stop position are."""
        while self._unsettled or (self._undecided and not self._is_stopped):
            await self._moved.wait()

    def due_stop(self) -> StopRequest | None:
        """The stop rule that holds at the last judged image, or None; when one holds, no later image is judged."""
        reason = stop_due(self.ahead, self._stop, self._limits)
        if reason is None:
            return None
        self._is_stopped = True
        return StopRequest(reason, stop_cause(reason, self.ahead, self._stop))

    def start_at(self, watermark: Watermark) -> None:
        """Continue from a position whose counts were made again; all admitted images must be settled."""
        self.watermark = watermark
        self.ahead = watermark.tally.copy()
        self._first_seq = watermark.seq
        self.certain_stop.start_at(watermark.seq, self.ahead)

    def count_instead(self, seq: int, after: Outcome, before: Outcome) -> None:
        """Count a settled image by the outcome ``after``, where it was counted by ``before``.

        Stop rules have seen it, and do not see it again.
        """
        for tally in (self.watermark.tally, self.ahead, *([self.this_run] if seq > self._first_seq else [])):
            after.count_instead_of(before, tally)

    @property
    def life_and_run(self) -> tuple[Tally, Tally]:
        """The settled counts of the checkpoint's life, and those of this run."""
        return self.watermark.tally, self.this_run

    def forget_unjudged(self) -> None:
        """Forget the images beyond the stop, once the run has drained: settled ones may be decided again after that."""
        self._forgotten = self.overshoot
        self._undecided.clear()
        self._is_stopped = False

    def restart_error_window(self) -> None:
        """Restart the error window of ``stop.errors``, because failed images are tried again."""
        for tally in (self.watermark.tally, self.ahead):
            tally.recent = ErrorWindow()

    def begin_pass(self, origin: str = "") -> None:
        """Start a new pass over the listing, or over the list ``origin``; all admitted images must be settled."""
        self.watermark.cursor, self.watermark.listing_done, self.watermark.origin = None, False, origin
        self.watermark.pass_seq = self.watermark.seq
        for tally in (self.watermark.tally, self.ahead):
            tally.listed, tally.skipped = 0, {}

    def end_pass(self, listed: int, skipped: Mapping[str, int]) -> None:
        """Record the listing's end, with what was listed after the last image; all admitted images must be settled."""
        self.watermark.listing_done = True
        for tally in (self.watermark.tally, self.ahead, self.this_run):
            tally.count_listed(listed, skipped)

    @property
    def overshoot(self) -> int:
        """Images that this run paid for beyond its stop position."""
        return self._forgotten + sum(
            p.is_ready and p.stored is None and p.decision is not None for p in self._undecided
        )

    # -- In order: only the settle loop calls these methods ------------------------------------------------------------

    def judge(self) -> Judged:
        """Count the images whose outcomes are durable, up to the first whose outcome is not, or up to a stop."""
        judged: list[WorkItem] = []
        stop: StopRequest | None = None
        while stop is None and not self._is_stopped and self._undecided and self._undecided[0].is_ready:
            item = self._undecided[0]
            if item.is_unpaid or item.is_withheld:
                # It stays in the queue: a run with a higher budget, or without the demand that versions agree, examines
                # or judges it at this position.
                self._is_stopped = True
                stop = StopRequest(StopReason.BUDGET if item.is_unpaid else StopReason.ERRORS, None)
                break
            self._undecided.popleft()
            judged.append(item)
            if item.is_positioned:
                continue  # it was counted when it was redecided
            item.revoke_replaced(self.ahead)
            item.count_judged(self.ahead)
            self._report(item)
            # After every image, not after every batch: the stop position must not depend on how outcomes arrived.
            stop = self.due_stop()
        return Judged(judged, stop)

    async def release(self, judged: Sequence[WorkItem]) -> list[Release]:
        """The actions and failures that follow for judged images; images without either are settled.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        outcomes = [self._outcome(item) for item in judged]
        owners = await self._claims.owners(outcome.pending for outcome in outcomes if outcome is not None)
        releases = [self._release(*judgement, owners) for judgement in zip(judged, outcomes, strict=True)]
        return [release for release in releases if release is not None]

    def settle(self) -> Settled:
        """Move the watermark past the images for which nothing is left to do, up to the first that is not settled."""
        seq = self.watermark.seq
        replaced: list[int] = []
        while self._unsettled and self._unsettled[0].is_settled:
            item = self._unsettled.popleft()
            self._settle_one(item)
            if item.replaces is not None:
                replaced.append(item.replaces.id)
        # Also when nothing was settled: `wait_judged` waits for what `judge` did in this round.
        self._moved.set()
        self._moved = anyio.Event()
        return Settled(replaced, self.watermark.seq != seq)

    # -- Release -------------------------------------------------------------------------------------------------------

    def _outcome(self, item: WorkItem) -> Outcome | None:
        return self._outcomes.as_stored(item.row(), item.known) if self._outcomes is not None else None

    def _release(self, item: WorkItem, outcome: Outcome | None, owners: Mapping[str, Owner]) -> Release | None:
        # In the order of judging, before its action starts: the watermark cannot pass it.
        self._unsettled.append(item)
        if outcome is None:
            item.is_settled = True
            return None
        if not item.is_positioned:
            item.stale += len(outcome.stale)
        effect, failure = outcome.pending, outcome.failure
        if effect is not None and not self._claims.claim(item, effect, owners):
            uri = effect.target.uri if effect.target is not None else ""
            failure = Failure("target_collision", f"the target {uri} belongs to another object")
        # Equal when the examination failed: that was recorded with the outcome, and reported when it was judged.
        if failure is not None and failure != item.failure:
            item.fail_action(failure)
            self._report_failure(item, failure)
            return Release(item, None, failure)
        if effect is None:
            item.effect = outcome.effect.kind if outcome.is_done and outcome.effect is not None else None
            item.is_settled = True
            return None
        return Release(item, effect, None)

    # -- Settlement ----------------------------------------------------------------------------------------------------

    def _settle_one(self, item: WorkItem) -> None:
        mark = self.watermark
        item.revoke_replaced(mark.tally)
        for tally in self.life_and_run:
            if not item.is_positioned:
                item.count_judged(tally)
            if not item.counted_in:
                item.count_acted(tally)
        # A redecided image is before the watermark, which `start_at` put behind all of them.
        if not item.is_positioned:
            mark.seq = item.image.seq
        # Images that are tried again were listed before: the cursor must not go back to them.
        if item.moves_cursor:
            mark.cursor = item.image.key
        # From now on the checkpoint names the owner: the next round commits the action before it releases any image.
        self._claims.release(item)

    # -- Events --------------------------------------------------------------------------------------------------------

    def _report(self, item: WorkItem) -> None:
        image, decision = item.image, item.decision
        if item.is_skipped:
            return
        if decision is not None:
            self._emit(
                ImageExamined(
                    at_unix_s=self._clock.unix(),
                    seq=image.seq,
                    key=image.key,
                    verdict=decision.verdict.value,
                    rule=decision.rule,
                    label=decision.label,
                    from_checkpoint=item.stored is not None,
                    lane=None if item.stored is not None else item.answered_by,
                )
            )
        if item.failure is not None:
            self._report_failure(item, item.failure)

    def _report_failure(self, item: WorkItem, failure: Failure) -> None:
        self._emit(
            ImageFailed(
                at_unix_s=self._clock.unix(),
                seq=item.image.seq,
                key=item.image.key,
                code=failure.code,
                message=failure.message,
            )
        )
