"""The sequencer: judges and settles images in the order of examination, whatever order the responses came in.

It applies the stop rules, says what is to be released to the sink, and moves the watermark behind the images on which
nothing more will happen. Its window is the one bound on everything between admission and settlement: memory is flat
because the window is.

Invariant: verdicts, released actions and the stop position depend on listing, responses and job alone
(docs/guarantees.md, *Same answer at any speed*).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import anyio

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import StopRequest
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.settle.target_claims import TargetClaims
from asyncfilter.events import Emit, ImageExamined, ImageFailed
from asyncfilter.job.spec import Limits, Stop
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.outcome import Outcome, Outcomes
from asyncfilter.policy.stopping import stop_cause, stop_due
from asyncfilter.ports import Owner, Watermark
from asyncfilter.records.error_window import Recent
from asyncfilter.records.tally import Tally

WINDOW_IMAGES = 20_000
"""Images between admission and settlement at the most: at 1,000 a second, one may retry for 20 s before others wait."""


class Judged(NamedTuple):
    """Images that were counted, in order, and the stop that holds behind the last of them."""

    passages: Sequence[Passage]
    stop: StopRequest | None


class Release(NamedTuple):
    """What follows for one judged image: an action to carry out, or the failure of one that cannot be."""

    passage: Passage
    effect: Effect | None
    failure: Failure | None


class Settled(NamedTuple):
    """What was settled: the rows whose positions were taken over, and whether the watermark moved."""

    replaced: list[int]
    is_moved: bool


class Sequencer:
    """Counts, stops, releases and settles, in order.

    Args:
        watermark: Where the work continues; owned by the sequencer from now on.
        stop: The job's stop rules.
        limits: The job's limits.
        outcomes: Say what follows from a decision; None for a dry run, where nothing does.
        claims: Which image may write which target.
        emit: Told of every verdict and every failure.
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
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.watermark = watermark
        self.ahead = watermark.tally.copy()
        self.this_run = Tally()
        self._stop = stop
        self._limits = limits
        self._outcomes = outcomes
        self._claims = claims
        self._emit = emit
        self._clock = clock
        self._undecided: deque[Passage] = deque()
        self._unsettled: deque[Passage] = deque()
        self._is_stopped = False
        self._moved = anyio.Event()

    # -- Admission -----------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """True while another image may be admitted."""
        return len(self._undecided) + len(self._unsettled) < WINDOW_IMAGES

    def admit(self, passage: Passage) -> None:
        """Give an image its place in the order; its outcome follows."""
        self._undecided.append(passage)

    @property
    def may_be_last(self) -> bool:
        """True when the images admitted so far could be all that ``limits.max_images`` allows."""
        cap = self._limits.max_images
        return cap is not None and self.ahead.examined + len(self._undecided) >= cap

    async def wait_room(self) -> None:
        """Return when another image may be admitted."""
        while not self.has_room:
            await self._moved.wait()

    async def wait_judged(self) -> None:
        """Return when every admitted image is decided, or the run stopped before it."""
        while self._undecided and not self._is_stopped:
            await self._moved.wait()

    async def wait_settled(self) -> None:
        """Return when nothing more will happen to any admitted image, or the run stopped before it."""
        while self._unsettled or (self._undecided and not self._is_stopped):
            await self._moved.wait()

    def due_stop(self) -> StopRequest | None:
        """The stop rule that holds at the last judged image; nothing is judged behind it."""
        reason = stop_due(self.ahead, self._stop, self._limits)
        if reason is None:
            return None
        self._is_stopped = True
        return StopRequest(reason, stop_cause(reason, self.ahead, self._stop))

    def start_at(self, watermark: Watermark) -> None:
        """Go on from a position whose counts were made anew; nothing may be under way."""
        self.watermark = watermark
        self.ahead = watermark.tally.copy()

    def forgive(self) -> None:
        """Count errors anew for ``stop.errors``: failed images are about to be tried again."""
        for tally in (self.watermark.tally, self.ahead):
            tally.recent = Recent()

    def begin_pass(self) -> None:
        """Start a new pass over the listing; nothing may be under way."""
        self.watermark.cursor, self.watermark.listing_done = None, False
        self.watermark.pass_seq = self.watermark.seq
        for tally in (self.watermark.tally, self.ahead):
            tally.listed, tally.skipped = 0, {}

    def end_pass(self, listed: int, skipped: Mapping[str, int]) -> None:
        """Note the listing's end, with what was listed behind the last image; nothing may be under way."""
        self.watermark.listing_done = True
        for tally in (self.watermark.tally, self.ahead, self.this_run):
            tally.count_listed(listed, skipped)

    @property
    def overshoot(self) -> int:
        """Images that were paid for in this run and lie beyond the position it stopped at."""
        return sum(p.is_ready and p.stored is None and p.decision is not None for p in self._undecided)

    # -- In order: only the settle loop calls what follows -------------------------------------------------------------

    def judge(self) -> Judged:
        """Count the images whose outcomes are durable, up to the first that is not, or up to a stop."""
        judged: list[Passage] = []
        stop: StopRequest | None = None
        while stop is None and not self._is_stopped and self._undecided and self._undecided[0].is_ready:
            passage = self._undecided[0]
            if passage.is_unpaid:
                self._is_stopped = True
                stop = StopRequest(StopReason.BUDGET, None)
                break
            self._undecided.popleft()
            judged.append(passage)
            if passage.is_seated:
                continue  # counted when its decision was made anew
            passage.revoke_replaced(self.ahead)
            passage.count_judged(self.ahead)
            self._report(passage)
            stop = self.due_stop()
        return Judged(judged, stop)

    async def release(self, judged: Sequence[Passage]) -> list[Release]:
        """What follows for judged images; those for which nothing does are settled.

        Raises:
            CheckpointError: It cannot be read.
        """
        outcomes = [self._outcome(passage) for passage in judged]
        owners = await self._claims.owners(outcome.pending for outcome in outcomes if outcome is not None)
        releases = [self._release(*judgement, owners) for judgement in zip(judged, outcomes, strict=True)]
        return [release for release in releases if release is not None]

    def settle(self) -> Settled:
        """Move the watermark behind the images on which nothing more will happen."""
        seq = self.watermark.seq
        replaced: list[int] = []
        while self._unsettled and self._unsettled[0].is_settled:
            passage = self._unsettled.popleft()
            self._settle_one(passage)
            if passage.replaces is not None:
                replaced.append(passage.replaces.id)
        self._moved.set()
        self._moved = anyio.Event()
        return Settled(replaced, self.watermark.seq != seq)

    # -- Release -------------------------------------------------------------------------------------------------------

    def _outcome(self, passage: Passage) -> Outcome | None:
        return self._outcomes.as_stored(passage.row()) if self._outcomes is not None else None

    def _release(self, passage: Passage, outcome: Outcome | None, owners: Mapping[str, Owner]) -> Release | None:
        self._unsettled.append(passage)
        if outcome is None:
            passage.is_settled = True
            return None
        if not passage.is_seated:
            passage.stale += len(outcome.stale)
        effect, failure = outcome.pending, outcome.failure
        if effect is not None and not self._claims.claim(passage, effect, owners):
            uri = effect.target.uri if effect.target is not None else ""
            failure = Failure("target_collision", f"another object lies at {uri} already")
        if failure is not None and failure != passage.failure:
            passage.fail_action(failure)
            self._report_failure(passage, failure)
            return Release(passage, None, failure)
        if effect is None:
            passage.effect = outcome.effect.kind if outcome.is_done and outcome.effect is not None else None
            passage.is_settled = True
            return None
        return Release(passage, effect, None)

    # -- Settlement ----------------------------------------------------------------------------------------------------

    def _settle_one(self, passage: Passage) -> None:
        mark = self.watermark
        passage.revoke_replaced(mark.tally)
        for tally in (mark.tally, self.this_run):
            if not passage.is_seated:
                passage.count_judged(tally)
            passage.count_acted(tally)
        if not passage.is_seated:
            mark.seq = passage.image.seq
        if passage.moves_cursor:
            mark.cursor = passage.image.key
        self._claims.release(passage)

    # -- Events --------------------------------------------------------------------------------------------------------

    def _report(self, passage: Passage) -> None:
        image, decision = passage.image, passage.decision
        if passage.is_skipped:
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
                    from_checkpoint=passage.stored is not None,
                )
            )
        if passage.failure is not None:
            self._report_failure(passage, passage.failure)

    def _report_failure(self, passage: Passage, failure: Failure) -> None:
        self._emit(
            ImageFailed(
                at_unix_s=self._clock.unix(),
                seq=passage.image.seq,
                key=passage.image.key,
                code=failure.code,
                message=failure.message,
            )
        )
