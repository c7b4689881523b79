"""The images of a job, as its checkpoint has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from asyncfilter.checkpoint.card_rows import (
    count_placed,
    find_versions,
    is_run_going,
    read_by_ids,
    read_progress,
    read_stamp,
    scan_others,
    scan_review,
)
from asyncfilter.model import Verdict
from asyncfilter.records.answers import Subject
from asyncfilter.records.images import StoredImage
from asyncfilter.review.rows import FAR, CardRow, IndexRow, Mark, Part
from asyncfilter.review.thresholds import Thresholds

EPOCH_IDS = 1 << 40
"""Ids of a checkpoint: those of its rows, plus this times the number of checkpoints before it under the same path."""


class CheckpointRows:
    """``Rows`` of a checkpoint.

    Ids are those of rows. A checkpoint that was made anew under the same path uses these again: its ids begin behind
    all of the former one's, so that an answer that a page still holds never meets another image.

    Args:
        path: The checkpoint; it need not exist yet.
        bucket: Of the source.
        thresholds: Of the job's rules.
        skips_duplicates: Whether images with the content of an earlier one have no verdict.
        epoch_of: The number of a checkpoint by the id of its first run, the same at each start of the server.
    """

    def __init__(
        self,
        path: Path,
        *,
        bucket: str,
        thresholds: Thresholds,
        skips_duplicates: bool,
        epoch_of: Callable[[str], int],
    ) -> None:
        self._path, self._bucket, self._thresholds = path, bucket, thresholds
        self._skips_duplicates = skips_duplicates
        self._epoch_of = epoch_of
        self._base = 0

    def mark(self) -> Mark | None:
        """See ``Rows``."""
        stamp = read_stamp(self._path)
        if stamp is None:
            return None
        self._base = EPOCH_IDS * self._epoch_of(stamp.origin)
        return Mark(stamp.origin, stamp.version, self._base + stamp.last_id)

    def scan(self, part: Part, *, after: int = 0) -> Iterator[Sequence[IndexRow]]:
        """See ``Rows``."""
        base, first = self._base, max(0, after - self._base)
        if part is Part.BAND:
            for images in scan_review(self._path, after=first, is_asked=self._thresholds.is_about):
                yield [self._row(base, image) for image in images if not self._is_skipped(image)]
        else:
            for images in scan_others(self._path, after=first):
                yield [self._row(base, image) for image in images if not self._is_skipped(image)]

    def cards(self, ids: Sequence[int]) -> Sequence[CardRow]:
        """See ``Rows``."""
        base = self._base
        rows = [id_ - base for id_ in ids if base < id_ < base + EPOCH_IDS]
        return [self._card(base, image) for image in read_by_ids(self._path, rows) if image.seq is not None]

    def find(self, subjects: Sequence[Subject]) -> Sequence[int]:
        """See ``Rows``."""
        base = self._base
        versions = [(one.key, one.etag, one.size_bytes) for one in subjects if one.bucket == self._bucket]
        return [base + id_ for id_ in find_versions(self._path, versions)]

    def count(self) -> int:
        """See ``Rows``."""
        return count_placed(self._path)

    def pulse(self) -> Mapping[str, float] | None:
        """See ``Rows``."""
        found = read_progress(self._path)
        if found is None:
            return None
        (mark, totals), tally = found, found[0].tally
        return {
            "examined": tally.examined,
            "keep": tally.keep,
            "review": tally.review,
            "reject": tally.reject,
            "failed": sum(tally.failed.values()),
            "listed": tally.listed,
            "settled": mark.seq,
            "attempts": totals.attempts,
            "throttled": totals.throttled,
            "retried": totals.retried,
            "spent_micros": totals.spent_micros,
        }

    def is_running(self) -> bool:
        """See ``Rows``."""
        return is_run_going(self._path)

    def _is_skipped(self, image: StoredImage) -> bool:
        return self._skips_duplicates and image.same_as is not None

    def _row(self, base: int, image: StoredImage) -> IndexRow:
        verdict = None if image.decision is None else image.decision.by_rules
        waits = verdict is Verdict.REVIEW
        return IndexRow(
            id=base + image.id,
            verdict=verdict,
            distance=self._thresholds.distance(image.detection) if waits else FAR,
            twin=0 if image.same_as is None else base + image.same_as,
            subject=self._subject(image),
            waits=waits,
        )

    def _card(self, base: int, image: StoredImage) -> CardRow:
        decision = image.decision
        return CardRow(
            id=base + image.id,
            subject=self._subject(image),
            verdict=None if decision is None else decision.by_rules,
            rule=None if decision is None else decision.rule,
            detection=image.detection,
            failure=image.failure.code if image.failure is not None and image.is_unexamined else None,
            copy=image.copied_to,
            is_gone=image.removal is not None,
        )

    def _subject(self, image: StoredImage) -> Subject:
        return Subject(bucket=self._bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)
