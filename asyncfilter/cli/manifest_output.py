"""Options and output of the commands that write a manifest: a file, which is there whole or not at all, or stdout."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from asyncfilter.cli.options import STDOUT, Json, Yes, refuse_two_for_stdout
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.manifests.line_form import (
    DEFAULT_BOX_ATTRIBUTE,
    DEFAULT_IMAGE_ATTRIBUTE,
    LineForm,
    creation_date,
    line_form,
)
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter, read_classes
from asyncfilter.errors import DataError
from asyncfilter.report.terminal.text import ExportOnTerminal

Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The manifest to write; - is stdout.")]
CreationDate = Annotated[
    str | None,
    typer.Option(
        "--creation-date",
        metavar="TIME",
        help="The creation-date of all lines, UTC in ISO 8601. Default: SOURCE_DATE_EPOCH, else now.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    """The options of every command that writes lines of its own.

    Attributes:
        output: The manifest, ``-`` for stdout.
        attribute: Name of the attribute; None for the default.
        job_name: ``job-name`` in the metadata; None for the default.
        creation_date: As given; None for the default.
        classes: A file that fixes the labels and their numbers.
        as_json: The counts are written as JSON.
        yes: Every question is answered with yes.

    Raises:
        UsageError: Manifest and counts would both go to stdout.
    """

    output: Output = STDOUT
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            metavar="NAME",
            help="Name of the attribute. Default: label (label0, label1, ...) and boxes.",
            show_default=False,
        ),
    ] = None
    job_name: Annotated[
        str | None,
        typer.Option(
            "--job-name",
            metavar="NAME",
            help="job-name of all lines. Default: labeling-job/ATTRIBUTE.",
            show_default=False,
        ),
    ] = None
    creation_date: CreationDate = None
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="The labels that may occur, one a line, in the order of their class ids; others are rejected.",
            show_default=False,
        ),
    ] = None
    as_json: Json = False
    yes: Yes = False

    def __post_init__(self) -> None:
        refuse_two_for_stdout(as_json=self.as_json, option="--output", target=self.output)

    def moment(self) -> str:
        """The creation date of all lines."""
        return command_moment(self.creation_date)

    def forms(self, *, human_annotated: bool) -> tuple[LineForm, LineForm]:
        """The forms of image-level labels and of boxes."""
        moment = self.moment()
        image, boxes = (
            line_form(
                attribute=self.attribute,
                default=default,
                job_name=self.job_name,
                human_annotated=human_annotated,
                creation_date=moment,
            )
            for default in (DEFAULT_IMAGE_ATTRIBUTE, DEFAULT_BOX_ATTRIBUTE)
        )
        return image, boxes

    def labels(self) -> Classes:
        """The labels of ``--classes``, or any."""
        return Classes() if self.classes is None else read_classes(self.classes)

    def writer(self, out: BinaryIO, *, human_annotated: bool, one_bucket: bool = True) -> ManifestWriter:
        """The writer of the manifest; make it before the output is opened, so that wrong options change nothing."""
        image_form, box_form = self.forms(human_annotated=human_annotated)
        return ManifestWriter(
            out, image_form=image_form, box_form=box_form, classes=self.labels(), one_bucket=one_bucket
        )


@contextmanager
def data_errors_told(
    counts: Mapping[str, object] | Callable[[], Mapping[str, object]] | None = None, *, as_json: bool
) -> Iterator[None]:
    """With ``--json``, write an object also where data that is wrong keeps the result from being written.

    Args:
        counts: What stands in it beside the error; may be called for that.
        as_json: Whether ``--json`` is given.
    """
    try:
        yield
    except DataError as error:
        if as_json:
            beside = counts() if callable(counts) else counts
            write_json({**(beside or {}), **error_mapping(error)})
        raise


def error_mapping(error: DataError) -> dict[str, object]:
    """An error as it stands in the object of ``--json``."""
    return {"error": {"code": error.code, "message": error.message}}


def command_moment(given: str | None) -> str:
    """``--creation-date``, or its default."""
    return creation_date(given, os.environ, time.time())


@contextmanager
def open_output(output: str, *, yes: bool, option: str = "--output") -> Iterator[BinaryIO]:
    """A stream into the file of ``--output``, or to stdout; after an exception nothing was written to either.

    Raises:
        AbortedError: The file exists and may not be replaced.
        UsageError: It cannot be created.
        OutputError: It cannot be written.
    """
    if output != STDOUT:
        check_replaced([Path(output)], yes=yes)
        with open_result(option, Path(output)) as out:
            yield out
        return
    with tempfile.TemporaryFile() as spooled:
        yield spooled
        spooled.seek(0)
        _to_stdout(spooled)


def _to_stdout(lines: BinaryIO) -> None:
    with suppress(StdoutEndedError):
        binary = getattr(sys.stdout, "buffer", None)  # not where another program captures text
        if sys.stdout.isatty() or binary is None:
            shown = ExportOnTerminal(sys.stdout, is_json=True) if sys.stdout.isatty() else sys.stdout
            for line in lines:
                shown.write(line.decode(errors="backslashreplace"))
        else:
            sys.stdout.flush()
            shutil.copyfileobj(lines, binary)
        sys.stdout.flush()
