"""``asyncfilter audit``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_output import open_output
from asyncfilter.cli.manifest_writers import S3Path, checked_s3_path
from asyncfilter.cli.nothing import nothing_told
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
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import is_live, print_out, stderr_console, write_json
from asyncfilter.policy.audit_options import Announcement, milestones_in
from asyncfilter.policy.audit_questions import QuestionFormat
from asyncfilter.policy.calibrated import Audited
from asyncfilter.report.calibration import audit_mapping
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.audit import draw_audit

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementOptions:
    """The options of what is announced by a draw."""

    precision: Annotated[
        float | None,
        typer.Option("--precision", metavar="P", help="Share of good images to be shown. Default: 0.95."),
    ] = None
    recall: Annotated[
        float | None,
        typer.Option("--recall", metavar="R", help="Share of all good images to be kept or asked. Default: none."),
    ] = None
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", metavar="C", help="How certain certificates are. Default: 0.95."),
    ] = None
    floor: Annotated[
        float | None,
        typer.Option(
            "--floor",
            metavar="PCT",
            help="Least score of images that could be kept. Default: the confidence of the review rule with the same "
            "condition, else the rule's own.",
        ),
    ] = None
    milestones: Annotated[
        str | None,
        typer.Option(
            "--milestones",
            metavar="N,N...",
            help="Numbers of answers at which thresholds are certified. Default: 100,200,400,800.",
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of the lot. Default: the number of the draw.")
    ] = None

    def announcement(self) -> Announcement:
        """What they say.

        Raises:
            UsageError: One cannot be used.
        """
        return Announcement(
            precision=self.precision,
            recall=self.recall,
            confidence=self.confidence,
            floor=self.floor,
            milestones=None if self.milestones is None else milestones_in(self.milestones),
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFileOptions:
    """The options of the file of questions."""

    format_: Annotated[
        QuestionFormat,
        typer.Option("--format", metavar="FORMAT", help="label-studio, csv, jsonl or ground-truth (a manifest)."),
    ] = QuestionFormat.LABEL_STUDIO
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write what to ask to FILE; - is stdout.", show_default=False
        ),
    ] = None
    all_: Annotated[
        bool, typer.Option("--all", help="Write all positions, not only those missing for the next statement.")
    ] = False
    show_machine: Annotated[
        bool, typer.Option("--show-machine", help="Write what the machine says too, which sways people.")
    ] = False
    s3_path: S3Path = None


@app.command(
    "audit",
    help=help_text(
        "Draw images to ask people about, so that something can be said about all images of a rule: how precise its "
        "threshold is, and what is lost. The draw is by lot, and frozen in the answers file; later calls repeat it and "
        "say how many answers are missing. Without -o only the counts are shown. No detector is called, and a run in "
        "progress is not disturbed. docs/review.md explains the figures.",
        "asyncfilter audit job.yaml -o tasks.json                        for Label Studio",
        "asyncfilter audit job.yaml --format csv -o questions.csv        to fill in a spreadsheet",
        "asyncfilter audit job.yaml --precision 0.98 --recall 0.9 --new  announce other targets",
        "asyncfilter audit job.yaml                                      how many answers are missing?",
    ),
)
@takes_options
def audit(
    job: JobPath,
    *,
    settings: Settings = None,
    rule: Annotated[
        list[int] | None,
        typer.Option(
            "--rule",
            metavar="N",
            help="A keep rule by its number, from 0; may be repeated. Default: all that have a score.",
            show_default=False,
        ),
    ] = None,
    announced: AnnouncementOptions,
    new: Annotated[bool, typer.Option("--new", help="Make another draw, of the images that are there now.")] = False,
    file: QuestionFileOptions,
    options: ResultOptions,
) -> None:
    """Draw images, and write those that lack an answer."""
    refuse_two_for_stdout(as_json=options.as_json, option="--output", target=file.output)
    announcement = announced.announcement()
    asked = deferred.QuestionOptions(
        format_=file.format_,
        is_all=file.all_,
        shows_machine=file.show_machine,
        s3_path=checked_s3_path(file.s3_path),
    )
    loaded = load_for_reading(job, settings or (), may_write_answers=True)
    if file.output is not None:
        deferred.check_options(loaded, asked)
    with nothing_told(as_json=options.as_json), _counting():
        found: Audited = deferred.audit(loaded, announcement, numbers=rule or None, is_new=new)
    written = 0
    if file.output is not None:
        with open_output(file.output, yes=options.yes) as out:
            written = deferred.write_questions(loaded, found, out, asked)
    _report(found, written, file.output, file.format_, as_json=options.as_json)


@contextmanager
def _counting() -> Iterator[None]:
    """A word on a terminal while images are counted, which takes 16 s for a million."""
    console = stderr_console()
    if not is_live(console):
        yield
        return
    with PROCESS.at_end(show_cursor), console.status("counting images"):
        yield


def _report(found: Audited, written: int, output: str | None, format_: QuestionFormat, *, as_json: bool) -> None:
    for caution in found.cautions:
        print_err(f"caution: {caution}")
    if as_json:
        named = None if output is None else format_.value
        write_json(audit_mapping(found, written=written, output=output, format_=named))
        return
    if output != STDOUT:
        print_out(draw_audit(found))
    if output is not None:
        where = "stdout" if output == STDOUT else output
        print_err(f"{count(written)} image{'' if written == 1 else 's'} to ask about in {where}")
