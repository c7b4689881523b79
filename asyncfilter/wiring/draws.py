"""The draws of a job with the answers of this moment, for ``audit``, ``calibrate`` and the review page.

No lock is taken and nothing is called: checkpoint and answers file are read; a new draw is all that is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from asyncfilter.answers import AnswersReader, open_reader
from asyncfilter.answers.draws import stored_draws, stored_seeds
from asyncfilter.checkpoint import checkpoint_exists, read_images_named, read_status, read_stored_references
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.job.spec import Job
from asyncfilter.model import Verdict
from asyncfilter.policy.answers.fold import fold
from asyncfilter.policy.assumed import uses_assumed, with_stored_thresholds
from asyncfilter.policy.audit_asked import AskedNow, asked_now
from asyncfilter.policy.audit_progress import DrawStandings, Standing, with_standings
from asyncfilter.policy.audit_rules import population_digest
from asyncfilter.policy.reference_labels import references_of, resolved
from asyncfilter.records.answers import Answer, CurrentVerdict, Subject
from asyncfilter.records.draws import Draw, DrawnImage, PartName
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.located import with_known_bucket

_GONE = frozenset({"changed", "vanished"})
"""Failures of an image that is not there any more as it was examined."""

_SUBJECTS_AT_ONCE = 1000


def known_job(job: Job) -> tuple[Job, Job]:
    """The job with its bucket, and the same with names in place of references and thresholds in place of ``assumed``.

    Raises:
        NothingToWorkOnError: There is no checkpoint yet.
        CheckpointError: It cannot be used.
        UsageError: The bucket, a reference or a threshold is not known yet.
    """
    if not checkpoint_exists(job.checkpoint):
        raise NothingToWorkOnError(
            f"{job.checkpoint}: there is no checkpoint yet, so nothing was examined",
            hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
        )
    job = with_known_bucket(job)
    known = with_stored_thresholds(job, read_status(job.checkpoint).model) if uses_assumed(job) else job
    if references_of(job):
        known = resolved(known, {one.uri: one.detection for one in read_stored_references(job.checkpoint)})
    return job, known


def is_outdated(draw: Draw, known: Job) -> bool:
    """Whether a rule, or one before it, has changed since its draw; a threshold that was moved is no change."""
    number = draw.measured.rule
    if number >= len(known.rules) or known.rules[number].verdict is not Verdict.KEEP:
        return True
    return population_digest(known, number) != draw.measured.population


class AnsweredDraws(msgspec.Struct, frozen=True, kw_only=True):
    """Draws with the answers of one moment.

    Attributes:
        serial: Of the newest row.
        rows: All rows about each drawn image that has some.
    """

    serial: int
    draws: tuple[DrawStandings, ...]
    rows: Mapping[DrawnImage, Sequence[Answer]]


def asked_images(job: Job) -> AskedNow:
    """What the newest draws of a job ask at this moment; nothing without a draw. Raises as ``answered``."""
    draws = stored_draws(job.answers_path, job.name, source=job.source.described)
    reader = open_reader(job.answers_path) if draws else None
    if reader is None:
        return AskedNow(first=(), second=())
    with reader:
        found = answered(draws, job.checkpoint, reader)
    return asked_now(found.draws, found.rows)


def answered(draws: Sequence[Draw], checkpoint: Path, reader: AnswersReader) -> AnsweredDraws:
    """The draws with what is known now about their images.

    Raises:
        AnswersError: The answers file cannot be read.
        CheckpointError: The checkpoint cannot be used.
    """
    images = list(dict.fromkeys(image for draw in draws for name in PartName for image in draw.part(name).positions))
    serial = reader.last_serial()
    rows = _rows(images, reader, serial)
    there = images_there(images, checkpoint)
    standings = {image: _standing(rows.get(image, ()), there.get(image)) for image in images}
    return AnsweredDraws(serial=serial, draws=tuple(with_standings(draw, standings) for draw in draws), rows=rows)


def cautions_about(job: Job, found: AnsweredDraws) -> tuple[str, ...]:
    """What lessens the worth of draws: one in an order of which answers were known may have targets made for them."""
    seeds = stored_seeds(job.answers_path, job.name, source=job.source.described)
    cautions = []
    for draw in (standings.draw for standings in found.draws):
        same = (draw.measured.rule, draw.seed)
        former = [number for number, *drawn in seeds if number < draw.number and tuple(drawn) == same]
        if former and _was_answered(draw, found.rows):
            cautions.append(
                f"draw {draw.number} of rules[{draw.measured.rule}] has the order of draw {former[-1]}, and was made "
                "when answers were there: if its targets were chosen by these, it certifies nothing (--new without "
                "--seed draws another order)"
            )
    return tuple(cautions)


def _was_answered(draw: Draw, rows: Mapping[DrawnImage, Sequence[Answer]]) -> bool:
    """Whether somebody had said something about an image of a draw before it was made."""
    images = (image for name in PartName for image in draw.part(name).positions)
    return any(row.at_unix_s < draw.created_at_unix_s for image in images for row in rows.get(image, ()))


def _rows(images: Sequence[DrawnImage], reader: AnswersReader, up_to: int) -> dict[DrawnImage, Sequence[Answer]]:
    found: dict[DrawnImage, Sequence[Answer]] = {}
    for start in range(0, len(images), _SUBJECTS_AT_ONCE):
        some = images[start : start + _SUBJECTS_AT_ONCE]
        for image, known in zip(some, reader.images_of(list(map(subject_of, some)), up_to=up_to), strict=True):
            if known is not None:
                found[image] = known.rows
    return found


def subject_of(image: DrawnImage) -> Subject:
    """The version of an object that was drawn."""
    return Subject(bucket=image.bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)


def images_there(
    images: Sequence[DrawnImage], checkpoint: Path, *, labels: bool = False
) -> dict[DrawnImage, StoredImage]:
    """The row of each image that the checkpoint still has as it was drawn; with its labels where asked."""
    by_key: dict[str, list[StoredImage]] = defaultdict(list)
    for row in read_images_named(checkpoint, (image.key for image in images), labels=labels):
        by_key[row.key].append(row)
    found: dict[DrawnImage, StoredImage] = {}
    for image in images:
        rows = by_key.get(image.key, [])
        # A cached row counts only while none has the key's place: a run that begins again gives them out anew.
        for row in [row for row in rows if row.seq is not None] or rows:
            if (row.etag, row.size_bytes) == (image.etag, image.size_bytes):
                found[image] = row
    return found


def _standing(rows: Sequence[Answer], there: StoredImage | None) -> Standing:
    if there is None or (there.failure is not None and there.failure.code in _GONE):
        return Standing(answer=CurrentVerdict.UNSURE, is_changed=True)
    current = fold(rows) if rows else None
    if current is not None and current.verdict is not None:
        return Standing(answer=current.verdict)
    if there.removal is not None:  # nobody can look at it any more
        return Standing(answer=CurrentVerdict.UNSURE, is_changed=True)
    return Standing(answer=None)
