"""``asyncfilter bench``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli.options import (
    Events,
    Format,
    JobPath,
    Json,
    Level,
    LogFormat,
    LogLevel,
    Settings,
    Verbose,
    Yes,
    described,
)
from asyncfilter.cli.run import DECLINED, INTERRUPTED
from asyncfilter.cli.signals import Signals
from asyncfilter.errors import UsageError
from asyncfilter.model import StopReason

if TYPE_CHECKING:
    from asyncfilter.job.spec import Job
    from asyncfilter.policy.capacity import Trial

_HOUR_S = 3600.0
_LONGEST_S = 3600.0
_MICROS = 1_000_000
_CUT_SHORT = frozenset({StopReason.INTERRUPTED, StopReason.FAILED, StopReason.ERRORS})


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "bench",
        help=described(
            "Measure how many calls a second the account really accepts, at which concurrency and latency, next to "
            "what Service Quotas says; end with settings for the job file and the figures of a quota request. No "
            "money is wasted on it: the job's own next images are examined (a dry run: nothing is written to S3), "
            "and its run has their labels for nothing. Says the price and asks first, but for a sandbox on this "
            "machine. Ctrl-C ends it and shows what was measured (exit 75).",
            "asyncfilter bench job.yaml",
            "asyncfilter bench job.yaml --seconds 60 --budget 5",
            "asyncfilter bench job.yaml --tps 200          try more than 1.5 times the quota",
            "asyncfilter bench job.yaml --within 8         and the quota that would finish the job in 8 hours",
            "asyncfilter bench job.yaml --yes --json",
        ),
    )(bench)


def bench(
    job: JobPath,
    *,
    settings: Settings = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", min=1, max=_LONGEST_S, help="How long, from the first call on.")
    ] = 30.0,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="USD",
            min=0,
            help="Spend no more on it. Default: what that long costs at --tps; the job's budget holds too.",
            show_default=False,
        ),
    ] = None,
    tps: Annotated[
        float | None,
        typer.Option(
            "--tps",
            metavar="RATE",
            min=0.1,
            max=100_000,
            help="Calls a second to try at the most. Default: 1.5 times what Service Quotas says.",
            show_default=False,
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="HOURS",
            min=0.01,
            help="Count the whole listing (free), and tell the rate that finishes it so fast.",
            show_default=False,
        ),
    ] = None,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
    log_level: LogLevel = None,
    verbose: Verbose = False,
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Measure; the exit code is that of a measurement that was cut short, else 0."""
    if json_ and events == "-":
        raise UsageError("--json and --events - both want stdout", hint="Give --events the name of a file.")
    with Signals() as signals:
        try:
            from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it
            from asyncfilter.cli.conduct import Voice, conduct  # noqa: PLC0415
            from asyncfilter.cli.terminal import ask, show, write_json  # noqa: PLC0415
            from asyncfilter.engine.sampling import trial_job  # noqa: PLC0415
            from asyncfilter.job.load import load_job  # noqa: PLC0415
            from asyncfilter.report.bench import bench_mapping, draw_bench, question  # noqa: PLC0415

            loaded = load_job(job, overrides=settings or ())
            micros = None if budget is None else round(budget * _MICROS)
            trial = _propose(loaded, seconds, micros, tps, counts=within is not None)
            if not trial.is_local and not ask(question(trial), yes=yes):
                raise typer.Exit(DECLINED)
            voice = Voice(level=Level.DEBUG if verbose else log_level, log_format=log_format, events=events)
            verb = functools.partial(wiring.measure, loaded, trial)
            found = conduct(trial_job(loaded, trial), verb, signals, voice)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        within_s = None if within is None else within * _HOUR_S
        if json_:
            write_json(bench_mapping(loaded, found, within_s))
        else:
            show(draw_bench(loaded, found, within_s))
    if found.summary.stop_reason in _CUT_SHORT:
        raise typer.Exit(found.summary.exit_code)


def _propose(job: Job, seconds: float, budget_micros: int | None, tps: float | None, *, counts: bool) -> Trial:
    """Ask what is told of the quota; tell how far the listing has come where it is counted and somebody watches."""
    import anyio  # noqa: PLC0415

    from asyncfilter import wiring  # noqa: PLC0415
    from asyncfilter.cli.terminal import is_live, talk  # noqa: PLC0415
    from asyncfilter.report.figures import count  # noqa: PLC0415

    propose = functools.partial(
        wiring.propose_bench, job, seconds_s=seconds, budget_micros=budget_micros, tps=tps, counts=counts
    )
    console = talk()
    if not is_live(console):
        return anyio.run(propose)
    with console.status("checking access") as status:

        def tell(listed: int) -> None:
            status.update(f"listing: {count(listed)} objects")

        return anyio.run(functools.partial(propose, on_listed=tell))
