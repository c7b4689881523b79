"""``asyncfilter model evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli.model.evaluation_files import SNAPSHOT_FILE, SUMMARY_FILE, Request, check_saved
from asyncfilter.cli.model.evaluation_html import write_page
from asyncfilter.cli.model.options import ModelOptions, WaitOptions
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.custom_labels.evaluation.comparison import Comparison, compare
from asyncfilter.custom_labels.evaluation.curves import NO_LIBRARY
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluation_mapping
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.evaluation import draw_evaluation

_PROBLEMS_SHOWN = 20

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """The options of files in place of a version, and of what it is compared with."""

    summary: Annotated[
        str | None,
        typer.Option(
            "--summary",
            metavar="FILE",
            help="The evaluation summary, in place of PROJECT and VERSION: a file, or s3://BUCKET/KEY.",
            show_default=False,
        ),
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", metavar="FILE", help="The test snapshot that belongs to --summary.", show_default=False
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="VERSION",
            help="An older version of the project, or a folder that --save wrote.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFileOptions:
    """The options of what is written beside the result.

    Attributes:
        html: The page; None for none.
        save: The folder for the two files; None for none.
        pictures: Where the pictures of the page are; None for their addresses in S3.
    """

    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page with the pictures of the mistakes: one file, under 5 MB.",
            show_default=False,
        ),
    ] = None
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help=f"Keep the two files in FOLDER, as {SUMMARY_FILE} and {SNAPSHOT_FILE}.",
            show_default=False,
        ),
    ] = None
    pictures: Annotated[
        str | None,
        typer.Option(
            "--pictures",
            metavar="SOURCE",
            help="Where the pictures of the page are: a folder or s3://BUCKET/PREFIX, in which they have their keys or "
            "the ends of these. Default: at their addresses in S3; with --summary no picture is read.",
            show_default=False,
        ),
    ] = None

    def check(self, *, yes: bool) -> None:
        """Ask whether what is there may be replaced.

        Args:
            yes: Every question is answered with yes.

        Raises:
            UsageError: Pictures are given, and no page for them.
            AbortedError: It may not.
        """
        if self.pictures is not None and self.html is None:
            raise UsageError("--pictures is for a page", hint="Name its file: --html FILE.")
        if self.html is not None:
            check_replaced([self.html], yes=yes)
        if self.save is not None:
            check_saved(self.save, yes=yes)


@app.command(
    "evaluate",
    help=help_text(
        "Show how good a model version is, and where it errs: the service's own figures, those that its test snapshot "
        "comes to, and every mistake. With files alone nothing is asked of AWS. Exit code 1 when lines of the snapshot "
        "cannot be read.",
        "asyncfilter model evaluate birds birds.2026-11-28T10.00.00 --html birds.html",
        "asyncfilter model evaluate birds v2 --compare v1 --save evaluations/v2",
        "asyncfilter model evaluate --summary s.json --snapshot s.manifest --html birds.html --pictures ./birds",
    ),
)
@takes_options
def evaluate(
    project: Annotated[
        str | None, typer.Argument(metavar="PROJECT", help="Name or ARN of the project.", show_default=False)
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Name or ARN of the version.", show_default=False)
    ] = None,
    *,
    files: FileOptions,
    outputs: ResultFileOptions,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Evaluate a version."""
    request = Request(
        project=project,
        version=version,
        summary=files.summary,
        snapshot=files.snapshot,
        against=files.against,
        waits=waits,
    )
    outputs.check(yes=options.yes)
    with request.opened(options) as opened:
        found = opened.evaluation()
        comparison = None if files.against is None else _compared(request, found, options)
        if outputs.save is not None:
            opened.save(outputs.save)
    if outputs.html is not None:
        source, reads_s3 = outputs.pictures, project is not None
        write_page(outputs.html, found, comparison, source=source, reads_s3=reads_s3, aws=options.aws())
    _report(found, comparison, options)


def _compared(request: Request, found: Evaluation, options: ModelOptions) -> Comparison:
    with request.opened_old(options) as files:
        old = files.evaluation()
    _print_problems(old)
    return compare(old, found)


def _report(found: Evaluation, comparison: Comparison | None, options: ModelOptions) -> None:
    """Print the result.

    Raises:
        typer.Exit: With ``ExitCode.SOME_FAILED`` when lines were left out.
    """
    _print_problems(found)
    if found.curves is None:
        print_err(NO_LIBRARY)
    if options.as_json:
        write_json(evaluation_mapping(found, None if comparison is None else comparison.as_mapping()))
    else:
        print_out(draw_evaluation(found, comparison))
    if found.snapshot.left_out:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _print_problems(found: Evaluation) -> None:
    snapshot = found.snapshot
    for problem in snapshot.problems[:_PROBLEMS_SHOWN]:
        print_err(f"{snapshot.file}:{problem.line}: {problem.message}")
    if snapshot.left_out > _PROBLEMS_SHOWN:
        print_err(f"{snapshot.file}: {count(snapshot.left_out - _PROBLEMS_SHOWN)} more lines are left out")
