"""``answers export``: the answers about the images of a job or of a folder, in one of four formats."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import msgspec

from asyncfilter.checkpoint import read_images, read_images_named
from asyncfilter.datasets.answers.answer_csv import AnswerCsvWriter
from asyncfilter.datasets.answers.answer_lines import AnswerLineWriter
from asyncfilter.datasets.answers.answered import AnsweredSubject, AnsweredSubjects, said_by
from asyncfilter.datasets.answers.detecting import AnswerFormat
from asyncfilter.datasets.answers.export_counts import ExportCounts
from asyncfilter.datasets.answers.label_studio_tasks import TaskImage, TaskWriter
from asyncfilter.datasets.answers.predictions import Predictions, labels_to_choose
from asyncfilter.datasets.answers.rows import write_rows
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.datasets.manifests.source_ref import join_path
from asyncfilter.engine.preview.jobs import store_job
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import ObjectRef, StoreKind, store_of, uri_of
from asyncfilter.policy.answers.fold import fold
from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import CurrentVerdict, ImageRows, Subject
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.answers import AnswersPlace
from asyncfilter.wiring.draws import known_job
from asyncfilter.wiring.image_readers import WantedImage, wanted

_AT_ONCE = 500
_T = TypeVar("_T")

SizeOf = Callable[[Subject], ImageSize | None]
"""The size of the upright picture; None where it is not known."""


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported, and how.

    Attributes:
        reviewer: Only what this person said; None for everybody.
        all_images: For Label Studio, all images with labels.
        s3_path: Stands for the bucket or folder in the addresses of images; None for their own addresses.
        creation_date: Of the lines of a manifest, as ``line_form.creation_date`` returns it.
    """

    format_: AnswerFormat = AnswerFormat.JSONL
    reviewer: str | None = None
    all_images: bool = False
    s3_path: str | None = None
    creation_date: str = ""


class AnswerExport:
    """One export; a context that closes what it reads.

    Args:
        place: The answers file, and the images.
        options: What is exported.

    Raises:
        UsageError: Images that are not in S3 need an address there.
        NothingToWorkOnError: There is neither an answers file nor a checkpoint, or no checkpoint to read images from.
        AnswersError: The answers file cannot be used.
        CheckpointError: The checkpoint cannot be used.
    """

    def __init__(self, place: AnswersPlace, options: ExportOptions) -> None:
        self._place, self._options = place, options
        self._stack = ExitStack()
        if options.all_images:
            place.check_known()
        self._reader = place.open_reader()
        if self._reader is None:
            place.check_known()
        else:
            self._stack.enter_context(self._reader)
        self._up_to = 0 if self._reader is None else self._reader.last_serial()
        images = () if self._reader is None else self._reader.all_images(up_to=self._up_to)
        self._answered = AnsweredSubjects(images, options.reviewer)
        self._stack.callback(self._answered.close)
        self._check_addresses()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _check_addresses(self) -> None:
        """Check that every line of a manifest can name its image.

        Raises:
            UsageError: An image is not in S3.
        """
        if self._options.format_ is not AnswerFormat.GROUND_TRUTH or self._options.s3_path is not None:
            return
        for bucket in (self._place.images.bucket, *(one.subject.bucket for one in self._answered)):
            if store_of(bucket) is not StoreKind.S3:
                raise UsageError(
                    f"{bucket} is not in S3, and a manifest names images in S3",
                    hint="Say where they will be: --s3-path s3://BUCKET/PREFIX.",
                )

    def wanted(self) -> Iterator[WantedImage]:
        """The images whose sizes a manifest needs: those with boxes."""
        if self._options.format_ is not AnswerFormat.GROUND_TRUTH:
            return
        boxed = (one for one in self._answered if one.current.boxes and _has_line(one))
        for some in _batches(boxed):
            stored = self._stored([one.subject for one in some])
            for one in some:
                image = stored.get(name_of(one.subject))
                yield _of_subject(one.subject) if image is None else wanted(image, one.subject.bucket)

    def write(self, out: BinaryIO, size_of: SizeOf) -> ExportCounts:
        """Write all of it."""
        counts = ExportCounts()
        match self._options.format_:
            case AnswerFormat.JSONL:
                self._write_rows(out, counts)
            case AnswerFormat.CSV:
                self._write_csv(out, counts)
            case AnswerFormat.GROUND_TRUTH:
                self._write_lines(out, counts, size_of)
            case AnswerFormat.LABEL_STUDIO:
                self._write_tasks(out, counts, size_of)
        return counts

    # -- Formats -------------------------------------------------------------------------------------------------------

    def _write_rows(self, out: BinaryIO, counts: ExportCounts) -> None:
        if self._reader is not None:
            rows = self._reader.all_rows(up_to=self._up_to)
            reviewer = self._options.reviewer
            counts.lines = write_rows((row for row in rows if reviewer in {None, row.reviewer}), out)
        counts.answers, counts.images = counts.lines, self._answered.count

    def _write_csv(self, out: BinaryIO, counts: ExportCounts) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="")
        writer = AnswerCsvWriter(text)
        for one in self._answered:
            writer.write(one.subject, one.current, note=one.note)
        text.flush()
        text.detach()
        counts.lines = counts.answers = counts.images = self._answered.count

    def _write_lines(self, out: BinaryIO, counts: ExportCounts, size_of: SizeOf) -> None:
        writer = AnswerLineWriter(out, creation_date=self._options.creation_date)
        for one in self._answered:
            size = None if one.current.boxes is None else size_of(one.subject)
            if not _has_line(one):
                counts.skipped["unresolved"] += 1
                continue
            is_written = writer.write(self._address(one.subject), one.current, size=size)
            if one.current.boxes and size is None:
                counts.skipped["no_size"] += 1
            elif not is_written:
                counts.skipped["empty"] += 1
        counts.lines = counts.answers = writer.lines
        counts.images = self._answered.count - counts.skipped.total()
        counts.boxes_too_small = writer.boxes_too_small

    # -- Label Studio --------------------------------------------------------------------------------------------------

    def _write_tasks(self, out: BinaryIO, counts: ExportCounts, size_of: SizeOf) -> None:
        known = self._known_job()
        predictions = None if known is None else Predictions(known)
        writer = TaskWriter(out)
        for image, detection_of in self._tasks(counts):
            prediction = None
            if predictions is not None and detection_of is not None and detection_of.detection is not None:
                prediction, _ = predictions.of(detection_of.detection)
            made = msgspec.structs.replace(image, prediction=prediction, size=size_of(image.subject))
            writer.write(made, address=self._address(image.subject))
        writer.finish()
        labels = () if known is None else labels_to_choose(known)
        counts.lines = counts.images = writer.tasks
        counts.answers = writer.annotations
        counts.labels = tuple(dict.fromkeys([*labels, *writer.labels]))

    def _known_job(self) -> Job | None:
        job = self._place.job
        return None if job is None or not self._place.is_known else known_job(job)[1]

    def _tasks(self, counts: ExportCounts) -> Iterator[tuple[TaskImage, StoredImage | None]]:
        """The images with answers, then those of the checkpoint that have none."""
        for some in _batches(iter(self._answered)):
            stored = self._stored([one.subject for one in some], labels=True)
            for one in some:
                image = stored.get(name_of(one.subject))
                yield TaskImage(subject=one.subject, seq=None if image is None else image.seq, rows=one.rows), image
        job = self._place.job
        if not self._options.all_images or job is None:
            return
        for examined in _batches(image for image in read_images(job.checkpoint) if image.seq is not None):
            yield from self._unanswered(job, examined, counts)

    def _unanswered(
        self, job: Job, examined: Sequence[StoredImage], counts: ExportCounts
    ) -> Iterator[tuple[TaskImage, StoredImage]]:
        """The images that have labels, and no answer under their own name; one of a duplicate is theirs, too."""
        subjects = [_subject(self._place.images.bucket, image) for image in examined]
        reader = self._reader
        said_about = [] if reader is None else reader.images_of(subjects, up_to=self._up_to)
        found: Sequence[ImageRows | None] = said_about or [None] * len(subjects)
        for image, subject, said in zip(examined, subjects, found, strict=True):
            if image.detection is None or self._answered.has(subject):
                continue
            reason = _left_out(job, image)
            if reason is not None:
                counts.skipped[reason] += 1
                continue
            rows = () if said is None else said_by(said.rows, self._options.reviewer)
            yield TaskImage(subject=subject, seq=image.seq, rows=rows if fold(rows) is not None else ()), image

    # -- Images --------------------------------------------------------------------------------------------------------

    def _stored(self, subjects: Sequence[Subject], *, labels: bool = False) -> Mapping[Name, StoredImage]:
        """The rows of the checkpoint about these versions of objects."""
        job, bucket = self._place.job, self._place.images.bucket
        keys = [subject.key for subject in subjects if subject.bucket == bucket]
        if job is None or not keys or not self._place.is_known:
            return {}
        images = read_images_named(job.checkpoint, keys, labels=labels)
        return {(bucket, image.key, image.etag, image.size_bytes): image for image in images}

    def _address(self, subject: Subject) -> str:
        s3_path = self._options.s3_path
        return uri_of(subject.bucket, subject.key) if s3_path is None else join_path(s3_path, subject.key)


def job_of(place: AnswersPlace) -> Job:
    """The job whose AWS settings hold; of a folder one without settings."""
    return store_job(Path(), Aws()) if place.job is None else place.job


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while some := list(islice(iterator, _AT_ONCE)):
        yield some


def _has_line(one: AnsweredSubject) -> bool:
    """Whether an answer can be a line of a manifest."""
    return one.current.verdict is not CurrentVerdict.UNRESOLVED


def _left_out(job: Job, image: StoredImage) -> str | None:
    """Why an examined image is no task; None when it is one."""
    if image.removal is not None:
        return "removed"
    return "duplicate" if job.source.skip_duplicates and image.same_as is not None else None


def _subject(bucket: str, image: StoredImage) -> Subject:
    return Subject(bucket=bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)


def _of_subject(subject: Subject) -> WantedImage:
    ref = ObjectRef(bucket=subject.bucket, key=subject.key, size_bytes=subject.size_bytes, etag=subject.etag, seq=0)
    return WantedImage(image=ref, is_gone=False, copy=None)
