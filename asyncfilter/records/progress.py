"""Progress of a job as the checkpoint stores it: the watermark, the sums, and batches that become durable as one."""

from __future__ import annotations

import msgspec

from asyncfilter.model import Failure
from asyncfilter.records.answers import TakenOver
from asyncfilter.records.images import DoneEffect, StoredImage, StoredReference
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel
from asyncfilter.records.removal import Removal
from asyncfilter.records.tally import Tally


class Watermark(msgspec.Struct, kw_only=True):
    """How far everything is settled: every image up to ``seq`` has its final outcome.

    Attributes:
        seq: Position in the order of examination, from 1; 0 before the first image.
        cursor: Key of the last object settled in the current pass over the listing; None at its start.
        listing_done: True once the pass reached the end of the listing.
        pass_seq: Position at which the pass began: images behind it are known to be in the listing as it is now.
        origin: Version of the list that the pass is over; empty for the listing of the store itself.
        tally: The counts at this position.
    """

    seq: int = 0
    cursor: str | None = None
    listing_done: bool = False
    pass_seq: int = 0
    origin: str = ""
    tally: Tally = msgspec.field(default_factory=Tally)


class MonthUse(msgspec.Struct, frozen=True, kw_only=True):
    """Images billed in one UTC month, for the tiers of the price list.

    A checkpoint from before these were counted has the default, so that its calls lower no price.

    Attributes:
        month: As in ``2026-11``; empty before the first run.
        calls: Billed calls of this checkpoint since the clock showed this month; never too many.
        used: The last ``pricing.used_this_month`` that a run saw.
        is_used_counted: True in the month in which a run first saw that value.
    """

    month: str = ""
    calls: int = 0
    used: int = 0
    is_used_counted: bool = False

    @property
    def billed(self) -> int:
        """Images billed in the month, those of other programs among them as far as the job says so."""
        return self.calls + (self.used if self.is_used_counted else 0)

    @property
    def has_old_used(self) -> bool:
        """True when the job says what was used, but said the same in an earlier month already."""
        return bool(self.used) and not self.is_used_counted


class LaneTotals(msgspec.Struct, kw_only=True):
    """Sums of one lane over the checkpoint's whole life; see ``Totals``.

    Attributes:
        region: Where its calls went last; ``account`` and ``by`` likewise.
        account: Number of its account; None where STS may not be asked.
        by: ``reference`` or ``bytes``: how its images are sent.
        calls: Images whose first attempt was made here.
        retried: Repetitions that were made here, wherever the attempt before was.
        month_use: What was billed in the present month: its place in the price tiers.
        model_versions: The model versions of its answers, in the order in which they were seen.
    """

    region: str = ""
    account: str | None = None
    by: str = ""
    calls: int = 0
    attempts: int = 0
    throttled: int = 0
    retried: int = 0
    billed_calls: int = 0
    spent_micros: int = 0
    month_use: MonthUse = MonthUse()
    model_versions: tuple[str, ...] = ()


class Totals(msgspec.Struct, kw_only=True):
    """Sums over the checkpoint's whole life that do not depend on a position.

    Attributes:
        calls: Images sent to the detector, with or without success.
        attempts: Requests made for them; ``retried`` of these were repetitions, ``throttled`` were refused for rate.
        from_checkpoint: Images whose labels were stored already.
        duplicates: Images whose labels came from another image with the same content, which saved ``saved_micros``.
        billed_calls: Attempts that count as billed; ``spent_micros`` is their price.
        reserved_calls: Attempts made durable as possible spending and not yet settled, at ``reserved_micros``.
        month_use: What of it was billed in the present month, by calls without lanes.
        lanes: The sums of each lane that the checkpoint has known, by name; calls without lanes are in none of them.
        adopted: Answers that workers had kept for an earlier head, and that were taken over.
    """

    calls: int = 0
    attempts: int = 0
    throttled: int = 0
    retried: int = 0
    from_checkpoint: int = 0
    duplicates: int = 0
    saved_micros: int = 0
    billed_calls: int = 0
    spent_micros: int = 0
    reserved_calls: int = 0
    reserved_micros: int = 0
    month_use: MonthUse = MonthUse()
    adopted: int = 0
    lanes: dict[str, LaneTotals] = {}

    @property
    def whole_use(self) -> MonthUse:
        """What was billed in the last month that is known, with and without lanes."""
        uses = [self.month_use, *(lane.month_use for lane in self.lanes.values())]
        month = max(use.month for use in uses)
        return MonthUse(month=month, calls=sum(use.calls for use in uses if use.month == month))

    def copy(self) -> Totals:
        """Independent sums with the same figures."""
        lanes = {name: msgspec.structs.replace(lane) for name, lane in self.lanes.items()}
        return msgspec.structs.replace(self, lanes=lanes)


class Batch(msgspec.Struct, kw_only=True):
    """Changes that become durable together, or not at all.

    Attributes:
        new: Rows to insert.
        positioned: Rows that exist already: seq, decision, failure and answer are set, the stored labels stay.
        effects: Confirmed actions, by row id; a target that an older row of the same key wrote passes to this one.
        failures: Rows whose action failed, by row id.
        revoked: Confirmed actions that were undone, by row id.
        renewed: New ETags of objects that were restored with the same content, by row id.
        removals: Journal entries, each in place of what the journal had for its image.
        unpositioned: Ids of rows that lose their position, because the object was examined anew; a row without labels
            is deleted.
        references: Reference images to keep, in place of those with the same address.
        model: What is known about the detector's model; None when that did not change.
        watermark: The new watermark; None when it did not move.
        totals: The sums, including money; None when they did not change.
        answers: How far the answers file is followed; None when that did not change.
    """

    new: list[StoredImage] = []
    positioned: list[StoredImage] = []
    effects: list[tuple[int, DoneEffect]] = []
    failures: list[tuple[int, Failure]] = []
    revoked: list[tuple[int, DoneEffect]] = []
    renewed: list[tuple[int, str]] = []
    removals: list[Removal] = []
    unpositioned: list[int] = []
    references: list[StoredReference] = []
    model: KnownModel | None = None
    watermark: Watermark | None = None
    totals: Totals | None = None
    answers: TakenOver | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint held when it was opened.

    Attributes:
        watermark: Where the work continues.
        totals: The sums; what a run that was killed had reserved is already counted as spent.
        decided_by: Fingerprint of rules, actions and limits that made the stored decisions; None in a new file.
        next_id: First row id that was never used.
        is_new: True when the checkpoint was created by this opening.
        model: What is known about the detector's model.
        answers: How far the answers file is followed; None where no answer was ever taken over.
        epoch: Number of this opening for writing; it is durable, and above those of all openings before.
        uid: Made at random for this checkpoint; another one never has it.
    """

    watermark: Watermark
    totals: Totals
    decided_by: str | None
    next_id: int
    is_new: bool
    model: KnownModel = NOTHING_KNOWN
    answers: TakenOver | None = None
    epoch: int = 1
    uid: str = ""
