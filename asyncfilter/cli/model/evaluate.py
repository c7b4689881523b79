"""``asyncfilter model evaluate``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

import typer

from asyncfilter.cli.manifest_input import Region, open_manifest
from asyncfilter.cli.manifest_output import check_replaced
from asyncfilter.cli.model.evaluation_files import Fetched, fetched_evaluation
from asyncfilter.cli.model.evaluation_html import write_page
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.result_folder import check_folder, open_folder
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.custom_labels.evaluation.comparison import Comparison, compare
from asyncfilter.custom_labels.evaluation.curves import NO_LIBRARY
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluate, evaluation_mapping
from asyncfilter.custom_labels.evaluation.snapshot import read_snapshot
from asyncfilter.custom_labels.evaluation.summary import MAX_SUMMARY_BYTES, read_summary
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.spec import Aws
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.evaluation import draw_evaluation

SUMMARY_FILE = "summary.json"
SNAPSHOT_FILE = "snapshot.manifest"
"""The files of ``--save``, as the service wrote them."""

_PROBLEMS_SHOWN = 20

app = command_group()


@app.command(
    "evaluate",
    help=help_text(
        "Show how good a model version is, and where it errs: the service's own figures, those that its test snapshot "
        "comes to, and every mistake. With files alone nothing is asked of AWS.",
        "asyncfilter model evaluate birds birds.2026-11-28T10.00.00 --html birds.html",
        "asyncfilter model evaluate birds v2 --compare v1 --save evaluations/v2",
        "asyncfilter model evaluate --summary summary.json --snapshot snapshot.manifest --pictures ./birds --html p.html",
    ),
)
@takes_options
def evaluate_(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project: a name or an ARN.", show_default=False)
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="The version: a name or an ARN.", show_default=False)
    ] = None,
    *,
    summary: Annotated[
        str | None,
        typer.Option(
            "--summary",
            metavar="FILE",
            help="The evaluation summary: a file, or s3://BUCKET/KEY. In place of PROJECT and VERSION.",
            show_default=False,
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", metavar="FILE", help="The test snapshot that belongs to --summary.", show_default=False
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="VERSION",
            help="An older version of the project to compare with, or a folder that --save wrote.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page with the pictures of the mistakes: one file, under 5 MB.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help=f"Keep the two files in FOLDER, as {SUMMARY_FILE} and {SNAPSHOT_FILE}.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(
            "--pictures",
            metavar="SOURCE",
            help="Where the pictures of the page are: a folder or s3://BUCKET/PREFIX, in which they have their keys or "
            "the ends of these. Default: their addresses in S3; with --summary no picture is read.",
            show_default=False,
        ),
    ] = None,
    region: Region = None,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Evaluate a version."""
    aws = Aws(profile=profile, region=region)
    request = Request(project=project, version=version, summary=summary, snapshot=snapshot, against=against)
    request.check(pictures=pictures, html=html)
    if html is not None:
        check_replaced([html], yes=options.yes)
    if save is not None:
        check_folder("--save", save, is_ours={SUMMARY_FILE, SNAPSHOT_FILE}.__contains__, yes=options.yes)
    with ExitStack() as stack:
        files = stack.enter_context(request.opened(aws))
        found = files.evaluation()
        comparison = None if against is None else _compared(request, found, aws)
        if save is not None:
            _save(files, save)
    if html is not None:
        write_page(html, found, comparison, source=pictures, reads_s3=request.project is not None, aws=aws)
    _report(found, comparison, options)


class EvaluationFiles(NamedTuple):
    """The two files of a version, open, and the names that are known beside them; None where they are not."""

    summary: BinaryIO
    summary_name: str
    snapshot: BinaryIO
    snapshot_name: str
    project: str | None = None
    version: str | None = None

    def evaluation(self) -> Evaluation:
        """What is in them.

        Raises:
            UsageError: One of them cannot be read.
        """
        self.summary.seek(0)
        self.snapshot.seek(0)
        summary = read_summary(self.summary.read(MAX_SUMMARY_BYTES + 1), file=self.summary_name)
        found = evaluate(summary, read_snapshot(self.snapshot, file=self.snapshot_name))
        if self.project is None or self.version is None:
            return found
        return found.named(project=self.project, version=self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be evaluated: a version of a project, or two files.

    Attributes:
        project: The project; None for files. ``version`` alike.
        summary: The summary; None for a version. ``snapshot`` alike.
        against: A version, or a folder with its files; None without a comparison.
    """

    project: str | None
    version: str | None
    summary: str | None
    snapshot: str | None
    against: str | None

    def check(self, *, pictures: str | None, html: Path | None) -> None:
        """Check that the options belong together.

        Raises:
            UsageError: They do not.
        """
        has_files = self.summary is not None or self.snapshot is not None
        if has_files and (self.summary is None or self.snapshot is None):
            missing = "--snapshot" if self.snapshot is None else "--summary"
            raise UsageError(f"{missing} is missing", hint="Give both files: --summary FILE --snapshot FILE.")
        if has_files and self.project is not None:
            raise UsageError(
                "a project and files were given",
                hint="Give PROJECT VERSION, or --summary FILE --snapshot FILE.",
            )
        if not has_files and self.version is None:
            missing = "PROJECT and VERSION are" if self.project is None else "VERSION is"
            raise UsageError(
                f"{missing} missing", hint="Give PROJECT VERSION, or --summary FILE --snapshot FILE."
            )
        if pictures is not None and html is None:
            raise UsageError("--pictures is for a page", hint="Say where it goes: --html FILE.")

    @contextmanager
    def opened(self, aws: Aws) -> Iterator[EvaluationFiles]:
        """The files."""
        if self.summary is not None and self.snapshot is not None:
            with _opened(self.summary, self.snapshot, aws) as files:
                yield files
            return
        with fetched_evaluation(str(self.project), str(self.version), aws=aws) as found:
            yield _files_of(found)

    @contextmanager
    def opened_old(self, aws: Aws) -> Iterator[EvaluationFiles]:
        """The files of the version to compare with.

        Raises:
            UsageError: It is no version, and no folder of one.
        """
        name = str(self.against)
        if self.project is not None and (name.startswith("arn:") or "/" not in name):
            with fetched_evaluation(self.project, name, aws=aws) as found:
                yield _files_of(found)
            return
        folder = Path(name)
        if not folder.is_dir():
            raise UsageError(
                f"--compare {name}: there is no such folder",
                hint=f"Name a folder that --save wrote, with {SUMMARY_FILE} and {SNAPSHOT_FILE}.",
            )
        with _opened(str(folder / SUMMARY_FILE), str(folder / SNAPSHOT_FILE), aws) as files:
            yield files


@contextmanager
def _opened(summary: str, snapshot: str, aws: Aws) -> Iterator[EvaluationFiles]:
    with open_manifest(summary, aws=aws) as first, open_manifest(snapshot, aws=aws) as second:
        yield EvaluationFiles(first.stream, first.name, second.stream, second.name)


def _files_of(found: Fetched) -> EvaluationFiles:
    return EvaluationFiles(
        found.summary, found.summary_uri, found.snapshot, found.snapshot_uri, found.project, found.version
    )


def _compared(request: Request, found: Evaluation, aws: Aws) -> Comparison:
    with request.opened_old(aws) as files:
        old = files.evaluation()
    _report_problems(old)
    return compare(old, found)


def _save(files: EvaluationFiles, folder: Path) -> None:
    with open_folder("--save", folder) as new:
        for stream, name in ((files.summary, SUMMARY_FILE), (files.snapshot, SNAPSHOT_FILE)):
            stream.seek(0)
            with (new / name).open("wb") as out:
                shutil.copyfileobj(stream, out)
    print_err(f"{folder}: {SUMMARY_FILE} and {SNAPSHOT_FILE}")


def _report(found: Evaluation, comparison: Comparison | None, options: ResultOptions) -> None:
    """Print the result.

    Raises:
        typer.Exit: With ``ExitCode.SOME_FAILED`` when lines were left out.
    """
    _report_problems(found)
    if found.curves is None:
        print_err(NO_LIBRARY)
    if options.as_json:
        write_json(evaluation_mapping(found, None if comparison is None else comparison.as_mapping()))
    else:
        print_out(draw_evaluation(found, comparison))
    if found.snapshot.left_out:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _report_problems(found: Evaluation) -> None:
    snapshot = found.snapshot
    for problem in snapshot.problems[:_PROBLEMS_SHOWN]:
        print_err(f"{snapshot.file}:{problem.line}: {problem.message}")
    if snapshot.left_out > _PROBLEMS_SHOWN:
        print_err(f"{snapshot.file}: {count(snapshot.left_out - _PROBLEMS_SHOWN)} more lines are left out")
