"""``asyncfilter bench``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, RunOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.signals import interruptible
from asyncfilter.cli.stderr import ask
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.engine.preview.jobs import bench_job
from asyncfilter.errors import ExitCode
from asyncfilter.model import StopReason

_HOUR_S = 3600.0
_LONGEST_S = 3600.0
_MICROS = 1_000_000
_CUT_SHORT = frozenset({StopReason.INTERRUPTED, StopReason.FAILED, StopReason.ERRORS})

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """The options of what is measured, and what it may cost."""

    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="N", min=1, max=_LONGEST_S, help="Seconds to measure, from the first call on."
        ),
    ] = 30.0
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="USD",
            min=0,
            help="Spend at most this much. Default: the cost of --seconds at --tps, and of half an hour of a model "
            "that the job starts. The job's budget also applies.",
            show_default=False,
        ),
    ] = None
    tps: Annotated[
        float | None,
        typer.Option(
            "--tps",
            metavar="RATE",
            min=0.1,
            max=100_000,
            help="Highest rate to try, in calls a second. Default: 1.5 times the value in Service Quotas; no limit for "
            "a model of your own.",
            show_default=False,
        ),
    ] = None
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="HOURS",
            min=0.01,
            help="Count the whole listing (free), and show the rate that examines it in this time.",
            show_default=False,
        ),
    ] = None


@app.command(
    "bench",
    help=help_text(
        "Measure how many calls a second the account really accepts, at which concurrency and latency, and compare "
        "that with the value in Service Quotas; for a Custom Labels model also what an inference "
        "unit takes. The result includes settings for the job file and the figures for a "
        "quota request. The job's own next images are examined (a dry run: nothing is written to S3); their labels "
        "are kept, and are free for the job's run. The command shows the price and asks first, except for a sandbox "
        "on this machine. Ctrl-C ends the measurement and shows its result so far (exit 75).",
        "asyncfilter bench job.yaml",
        "asyncfilter bench job.yaml --seconds 60 --budget 5",
        "asyncfilter bench job.yaml --tps 200          try more than 1.5 times the quota",
        "asyncfilter bench job.yaml --within 8         also the quota that would finish the job in 8 hours",
        "asyncfilter bench job.yaml --yes --json",
    ),
)
@takes_options
def bench(
    job: JobPath,
    *,
    settings: Settings = None,
    measured: MeasureOptions,
    options: RunOptions,
) -> None:
    """Measure; the exit code is that of the summary when the measurement was cut short, else 0."""
    with interruptible() as signals:
        loaded = deferred.load_job(job, overrides=settings or ())
        propose = functools.partial(
            deferred.propose_bench,
            loaded,
            seconds_s=measured.seconds,
            budget_micros=None if measured.budget is None else round(measured.budget * _MICROS),
            tps=measured.tps,
            counts=measured.within is not None,
        )
        bench_plan = deferred.run_listing(propose)
        if not bench_plan.is_local and not ask(deferred.question(bench_plan), yes=options.yes):
            raise typer.Exit(ExitCode.ABORTED)
        verb = functools.partial(deferred.measure, loaded, bench_plan)
        found = deferred.run_with_console(bench_job(loaded, bench_plan), verb, signals, options.output())
        within_s = None if measured.within is None else measured.within * _HOUR_S
        if options.as_json:
            write_json(deferred.bench_mapping(loaded, found, within_s))
        else:
            print_out(deferred.draw_bench(loaded, found, within_s))
    if found.summary.stop_reason in _CUT_SHORT:
        raise typer.Exit(found.summary.exit_code)
