"""``asyncfilter plan``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import (
    JobPath,
    OutputOptions,
    RunOptions,
    Settings,
    command_group,
    help_text,
    takes_options,
)
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.signals import Signals, interruptible
from asyncfilter.cli.stderr import ask, has_terminal, print_err
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.cli.where import On, check_on, placed
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason, Summary
from asyncfilter.policy.forecast import PlanInputs, plan_result
from asyncfilter.report.formatting import count, usd
from asyncfilter.report.terminal.plan import draw_plan, plan_mapping

_CUT_SHORT = frozenset({StopReason.INTERRUPTED, StopReason.FAILED, StopReason.ERRORS})

app = command_group()


@app.command(
    "plan",
    help=help_text(
        "Show the expected result of a job before it runs: how many objects are listed, how many are skipped and why, "
        "cost and hours at the quota, and whether the budget or a limit would end the run; for a Custom Labels model "
        "also rate, hours and dollars of 1 to 5 inference units. This is free, and nothing is written. With "
        "--sample N, N images drawn at random from the whole listing are examined. They are paid "
        "for, their labels are kept, and are free for the run. The result adds hit rate, failures, total cost and "
        "cost of each kept image, with 95 % intervals.",
        "asyncfilter plan job.yaml",
        "asyncfilter plan job.yaml --sample 200          shows the price and asks first",
        "asyncfilter plan job.yaml --sample 200 --yes --json",
    ),
)
@takes_options
def plan(
    job: JobPath,
    *,
    settings: Settings = None,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", min=0, help="Examine N images drawn at random (paid).")
    ] = 0,
    on: On = None,
    options: RunOptions,
) -> None:
    """Show the expected result; the exit code is that of the sample's summary when it was cut short, else 0."""
    check_on(on)
    if on is not None and not sample:
        raise UsageError(f"--on {on}: only a sample is examined", hint="Add --sample N, or leave out --on.")
    if sample and not options.yes and not has_terminal():
        raise UsageError(
            "--sample pays for images, and there is no terminal to ask on",
            hint="Add --yes to pay for the sample without a question.",
        )
    with interruptible() as signals:
        loaded = (
            placed(deferred.load_job(job, overrides=settings or ()), on)
            if sample
            else load_for_reading(job, settings or (), may_be_missing=True)
        )
        plan_inputs = deferred.run_listing(functools.partial(deferred.survey, loaded, sample=sample))
        summary = _examine_sample(loaded, plan_inputs, signals, options.output(), yes=options.yes)
        found = plan_result(loaded, plan_inputs, summary)
        if options.as_json:
            write_json(plan_mapping(loaded, found))
        else:
            print_out(draw_plan(loaded, found))
    if summary is not None and summary.stop_reason in _CUT_SHORT:
        raise typer.Exit(summary.exit_code)


def _examine_sample(
    job: Job, plan_inputs: PlanInputs, signals: Signals, options: OutputOptions, *, yes: bool
) -> Summary | None:
    """Examine the sample, if the user agrees to the price; a sample that costs nothing needs no consent.

    What is probably a mistake is said before it is paid for, not only in the result.
    """
    survey = plan_inputs.survey
    if not survey.drawn:
        return None
    if survey.drawn_unpaid:
        for message in plan_inputs.cautions:
            print_err(f"caution: {message}")
        price = f"{count(survey.drawn_unpaid)} calls, {usd(plan_inputs.sample_micros)}"
        if not ask(f"The sample costs {price}. Pay for it?", yes=yes):
            return None
    return deferred.run_with_console(
        job, functools.partial(deferred.examine_sample, job, survey.drawn), signals, options
    )
