"""``model improve --reviewed``: what people said about the images of a job, as a manifest of corrections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_input import OpenManifest, open_manifest
from asyncfilter.cli.manifest_writers import S3Path, checked_s3_path
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.run_lines import RefsChoice, RejectLabel, check_reject_label, write_run_lines
from asyncfilter.cli.stderr import print_err
from asyncfilter.datasets.manifests.from_run import RunChoice, RunKind
from asyncfilter.datasets.manifests.line_form import (
    DEFAULT_BOX_ATTRIBUTE,
    DEFAULT_IMAGE_ATTRIBUTE,
    LineForm,
    creation_date,
    line_form,
)
from asyncfilter.datasets.manifests.run_answers import People, is_reviewed
from asyncfilter.datasets.manifests.run_labels import of_rule
from asyncfilter.datasets.manifests.run_refs import Refs, RunRefs
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.errors import DataError, UsageError
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import Verdict
from asyncfilter.report.formatting import count

Reviewed = Annotated[
    Path | None,
    typer.Option(
        "--reviewed",
        metavar="JOB",
        help="In place of --corrections: what people said about the images of this job, as a run took it over.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedOptions:
    """The options beside ``--reviewed``; they are those of ``manifest from-run``.

    Attributes:
        kind: What the lines hold.
        reject_label: The label of rejected images; None leaves them out.
        refs: Which address of an image a line has.
        s3_path: Where the images of a folder are in S3.
    """

    kind: Annotated[
        RunKind,
        typer.Option("--kind", metavar="KIND", help="With --reviewed: image (labels of whole images), boxes, or both."),
    ] = RunKind.IMAGE
    reject_label: RejectLabel = None
    refs: RefsChoice = Refs.TARGET
    s3_path: S3Path = None

    def choice(self, job: Job) -> RunChoice:
        """The images that people kept, and with a label for them those that they rejected.

        Raises:
            UsageError: An option cannot be used.
        """
        return RunChoice(
            kind=self.kind,
            verdicts=(Verdict.KEEP,),
            choice=of_rule,
            people=People(confirms=True, only_people=True),
            only_reviewed=True,
            reject_label=self.reject_label,
            refs=RunRefs(job, self.refs, checked_s3_path(self.s3_path)),
            skips_duplicates=job.source.skip_duplicates,
        )


@contextmanager
def reviewed_manifest(path: Path, options: ReviewedOptions) -> Iterator[OpenManifest]:
    """What people said about the images of a job, as lines.

    The same answers give the same bytes, so that an improvement that was cut is taken up and not paid for again.

    Raises:
        UsageError: An option cannot be used.
        CheckpointError: The checkpoint cannot be read.
        DataError: There is no line, or one that cannot be used.
    """
    check_reject_label(options.reject_label, options.kind)
    job = deferred.with_known_bucket(load_for_reading(path))
    choice = options.choice(job)
    labels, boxes = _forms(_last_answer(job))
    with tempfile.TemporaryFile() as out:
        classes, rejected = Classes(), _Rejected()
        writer = ManifestWriter(out, image_form=labels, box_form=boxes, classes=classes)
        write_run_lines(job, choice, writer, classes=classes, rejected=rejected)
        rejected.check()
        for reason, number in sorted(writer.finish().skipped.items()):
            print_err(f"{path}: skipped {reason}: {count(number)}")
        size_bytes = out.tell()
        out.seek(0)
        yield OpenManifest(f"what people said ({path})", out, size_bytes)


def corrected_lines(
    corrections: str | None, reviewed: Path | None, options: ReviewedOptions, *, aws: Aws
) -> AbstractContextManager[OpenManifest]:
    """The manifest of ``--corrections``, or what people said about the job of ``--reviewed``.

    Raises:
        UsageError: Neither is given, or both.
    """
    if corrections is not None and reviewed is None:
        return open_manifest(corrections, aws=aws)
    if corrections is None and reviewed is not None:
        return reviewed_manifest(reviewed, options)
    found = "neither is given" if corrections is None else "both are given"
    hint = "Name a manifest with --corrections, or a job with --reviewed."
    raise UsageError(f"--corrections or --reviewed: {found}", hint=hint)


class _Rejected:
    """Images that cannot be used."""

    def __init__(self) -> None:
        self._rows: list[Sequence[str]] = []

    def write(self, cells: Sequence[str], /) -> None:
        """Take an image and the code of what is wrong with it."""
        self._rows.append(cells)

    def check(self) -> None:
        """Return if there is none.

        Raises:
            DataError: There are some.
        """
        if self._rows:
            where, code = self._rows[0]
            raise DataError(
                f"{where} cannot be used, nor {count(len(self._rows) - 1)} more; nothing was imported",
                code=code,
                hint="See `asyncfilter manifest from-run --reviewed`, which writes all of them to a file.",
            )


def _last_answer(job: Job) -> float:
    """When the newest of the answers was given, seconds since 1970."""
    times = (one.answer.at_unix_s for one in deferred.read_images(job.checkpoint) if one.answer and is_reviewed(one))
    return max(times, default=0.0)


def _forms(at_unix_s: float) -> tuple[LineForm, LineForm]:
    moment = creation_date(datetime.fromtimestamp(at_unix_s, UTC).isoformat(), {}, at_unix_s)
    image, boxes = (
        line_form(attribute=None, default=default, job_name=None, human_annotated=True, creation_date=moment)
        for default in (DEFAULT_IMAGE_ATTRIBUTE, DEFAULT_BOX_ATTRIBUTE)
    )
    return image, boxes
