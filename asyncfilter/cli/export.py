"""``asyncfilter export``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.export_formats import (
    IMAGE_FOLDER,
    MEGABYTE,
    PARQUET,
    SHARD_MB,
    WEB_DATASET,
    export_image_folder,
    export_parquet,
    export_web_dataset,
    stored_images,
)
from asyncfilter.cli.options import (
    STDOUT,
    JobPath,
    ResultOptions,
    Settings,
    command_group,
    help_text,
    refuse_two_for_stdout,
    takes_options,
)
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.result_file import write_result
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.cli.taken_over import told_answers
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.exports.duplicates import DuplicateGroup, write_groups_csv, write_groups_jsonl
from asyncfilter.datasets.exports.images import write_csv, write_jsonl
from asyncfilter.datasets.exports.near_duplicates import near_duplicates as find_near_duplicates
from asyncfilter.datasets.exports.near_duplicates import write_near_duplicates_csv, write_near_duplicates_jsonl
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import Verdict
from asyncfilter.records.images import StoredImage
from asyncfilter.report.as_json import answers_state_mapping
from asyncfilter.report.selection import select, stale_in
from asyncfilter.report.terminal.text import ExportOnTerminal

app = command_group()


class ExportFormat(StrEnum):
    """The format of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = PARQUET
    IMAGE_FOLDER = IMAGE_FOLDER
    WEB_DATASET = WEB_DATASET

    @property
    def is_text(self) -> bool:
        """Whether it has lines of text."""
        return self in {ExportFormat.JSONL, ExportFormat.CSV}

    @property
    def has_pictures(self) -> bool:
        """Whether it has the pictures themselves."""
        return self in {ExportFormat.IMAGE_FOLDER, ExportFormat.WEB_DATASET}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of the command, beside those of every command."""

    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl (all fields), csv, parquet (one row a label), imagefolder or webdataset (pictures).",
        ),
    ] = ExportFormat.JSONL
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write, for pictures the folder; - is stdout."),
    ] = STDOUT
    verdict: Annotated[
        list[Verdict] | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="Only keep, review or reject; may be repeated. Default: all, of pictures keep.",
            show_default=False,
        ),
    ] = None
    failed: Annotated[bool, typer.Option("--failed", help="Only images that failed.")] = False
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Of these images, only those that people said something about.")
    ] = False
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Groups of images with the same content, and nothing else.")
    ] = False
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates", help="Groups of images that look alike, and nothing else (job key near_duplicates)."
        ),
    ] = False
    spreadsheet: Annotated[
        bool,
        typer.Option("--spreadsheet", help="With --format csv: put an apostrophe before cells that would be formulas."),
    ] = False
    distance: Annotated[
        int, typer.Option("--distance", min=0, max=16, help="Bits of 64 in which images that look alike may differ.")
    ] = 6
    stale: Annotated[bool, typer.Option("--stale", help="Only copies that the rules no longer make.")] = False
    shard_mb: Annotated[
        int | None,
        typer.Option(
            "--shard-mb",
            metavar="MB",
            min=1,
            help=f"With --format webdataset: most megabytes of pictures in one tar. Default: {SHARD_MB}.",
            show_default=False,
        ),
    ] = None

    @property
    def groups(self) -> str | None:
        """The option for groups of images; None for images."""
        return "--duplicates" if self.duplicates else "--near-duplicates" if self.near_duplicates else None

    def check(self) -> None:
        """Check which options go together.

        Raises:
            UsageError: Some do not.
        """
        if self.spreadsheet and self.format_ is not ExportFormat.CSV:
            raise UsageError("--spreadsheet is for CSV alone", hint="Add --format csv.")
        if self.shard_mb is not None and self.format_ is not ExportFormat.WEB_DATASET:
            raise UsageError("--shard-mb is for WebDataset alone", hint="Add --format webdataset.")
        if self.groups is not None and not self.format_.is_text:
            raise UsageError(f"{self.groups} has no form in {self.format_.value}", hint="Use --format jsonl or csv.")
        if self.format_.has_pictures and (self.failed or self.stale):
            raise UsageError(
                f"{'--failed' if self.failed else '--stale'} and --format {self.format_.value}: pictures are chosen by "
                "--verdict",
                hint="Use --format jsonl, csv or parquet.",
            )
        if self.groups is not None and self.reviewed:
            raise UsageError(f"{self.groups} and --reviewed: groups are whole", hint="Give only one of them.")


@app.command(
    "export",
    help=help_text(
        "Write what the checkpoint holds: labels, verdicts and boxes as JSON Lines or CSV, one line an image, or as "
        "Parquet, one row a label; or the pictures that were kept, as an image folder of Hugging Face (imagefolder) or "
        "as tars of WebDataset (webdataset). No detector is called, a run in progress is not disturbed, and only "
        "pictures need an account.",
        "asyncfilter export job.yaml > images.jsonl",
        "asyncfilter export job.yaml --format csv --output kept.csv --verdict keep",
        "asyncfilter export job.yaml --format csv --spreadsheet -o images.csv    for Excel and the like",
        "asyncfilter export job.yaml --duplicates --format csv --output duplicates.csv",
        "asyncfilter export job.yaml --near-duplicates --distance 4 > alike.jsonl",
        "asyncfilter export job.yaml --failed | jq -r .error | sort | uniq -c",
        "asyncfilter export job.yaml --format parquet --output labels.parquet",
        "asyncfilter export job.yaml --format imagefolder --output birds/",
        "asyncfilter export job.yaml --format webdataset --output shards/ --verdict keep --verdict review",
    ),
)
@takes_options
def export(job: JobPath, *, settings: Settings = None, wanted: ExportOptions, options: ResultOptions) -> None:
    """Export stored images."""
    refuse_two_for_stdout(as_json=options.as_json, option="--output", target=wanted.output)
    wanted.check()
    loaded = load_for_reading(job, settings or ())
    answers = told_answers(loaded)
    if wanted.format_.has_pictures:
        _export_pictures(_located(loaded), wanted, options)
        return
    if wanted.format_ is ExportFormat.PARQUET:
        export_parquet(_chosen(loaded, wanted), _located(loaded), wanted.output, options)
        return
    write = _writer(loaded, wanted)
    if wanted.output == STDOUT:
        _to_stdout(write, wanted.format_)
        return
    lines = _to_file(write, Path(wanted.output), may_replace=options.yes)
    if options.as_json:
        state = answers_state_mapping(answers)
        write_json({"lines": lines, "output": wanted.output, "format": wanted.format_.value, "answers": state})
    else:
        print_err(f"{lines:,} {'groups' if wanted.groups else 'images'} in {wanted.output}")


def _export_pictures(job: Job, wanted: ExportOptions, options: ResultOptions) -> None:
    verdicts = wanted.verdict or ()
    if wanted.format_ is ExportFormat.IMAGE_FOLDER:
        export_image_folder(job, wanted.output, verdicts, options, reviewed=wanted.reviewed)
        return
    shard_bytes = (wanted.shard_mb or SHARD_MB) * MEGABYTE
    export_web_dataset(job, wanted.output, verdicts, options, reviewed=wanted.reviewed, shard_bytes=shard_bytes)


def _chosen(job: Job, wanted: ExportOptions) -> Iterable[StoredImage]:
    return select(
        stored_images(job.checkpoint, reviewed=wanted.reviewed),
        verdicts={name.value for name in wanted.verdict or ()},
        failed=wanted.failed,
        is_stale=stale_in(job) if wanted.stale else None,
        skips_duplicates=job.source.skip_duplicates,
    )


Write = Callable[..., int]
"""Writes all lines to the text stream ``out``, and returns how many images or groups were written."""


def _writer(job: Job, wanted: ExportOptions) -> Write:
    if wanted.duplicates:
        write = _duplicates(job.checkpoint, wanted.format_)
    elif wanted.near_duplicates:
        write = _near_duplicates(_located(job), wanted.format_, wanted.distance)
    else:
        write = _images(_chosen(job, wanted), wanted.format_, _located(job).source.bucket)
    return partial(write, is_spreadsheet=True) if wanted.spreadsheet else write


def _located(job: Job) -> Job:
    """The job with its bucket, which one whose source is a list may not name."""
    return job if job.source.bucket else deferred.with_known_bucket(job)


def _images(images: Iterable[StoredImage], format_: ExportFormat, bucket: str) -> Write:
    return partial(write_csv if format_ is ExportFormat.CSV else write_jsonl, images, bucket=bucket)


def _duplicates(checkpoint: Path, format_: ExportFormat) -> Write:
    groups = (
        DuplicateGroup(etag=etag, size_bytes=size_bytes, keys=keys)
        for etag, size_bytes, keys in deferred.read_duplicates(checkpoint)
    )
    return partial(write_groups_csv if format_ is ExportFormat.CSV else write_groups_jsonl, groups)


def _near_duplicates(job: Job, format_: ExportFormat, distance: int) -> Write:
    """Groups of the placed images that have a perceptual hash.

    Raises:
        UsageError: No image has one.
    """
    found = find_near_duplicates(deferred.read_images(job.checkpoint), distance)
    if found is None:
        raise UsageError(
            f"{job.checkpoint}: no image has a perceptual hash",
            hint="Set near_duplicates: true in the job file; images that are examined after that have one.",
        )
    return partial(
        write_near_duplicates_csv if format_ is ExportFormat.CSV else write_near_duplicates_jsonl,
        found,
        job.source.bucket,
    )


def _to_stdout(write: Write, format_: ExportFormat) -> None:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    with suppress(StdoutEndedError):
        is_json = format_ is ExportFormat.JSONL
        write(out=ExportOnTerminal(sys.stdout, is_json=is_json) if sys.stdout.isatty() else sys.stdout)
        sys.stdout.flush()


def _to_file(write: Write, path: Path, *, may_replace: bool) -> int:
    """Write a file; returns how many lines.

    Raises:
        UsageError: The file cannot be created.
        OutputError: It cannot be written.
        AbortedError: It exists, and there is no terminal to ask on.
        typer.Exit: The user does not want it replaced.
    """
    check_replaced([path], yes=may_replace)
    return write_result("--output", path, lambda out: write(out=out))
