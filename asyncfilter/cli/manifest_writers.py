"""What the commands that write manifests from other data share: the files beside the manifest, and the report."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from asyncfilter.cli.manifest_output import (
    ManifestOptions,
    data_errors_told,
    error_mapping,
    open_output,
)
from asyncfilter.cli.options import STDOUT
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import LazyResult, check_named
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.manifests.writing import ManifestWriter, WriteCounts
from asyncfilter.errors import DataError, ExitCode, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.report.formatting import count, counted

S3Path = Annotated[
    str | None,
    typer.Option(
        "--s3-path",
        metavar="PREFIX",
        help="s3://BUCKET/PREFIX under which the images are, or will be, in S3.",
        show_default=False,
    ),
]


def checked_s3_path(given: str | None) -> str | None:
    """``--s3-path``, if it is an address in S3.

    Raises:
        UsageError: It is none.
    """
    if given is None:
        return None
    try:
        parse_s3_uri(given)
    except ValueError as error:
        raise UsageError(f"--s3-path: {error}", hint="Write it like s3://my-bucket/images.") from error
    return given


class RowFile:
    """A CSV file beside the manifest, which is made at its first row.

    Args:
        path: The file.
        delimiter: Between cells.
        stack: See ``LazyResult``.
    """

    def __init__(self, path: Path, *, delimiter: str, stack: ExitStack) -> None:
        self.file = LazyResult("--output", path, stack)
        self._writer = csv.writer(_Encoded(self.file), delimiter=delimiter, lineterminator="\r\n")

    def write(self, cells: Sequence[str], /) -> None:
        """Write one row."""
        self._writer.writerow(cells)


class _Encoded:
    """Text for a file of bytes, as UTF-8."""

    def __init__(self, file: LazyResult) -> None:
        self._file = file

    def write(self, text: str, /) -> int:
        """Write text."""
        return self._file.write(text.encode("utf-8", "backslashreplace"))


class Beside(NamedTuple):
    """The files beside a manifest.

    Attributes:
        duplicates: For rows that are left out because an earlier one is equal; None where these are not kept.
        rejected: For rows that cannot be used, each with its code.
    """

    duplicates: RowFile | None
    rejected: RowFile


WriteLines = Callable[[ManifestWriter, Beside], None]
"""Writes all lines of a manifest, and what is left out to the files beside it."""


def write_manifest(
    options: ManifestOptions,
    write: WriteLines,
    *,
    of: str,
    human_annotated: bool,
    has_duplicates: bool = False,
    delimiter: str = ",",
) -> None:
    """Write a manifest and the files beside it, and report the counts.

    Args:
        options: Of the command.
        write: Writes the lines.
        of: Name of what is read; the files beside a manifest on stdout are called after it.
        human_annotated: See ``LineForm``.
        has_duplicates: Whether equal rows are left out.
        delimiter: Between the cells of the files beside the manifest.

    Raises:
        DataError: There is no line to write, or the images are in several buckets.
        typer.Exit: With 1 when something was rejected.
    """
    if options.output != STDOUT:
        check_named("--output", Path(options.output))
    stem = Path(of if options.output == STDOUT else options.output).with_suffix("")
    duplicates, rejected = (stem.with_name(f"{stem.name}-{what}.csv") for what in ("duplicates", "errors"))
    outputs = [] if options.output == STDOUT else [Path(options.output)]
    check_replaced([*outputs, *([duplicates] if has_duplicates else []), rejected], yes=options.yes)
    with ExitStack() as stack:
        open_rows = partial(RowFile, delimiter=delimiter, stack=stack)
        beside = Beside(open_rows(duplicates) if has_duplicates else None, open_rows(rejected))
        with data_errors_told(WriteCounts().as_mapping(output=None), as_json=options.as_json):
            counts, error = _written(options, write, beside, human_annotated=human_annotated)
    if error is not None:
        if options.as_json:
            write_json({**_mapping(counts, None, beside), **error_mapping(error)})
        raise error
    _report(options, counts, beside)
    if counts.rejected:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _written(
    options: ManifestOptions, write: WriteLines, beside: Beside, *, human_annotated: bool
) -> tuple[WriteCounts, DataError | None]:
    """The counts, with the error where there is no line to write: the files beside tell why."""
    counts = WriteCounts()
    try:
        with open_output(options.output, yes=True) as out:
            writer = options.writer(out, human_annotated=human_annotated)
            counts = writer.counts
            write(writer, beside)
            return writer.finish(), None
    except DataError as error:
        if error.code == "ERROR_EMPTY_MANIFEST":
            return counts, error
        raise


def _made(file: RowFile | None) -> str | None:
    return None if file is None or file.file.made is None else str(file.file.made)


def _mapping(counts: WriteCounts, output: str | None, beside: Beside) -> dict[str, object]:
    duplicates, rejected = map(_made, beside)
    return counts.as_mapping(output=output, duplicates_file=duplicates, rejected_file=rejected)


def _report(options: ManifestOptions, counts: WriteCounts, beside: Beside) -> None:
    if options.as_json:
        write_json(_mapping(counts, options.output, beside))
        return
    duplicates, rejected = map(_made, beside)
    where = "" if options.output == STDOUT else f" in {options.output}"
    boxes = f", {counted(counts.boxes, 'box', 'es')}" if counts.boxes else ""
    print_err(f"{counted(counts.lines, 'image')}{where}: {counted(len(counts.labels), 'label')}{boxes}")
    for name, number in sorted(counts.skipped.items()):
        print_err(f"  skipped {name}: {count(number)}")
    for name, number in sorted(counts.notes.items()):
        if number:
            print_err(f"  {name}: {count(number)}")
    if counts.duplicates:
        print_err(f"  duplicates: {count(counts.duplicates)}, in {duplicates}")
    if counts.rejected:
        print_err(f"  rejected: {count(counts.rejected)}, in {rejected}")
