"""``asyncfilter calibrate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.nothing import nothing_told
from asyncfilter.cli.options import JobPath, ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.errors import AsyncFilterError, ExitCode, UsageError
from asyncfilter.job.patching import Patched
from asyncfilter.job.spec import Job
from asyncfilter.policy.calibrated import Calibration
from asyncfilter.report.calibration import calibration_mapping
from asyncfilter.report.terminal.calibration import draw_calibration

app = command_group()


@app.command(
    "calibrate",
    help=help_text(
        "Show what people's answers to an audit say about the thresholds of the rules: how precise they are, which are "
        "certified, what is lost, how many more answers it takes, and what to change. Nothing is changed without "
        "--write, no detector is called, and a run in progress is not disturbed. docs/review.md explains the figures.",
        "asyncfilter calibrate job.yaml",
        "asyncfilter calibrate job.yaml --write                 take the advice over into the job file",
        "asyncfilter calibrate job.yaml --set-precision 0.9     look at another target, without a certificate",
        "asyncfilter calibrate job.yaml --hourly-usd 25 --json",
    ),
)
@takes_options
def calibrate(
    job: JobPath,
    *,
    settings: Settings = None,
    rule: Annotated[
        list[int] | None,
        typer.Option(
            "--rule",
            metavar="N",
            help="A rule by its number, from 0; may be repeated. Default: all with a draw.",
            show_default=False,
        ),
    ] = None,
    draw: Annotated[
        int | None,
        typer.Option("--draw", metavar="N", help="A draw by its number. Default: the newest of each rule."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the advised thresholds into the job file, after a question.")
    ] = False,
    set_precision: Annotated[
        float | None,
        typer.Option("--set-precision", metavar="P", help="Look at this target; nothing is certified for it."),
    ] = None,
    hourly_usd: Annotated[
        float | None,
        typer.Option(
            "--hourly-usd",
            metavar="USD",
            min=0,
            help="What an hour of a person costs. Default: pricing.by_hand.hour_usd of the job.",
            show_default=False,
        ),
    ] = None,
    options: ResultOptions,
) -> None:
    """Show the figures, and write the advice if that is wanted."""
    _check(set_precision, write=write, settings=settings or ())
    loaded = load_for_reading(job, settings or (), may_write_answers=True)
    _commit_answers(loaded)
    query = deferred.CalibrationQuery(
        numbers=tuple(rule) if rule else None, draw=draw, precision=set_precision, hourly_usd=hourly_usd
    )
    with nothing_told(as_json=options.as_json):
        found: Calibration = deferred.calibrate(loaded, query)
    for caution in found.cautions:
        print_err(f"caution: {caution}")
    if not options.as_json:
        print_out(draw_calibration(found, job))
    refused = _why_not(found) if write else None
    if write and refused is None:
        found = msgspec.structs.replace(found, is_written=_write(found, loaded, yes=options.yes))
    if options.as_json:
        write_json(calibration_mapping(found))
    if refused is not None:
        print_err(f"nothing is written: {refused}")
        raise typer.Exit(ExitCode.SOME_FAILED)


def _commit_answers(job: Job) -> None:
    """Write the answers of this machine to their state in S3, where the job has one: a certificate rests on them."""
    if job.state is None:
        return
    try:
        deferred.run_async(lambda: deferred.ship_answers(job))
    except AsyncFilterError as error:
        print_err(f"caution: people's answers of this machine are not in S3 yet: {error.message}")


def _check(precision: float | None, *, write: bool, settings: Sequence[str]) -> None:
    """Check the options.

    Raises:
        UsageError: One cannot be used, or two contradict each other.
    """
    if precision is not None and not 0 < precision <= 1:
        raise UsageError(
            f"--set-precision: expected a share above 0 and at most 1, found {precision:g}", hint="Write 0.95 for 95 %."
        )
    if write and any(setting.startswith("rules") for setting in settings):
        raise UsageError(
            "--write changes the job file, and --set its rules beside the file", hint="Leave out one of them."
        )


def _why_not(found: Calibration) -> str | None:
    """Why the advice cannot be written; None where it can, or where there is none."""
    for rule in found.rules:
        number = rule.standings.draw.measured.rule
        if rule.is_outdated:
            return f"rules[{number}], or a rule before it, has changed since draw {rule.standings.draw.number}"
        if rule.patch_problem is not None:
            return rule.patch_problem
    return None


def _write(found: Calibration, job: Job, *, yes: bool) -> bool:
    """Write the advice into the job file; returns whether anything was to be written.

    Raises:
        AbortedError: There is no terminal to ask on, which means no.
        UsageError: The file was changed meanwhile.
        OutputError: It cannot be written.
        typer.Exit: The answer is no.
    """
    before, file = deferred.read_job_file(job)
    patch: Patched = deferred.patch_of(job, found.rules, before, file)
    if not patch.changes:
        print_err("nothing to write")
        return False
    changes = ", ".join(f"{one.path} {one.old} -> {one.new}" for one in patch.changes)
    question = f"Write {changes} into {file}?"
    agree(question, yes=yes, undone="nothing was written")
    with open_result("--write", Path(file)) as out:
        if deferred.read_job_file(job)[0] != before:
            raise UsageError(f"{file} was changed meanwhile; it was left as it is", hint="Repeat the command.")
        out.write(patch.content)
    print_err(f"written: {changes} in {file}")
    return True
