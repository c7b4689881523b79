"""The monitor: sees verdicts in the order of examination, whatever order the answers came in.

It applies the stop rules, releases images to the sink, and moves the watermark behind the images on which nothing more
will happen. Its window is the one bound on everything between admission and settlement: memory is flat because the
window is.

Invariant: verdicts, released actions and the stop position depend on listing, responses and job alone (contract,
invariant 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import anyio

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import Journal
from asyncfilter.engine.passage import Passage
from asyncfilter.errors import AsyncFilterError, ImageError
from asyncfilter.events import Emit, ImageExamined, ImageFailed
from asyncfilter.job.spec import Limits, Stop
from asyncfilter.model import Effect, Failure, StopReason
from asyncfilter.policy.effects import Effects as Plan
from asyncfilter.policy.effects import done, removal_of, stale_copies
from asyncfilter.policy.stopping import stop_cause, stop_due
from asyncfilter.ports import Checkpoint, Owner, Watermark
from asyncfilter.records.error_window import Recent
from asyncfilter.records.tally import Tally

WINDOW_IMAGES = 20_000
"""Images between admission and settlement at the most: at 1,000 a second, one may retry for 20 s before others wait."""


class Monitor:
    """Counts, stops, releases and settles, in order."""

    def __init__(
        self,
        *,
        watermark: Watermark,
        stop: Stop,
        limits: Limits,
        plan: Plan | None,
        checkpoint: Checkpoint,
        journal: Journal,
        release: Callable[[Passage, Effect], None],
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.watermark = watermark
        self.ahead = watermark.tally.copy()
        self.this_run = Tally()
        self.changed = 0
        self._stop = stop
        self._limits = limits
        self._plan = plan
        self._checkpoint = checkpoint
        self._journal = journal
        self._release_to_sink = release
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._undecided: deque[Passage] = deque()
        self._unsettled: deque[Passage] = deque()
        self._claims: dict[str, str] = {}
        # Two objects could map to one target now, or what earlier runs wrote lies where other templates had it.
        self._watches_targets = plan is not None and (plan.needs_owners or bool(watermark.tally.effects))
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

    def check_stop(self) -> bool:
        """End the run when a stop rule holds already; True when it does."""
        reason = stop_due(self.ahead, self._stop, self._limits)
        if reason is not None:
            self._halt(reason, stop_cause(reason, self.ahead, self._stop))
        return reason is not None

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
        self._journal.touch()

    @property
    def overshoot(self) -> int:
        """Images that were paid for in this run and lie beyond the position it stopped at."""
        return sum(p.is_ready and p.stored is None and p.decision is not None for p in self._undecided)

    # -- In order ------------------------------------------------------------------------------------------------------

    async def advance(self) -> None:
        """Judge what became ready and settle what is finished. Only the journal's task calls this."""
        judged = self._judge_ready()
        if judged:
            await self._release(judged)
        self._settle()
        self._moved.set()
        self._moved = anyio.Event()

    def _judge_ready(self) -> list[Passage]:
        judged: list[Passage] = []
        while self._undecided and self._undecided[0].is_ready and not self._is_stopped:
            passage = self._undecided[0]
            if passage.is_unpaid:
                self._halt(StopReason.BUDGET)
                break
            self._undecided.popleft()
            judged.append(passage)
            if passage.is_seated:
                continue  # counted when its decision was made anew
            passage.revoke_replaced(self.ahead)
            passage.count_judged(self.ahead)
            self._tell(passage)
            self.check_stop()
        return judged

    def _halt(self, reason: StopReason, cause: AsyncFilterError | None = None) -> None:
        self._is_stopped = True
        self._ending.request(reason, cause)

    def _tell(self, passage: Passage) -> None:
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
            self._tell_failure(passage, passage.failure)

    def _tell_failure(self, passage: Passage, failure: Failure) -> None:
        self._emit(
            ImageFailed(
                at_unix_s=self._clock.unix(),
                seq=passage.image.seq,
                key=passage.image.key,
                code=failure.code,
                message=failure.message,
            )
        )

    # -- Release -------------------------------------------------------------------------------------------------------

    async def _release(self, judged: list[Passage]) -> None:
        wanted = [self._wanted(passage) for passage in judged]
        owners = await self._owners(wanted)
        for passage, effect in zip(judged, wanted, strict=True):
            self._unsettled.append(passage)
            self._count_stale(passage, effect)
            if effect is None or self._was_done(passage, effect):
                passage.is_settled = True
            elif self._is_claimed(passage, effect, owners):
                self._fail(passage, Failure("target_collision", f"another object lies at {_uri(effect)} already"))
            else:
                self._release_to_sink(passage, effect)

    def _wanted(self, passage: Passage) -> Effect | None:
        if self._plan is None or passage.decision is None or passage.failure is not None or passage.is_skipped:
            return None
        if passage.is_seated and passage.stored is not None and removal_of(passage.stored) is not None:
            return None
        try:
            return self._plan.effect(passage.decision, passage.image, is_duplicate=passage.same_as is not None)
        except ImageError as error:
            self._fail(passage, Failure(error.code, error.message))
            return None

    async def _owners(self, wanted: list[Effect | None]) -> Mapping[str, Owner]:
        targets = [effect.target.uri for effect in wanted if effect is not None and effect.target is not None]
        if not targets or not self._watches_targets:
            return {}
        return await self._checkpoint.owners(targets)

    def _is_claimed(self, passage: Passage, effect: Effect, owners: Mapping[str, Owner]) -> bool:
        if effect.target is None or not self._watches_targets:
            return False
        uri, key = effect.target.uri, passage.image.key
        owner = owners.get(uri)
        if self._claims.get(uri, key) != key or (owner is not None and owner.key != key):
            return True
        if owner is not None and owner.moved not in {None, passage.row_id}:
            return True  # what the key held before lies there, and nowhere else
        self._claims[uri] = key
        passage.claim = uri
        return False

    def _was_done(self, passage: Passage, effect: Effect) -> bool:
        stored = passage.stored
        if stored is None or stored.id != passage.row_id or done(effect) not in stored.effects:
            return False
        passage.effect = effect.kind
        return True

    def _count_stale(self, passage: Passage, effect: Effect | None) -> None:
        """Count copies of this object that the present decision would not make."""
        if self._plan is None or passage.is_seated:
            return
        if passage.stored is not None and passage.stored.id == passage.row_id:
            passage.stale += len(stale_copies(passage.stored, effect))

    # -- Settlement ----------------------------------------------------------------------------------------------------

    def acted(self, passage: Passage, effect: Effect) -> None:
        """The sink confirmed an action."""
        passage.effect = effect.kind
        passage.is_acted = passage.is_settled = True
        self._journal.note_effect(passage.row_id, done(effect))

    def failed(self, passage: Passage, failure: Failure) -> None:
        """The sink gave an action up."""
        self._fail(passage, failure)
        self._journal.touch()

    def _fail(self, passage: Passage, failure: Failure) -> None:
        passage.failure = failure
        passage.is_acted = passage.is_settled = True
        self._journal.note_failure(passage.row_id, failure)
        self._tell_failure(passage, failure)

    def _settle(self) -> None:
        seq = self.watermark.seq
        while self._unsettled and self._unsettled[0].is_settled:
            self._settle_one(self._unsettled.popleft())
        if self.watermark.seq != seq:
            self._journal.touch()

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
        if passage.replaces is not None:
            self._journal.note_unseated(passage.replaces.id)
        if passage.claim is not None:
            self._claims.pop(passage.claim, None)


def _uri(effect: Effect) -> str:
    return effect.target.uri if effect.target is not None else ""
