"""``asyncfilter answers import``."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.answers.options import AnswersFile, Target, reviewer_of
from asyncfilter.cli.manifest_from_csv import checked_delimiter
from asyncfilter.cli.nothing import nothing_told
from asyncfilter.cli.options import ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_answering
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.answer_csv import AnswerCsvReader
from asyncfilter.datasets.answers.detecting import AnswerFormat, format_of
from asyncfilter.datasets.answers.ground_truth import GroundTruthReader
from asyncfilter.datasets.answers.importing import AnswerImport
from asyncfilter.datasets.answers.label_studio import LabelStudioReader
from asyncfilter.datasets.answers.rows import read_rows
from asyncfilter.datasets.answers.units import Left, ReadNotes, Reject, Unit
from asyncfilter.datasets.answers.words import VerdictWords
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.mounts import is_folder
from asyncfilter.report.answer_exchange import import_lines, import_mapping, problem_lines

app = command_group()

STDIN = "-"

_WITH_ADDRESSES = (AnswerFormat.CSV, AnswerFormat.LABEL_STUDIO, AnswerFormat.GROUND_TRUTH)
_FORMATS = {
    "--map": _WITH_ADDRESSES,
    "--base": _WITH_ADDRESSES,
    "--image-field": (AnswerFormat.LABEL_STUDIO,),
    "--delimiter": (AnswerFormat.CSV,),
    "--machine": (AnswerFormat.GROUND_TRUTH,),
}
"""The formats that have a use for each option of ``ReadingOptions``."""


class Format(StrEnum):
    """``--format``."""

    AUTO = "auto"
    JSONL = AnswerFormat.JSONL
    CSV = AnswerFormat.CSV
    LABEL_STUDIO = AnswerFormat.LABEL_STUDIO
    GROUND_TRUTH = AnswerFormat.GROUND_TRUTH


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """The options of what a file means."""

    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="TEXT=VERDICT",
            help="A text that means keep, reject or unsure; may be repeated.",
            show_default=False,
        ),
    ] = None
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="URI", help="What comes before the key in the addresses of images.", show_default=False
        ),
    ] = None
    image_field: Annotated[
        str | None,
        typer.Option(
            "--image-field",
            metavar="NAME",
            help="The member of data that has the address, in tasks of Label Studio. Default: image, or the only text.",
            show_default=False,
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter",
            metavar="C",
            help="The character between cells of CSV; \\t is a tab. Default: by the first row.",
            show_default=False,
        ),
    ] = None
    machine: Annotated[
        bool, typer.Option("--machine", help="Take what a machine labelled in a manifest (human-annotated: no), too.")
    ] = False

    def checked(self) -> _Reading:
        """What they say.

        Raises:
            UsageError: One cannot be used.
        """
        given = {
            "--map": self.map_,
            "--base": self.base,
            "--image-field": self.image_field,
            "--delimiter": self.delimiter,
            "--machine": self.machine or None,
        }
        return _Reading(
            given=tuple(option for option, value in given.items() if value is not None),
            words=VerdictWords(self.map_ or ()),
            base=self.base,
            image_field=self.image_field,
            delimiter=None if self.delimiter is None else checked_delimiter(self.delimiter),
            takes_machine=self.machine,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """``ReadingOptions``, checked; ``given`` has the names of those that were given."""

    given: tuple[str, ...]
    words: VerdictWords
    base: str | None
    image_field: str | None
    delimiter: str | None
    takes_machine: bool

    def check(self, format_: AnswerFormat) -> None:
        """Check that a format has a use for every option that was given.

        Raises:
            UsageError: It has none for one of them.
        """
        for option in self.given:
            if format_ not in _FORMATS[option]:
                raise UsageError(
                    f"{format_} has no use for {option}, which is for {' and '.join(_FORMATS[option])}",
                    hint="Leave the option out; if the file is of another format, name it with --format.",
                )

    def units(
        self, format_: AnswerFormat, stream: BinaryIO | None, folder: Path, notes: ReadNotes, bucket: str
    ) -> Iterator[Unit]:
        """What a file has, or a folder where there is no stream."""
        words, addresses = self.words, Addresses(bucket=bucket, base=self.base)
        if format_ is AnswerFormat.JSONL:
            return read_rows(_stream(stream), notes)
        if format_ is AnswerFormat.CSV:
            csv = AnswerCsvReader(words=words, addresses=addresses, notes=notes, delimiter=self.delimiter)
            return csv.read(_stream(stream))
        if format_ is AnswerFormat.GROUND_TRUTH:
            lines = GroundTruthReader(words=words, addresses=addresses, notes=notes, takes_machine=self.takes_machine)
            return lines.read(_stream(stream))
        tasks = LabelStudioReader(words=words, addresses=addresses, notes=notes, image_field=self.image_field)
        return _folder_units(tasks, folder) if stream is None else tasks.read(stream)


@app.command(
    "import",
    help=help_text(
        "Import people's answers from Label Studio (JSON of tasks, or the files of a cloud storage), a manifest of "
        "Ground Truth, CSV or JSON Lines. All of the file, or nothing; the same file twice adds nothing. Every "
        "annotation, row or line is counted in exactly one place; exit code 1 says that some were not taken.",
        "asyncfilter answers import job.yaml export.json",
        "asyncfilter answers import job.yaml export.json --map good=keep --map bad=reject --dry-run",
        "asyncfilter answers import job.yaml answers.csv --as anna",
        "asyncfilter answers import job.yaml output.manifest    what a labelling job wrote",
        "asyncfilter answers import job.yaml annotations/       the files of Label Studio's cloud storage",
        "asyncfilter answers export old.yaml | asyncfilter answers import job.yaml -",
    ),
)
@takes_options
def import_(
    target: Target,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The file; - is stdin. For Label Studio also a folder.", show_default=False
        ),
    ],
    *,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl, csv, label-studio or ground-truth; auto tells it from the content.",
        ),
    ] = Format.AUTO,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count alone, and change nothing.")] = False,
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Whose answers these are. Default: whom the file names; where it names nobody, label-studio, "
            "ground-truth, or the login name.",
            show_default=False,
        ),
    ] = None,
    reading: ReadingOptions,
    answers: AnswersFile = None,
    settings: Settings = None,
    options: ResultOptions,
) -> None:
    """Import answers."""
    checked = reading.checked()
    reviewer = None if as_ is None else reviewer_of(as_)
    place = deferred.find_answers(target, answers=answers, settings=settings or (), load=load_for_answering)
    with nothing_told(as_json=options.as_json):
        place.check_known()
    caution = place.caution()
    with _opened(file) as stream, _named(file):
        found_format = _format(file, stream, format_)
        checked.check(found_format)

        def read(notes: ReadNotes) -> Iterator[Unit]:
            return checked.units(found_format, stream, Path(file), notes, place.images.bucket)

        found, serial = deferred.import_answers(
            place, read, reviewer=reviewer, default_reviewer=reviewer_of(None), dry_run=dry_run
        )
    _ship(place.job, is_changed=bool(serial) and not dry_run)
    if caution is not None and serial and not dry_run:
        print_err(f"caution: {caution}")
    result = import_mapping(found, file=file, format_=found_format, dry_run=dry_run, serial=serial)
    _report(found, file, result, dry_run=dry_run, as_json=options.as_json)


def _report(found: AnswerImport, file: str, result: Mapping[str, object], *, dry_run: bool, as_json: bool) -> None:
    """Print the result.

    Raises:
        typer.Exit: With ``ExitCode.SOME_FAILED`` when some answers were not taken.
    """
    if found.notes.ignored_columns:
        print_err(f"{file}: columns that are not read: {', '.join(found.notes.ignored_columns)}")
    if as_json:
        write_json(result)
    else:
        for line in problem_lines(found, file):
            print_err(line)
        write_lines(import_lines(found, dry_run=dry_run))
    if not found.is_complete:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _ship(job: Job | None, *, is_changed: bool) -> None:
    """Write the answers file to its state in S3, where the job has one."""
    if is_changed and job is not None and job.state is not None:
        deferred.run_async(lambda: deferred.ship_answers(job))


# -- The file ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO | None]:
    """The bytes of a file, which can be read again; None for a folder. What comes from a pipe is held on disk.

    Raises:
        UsageError: It cannot be read.
    """
    path = Path(file)
    if file != STDIN and is_folder(path):
        yield None
        return
    try:
        stream = os.fdopen(os.dup(sys.stdin.fileno()), "rb") if file == STDIN else path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    with stream:
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISREG(mode) and file != STDIN:
            yield stream
            return
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not stream.isatty() and file != STDIN:
            raise UsageError(f"{file}: a device, which may have no end", hint="Name a file, a pipe, or - for stdin.")
        with tempfile.TemporaryFile() as held:
            try:
                shutil.copyfileobj(stream, held)
            except OSError as error:
                raise _unreadable(file, error) from error
            held.seek(0)
            yield held


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Put the name of the file before what is wrong with it."""
    try:
        yield
    except OSError as error:
        raise _unreadable(file, error) from error
    except UsageError as error:
        if error.message.startswith(file):
            raise
        raise UsageError(f"{file}: {error.message}", hint=error.hint) from error


def _unreadable(file: str, error: Exception) -> UsageError:
    why = (error.strerror if isinstance(error, OSError) else None) or error
    return UsageError(f"{file}: {why}", hint="Name a file that can be read.")


def _format(file: str, stream: BinaryIO | None, given: Format) -> AnswerFormat:
    """The format of the file.

    Raises:
        UsageError: It has none, or is a folder of another format than Label Studio.
    """
    if stream is None:
        if given not in {Format.AUTO, Format.LABEL_STUDIO}:
            raise UsageError(f"{file}: a folder, which {given} is not", hint="Name a file, or --format label-studio.")
        return AnswerFormat.LABEL_STUDIO
    return format_of(stream) if given is Format.AUTO else AnswerFormat(given.value)


def _stream(stream: BinaryIO | None) -> BinaryIO:
    """The stream of a format that is never a folder."""
    if stream is None:
        raise UsageError("a folder", hint="Name a file.")
    return stream


def _folder_units(tasks: LabelStudioReader, folder: Path) -> Iterator[Unit]:
    """The units of every file of a folder, by name."""
    for path in sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name)):
        if path.is_dir():
            continue
        if not path.is_file():  # a link that leads nowhere, or a pipe, which would be waited for
            yield Left(path.name, Reject.UNREADABLE, "no regular file")
            continue
        try:
            with path.open("rb") as stream:
                yield from tasks.read_named(path.name, stream)
        except OSError as error:
            yield Left(path.name, Reject.UNREADABLE, f"the file: {error.strerror or error}")
