"""``asyncfilter manifest from-csv``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from asyncfilter.cli.manifest_input import OpenManifest, open_manifest
from asyncfilter.cli.manifest_output import ManifestOptions
from asyncfilter.cli.manifest_writers import Beside, S3Path, checked_s3_path, write_manifest
from asyncfilter.cli.options import Profile, command_group, help_text, takes_options
from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.datasets.manifests.csv_table import CsvHeader, CsvKind, CsvTable
from asyncfilter.datasets.manifests.from_csv import CsvLines
from asyncfilter.datasets.manifests.row_rules import Unlabelled
from asyncfilter.datasets.manifests.writing import ManifestWriter
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws

app = command_group()


class Duplicates(StrEnum):
    """What happens to rows of an image, or a box, that an earlier row has."""

    FIRST = "first"
    MERGE = "merge"


@app.command(
    "from-csv",
    help=help_text(
        "Write a manifest from a CSV file: rows of an image and its labels, or boxes (filename, width, height, class, "
        "xmin, ymin, xmax, ymax). Rows that cannot be used go to <output>-errors.csv, each with a code, and the exit "
        "code is 1; the others are written.",
        "asyncfilter manifest from-csv labels.csv --s3-path s3://my-bucket/birds -o train.manifest",
        "asyncfilter manifest from-csv labels.csv --duplicates merge -o train.manifest    one row a label",
        "asyncfilter manifest from-csv boxes.csv --kind boxes --s3-path s3://my-bucket/birds -o boxes.manifest",
    ),
)
@takes_options
def from_csv(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The CSV file: a file, or s3://BUCKET/KEY.", show_default=False)
    ],
    *,
    s3_path: S3Path = None,
    kind: Annotated[
        CsvKind,
        typer.Option("--kind", metavar="KIND", help="image or boxes; auto: boxes when the header has their columns."),
    ] = CsvKind.AUTO,
    header: Annotated[
        CsvHeader,
        typer.Option(
            "--header", metavar="WHETHER", help="yes or no; auto: when the first cell is image, filename, path or so."
        ),
    ] = CsvHeader.AUTO,
    delimiter: Annotated[
        str, typer.Option("--delimiter", metavar="C", help="The character between cells; \\t is a tab.")
    ] = ",",
    unlabelled: Annotated[
        Unlabelled,
        typer.Option(
            "--unlabelled",
            metavar="WHAT",
            help="What happens to rows without a label: error, skip, or keep (as lines without a label).",
        ),
    ] = Unlabelled.ERROR,
    duplicates: Annotated[
        Duplicates,
        typer.Option(
            "--duplicates",
            metavar="WHAT",
            help="first: later rows of an image (or equal boxes) go to <output>-duplicates.csv; merge unites labels.",
        ),
    ] = Duplicates.FIRST,
    profile: Profile = None,
    options: ManifestOptions,
) -> None:
    """Write a line for each image of a table."""
    prefix, between = checked_s3_path(s3_path), checked_delimiter(delimiter)
    with open_manifest(file, aws=Aws(profile=profile)) as opened:
        table = _table(opened, between)
        form = table.form(header=header, kind=kind)

        def write(writer: ManifestWriter, beside: Beside) -> None:
            CsvLines(
                table,
                form,
                writer=writer,
                classes=options.labels(),
                s3_path=prefix,
                unlabelled=unlabelled,
                duplicates=beside.duplicates,
                rejected=beside.rejected,
            ).write()

        has_duplicates = duplicates is Duplicates.FIRST
        write_manifest(options, write, of=file, human_annotated=True, has_duplicates=has_duplicates, delimiter=between)


def checked_delimiter(given: str) -> str:
    r"""The character between cells; ``\t`` stands for a tab.

    Raises:
        UsageError: It cannot be one.
    """
    delimiter = "\t" if given == "\\t" else given
    if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
        raise UsageError(
            f"--delimiter {given!r} is no character between cells", hint="Give one character, such as ';' or '\\t'."
        )
    return delimiter


def _table(opened: OpenManifest, delimiter: str) -> CsvTable:
    if opened.size_bytes > MAX_MANIFEST_BYTES:
        raise UsageError(
            f"{opened.name}: over {MAX_MANIFEST_BYTES:,} bytes, which no manifest can hold", hint="Split the file."
        )
    return CsvTable(opened.name, opened.stream, delimiter=delimiter)
