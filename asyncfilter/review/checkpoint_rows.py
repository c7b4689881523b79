"""The images of a job, as its checkpoint has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncfilter.checkpoint.card_rows import (
    CardVersion,
    LightRows,
    count_placed,
    find_versions,
    is_run_going,
    read_by_ids,
    read_progress,
    read_stamp,
    scan_others,
    scan_review,
)
from asyncfilter.checkpoint.rows import pack_etag, unpack_etag
from asyncfilter.model import Verdict
from asyncfilter.records.answers import Subject
from asyncfilter.records.images import StoredImage
from asyncfilter.review.book import Book
from asyncfilter.review.rows import VERDICT_CODES, CardRow, Chunk, Mark, Part
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
        goals: What may end a run, by the names that pulses have.
        epoch_of: The number of a checkpoint by the id of its first run, the same at each start of the server.
    """

    def __init__(
        self,
        path: Path,
        *,
        bucket: str,
        thresholds: Thresholds,
        skips_duplicates: bool,
        goals: Mapping[str, float],
        epoch_of: Callable[[str], int],
    ) -> None:
        self._path, self._bucket, self._thresholds = path, bucket, thresholds
        self._skips_duplicates, self._goals = skips_duplicates, goals
        self._epoch_of = epoch_of
        self._base = 0

    def mark(self) -> Mark | None:
        """See ``Rows``."""
        stamp = read_stamp(self._path)
        if stamp is None:
            return None
        self._base = EPOCH_IDS * self._epoch_of(stamp.origin)
        return Mark(stamp.origin, stamp.version, self._base + stamp.last_id)

    def scan(self, part: Part, book: Book, *, after: int = 0) -> Iterator[Chunk]:
        """See ``Rows``."""
        base, first, skips = self._base, max(0, after - self._base), self._skips_duplicates
        if part is Part.BAND:
            asked = self._thresholds.is_about
            for images in scan_review(self._path, after=first, is_asked=asked, skips_duplicates=skips):
                yield self._band(base, images, book)
        else:
            etags = {pack_etag(etag) for etag in tuple(book.etags)}  # it grows meanwhile
            for rows in scan_others(self._path, after=first, skips_duplicates=skips, keys=book.keys, etags=etags):
                yield self._rest(base, rows, book)

    def cards(self, ids: Sequence[int]) -> Sequence[CardRow]:
        """See ``Rows``."""
        base = self._base
        rows = [id_ - base for id_ in ids if base < id_ < base + EPOCH_IDS]
        return [self._card(base, image) for image in read_by_ids(self._path, rows) if image.seq is not None]

    def find(self, subjects: Sequence[Subject]) -> Sequence[Sequence[int]]:
        """See ``Rows``."""
        if not subjects:
            return []
        base = self._base
        found = find_versions(self._path, [(one.key, one.etag, one.size_bytes) for one in subjects])
        return [
            [base + id_ for id_ in ids] if subject.bucket == self._bucket else []
            for subject, ids in zip(subjects, found, strict=True)
        ]

    def count(self) -> int:
        """See ``Rows``."""
        return count_placed(self._path)

    def pulse(self) -> Mapping[str, Any] | None:
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
            "failed_by": tally.failed,
            "matches": tally.matches,
            "listed": tally.listed,
            "settled": mark.seq,
            "attempts": totals.attempts,
            "throttled": totals.throttled,
            "retried": totals.retried,
            "spent_micros": totals.spent_micros,
            **self._goals,
        }

    def is_running(self) -> bool:
        """See ``Rows``."""
        return is_run_going(self._path)

    def _band(self, base: int, images: Sequence[StoredImage], book: Book) -> Chunk:
        known = [image for image in images if image.key in book.keys or image.etag in book.etags]
        states = [(base + image.id, book.of(self._subject(image))) for image in known]
        return Chunk(
            ids=[base + image.id for image in images],
            verdicts=bytes([VERDICT_CODES[Verdict.REVIEW]]) * len(images),
            distances=[self._thresholds.distance(image.detection) for image in images],
            duplicates=[(base + image.id, base + image.same_as) for image in images if image.same_as is not None],
            states=[(id_, state) for id_, state in states if state is not None],
        )

    def _rest(self, base: int, rows: LightRows, book: Book) -> Chunk:
        states = [(base + id_, book.of(self._version(version))) for id_, version in rows.known]
        return Chunk(
            ids=[base + id_ for id_ in rows.ids] if base else rows.ids,
            verdicts=rows.verdicts,
            duplicates=[(base + id_, base + first) for id_, first in rows.duplicates],
            states=[(id_, state) for id_, state in states if state is not None],
        )

    def _version(self, version: CardVersion) -> Subject:
        etag = unpack_etag(version.etag)
        return Subject(bucket=self._bucket, key=version.key, etag=etag, size_bytes=version.size_bytes)

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
