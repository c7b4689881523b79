"""``asyncfilter plan``."""

from __future__ import annotations

import functools
import sys
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
from asyncfilter.cli.run import INTERRUPTED
from asyncfilter.cli.signals import Signals
from asyncfilter.errors import UsageError
from asyncfilter.model import StopReason

if TYPE_CHECKING:
    from asyncfilter.cli.conduct import Voice
    from asyncfilter.job.spec import Job
    from asyncfilter.model import Summary
    from asyncfilter.policy.estimate import Prospect

_CUT_SHORT = frozenset({StopReason.INTERRUPTED, StopReason.FAILED, StopReason.ERRORS})


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "plan",
        help=described(
            "Show what a job would come to before it runs: what is listed and what is skipped and why, cost and hours "
            "at the quota, and what budget and limits make of it. Free, and nothing is written. With --sample that "
            "many images, drawn at random from the whole listing, are examined (paid, kept, free for the run): hit "
            "rate, failures, total and cost of each kept image, with 95 % intervals.",
            "asyncfilter plan job.yaml",
            "asyncfilter plan job.yaml --sample 200          says the price and asks first",
            "asyncfilter plan job.yaml --sample 200 --yes --json",
        ),
    )(plan)


def plan(
    job: JobPath,
    *,
    settings: Settings = None,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", min=0, help="Examine N images drawn at random (paid).")
    ] = 0,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
    log_level: LogLevel = None,
    verbose: Verbose = False,
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Show what a job would come to; the exit code is that of a sample that was cut short, else 0."""
    if json_ and events == "-":
        raise UsageError("--json and --events - both want stdout", hint="Give --events the name of a file.")
    if sample and not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "--sample pays for images, and there is no terminal to ask on",
            hint="Add --yes to pay for the sample without a question.",
        )
    with Signals() as signals:
        try:
            from asyncfilter.cli.conduct import Voice  # noqa: PLC0415  brings rich with it
            from asyncfilter.cli.terminal import show, write_json  # noqa: PLC0415
            from asyncfilter.job.load import load_job  # noqa: PLC0415
            from asyncfilter.policy.estimate import outlook  # noqa: PLC0415
            from asyncfilter.report.plan import draw_plan, plan_mapping  # noqa: PLC0415

            loaded = load_job(job, overrides=settings or ())
            prospect = _survey(loaded, sample)
            voice = Voice(level=Level.DEBUG if verbose else log_level, log_format=log_format, events=events)
            summary = _sample(loaded, prospect, signals, voice, yes=yes)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        found = outlook(loaded, prospect, summary)
        if json_:
            write_json(plan_mapping(loaded, found))
        else:
            show(draw_plan(loaded, found))
    if summary is not None and summary.stop_reason in _CUT_SHORT:
        raise typer.Exit(summary.exit_code)


def _survey(job: Job, sample: int) -> Prospect:
    """List, and tell how far that has come where somebody watches."""
    import anyio  # noqa: PLC0415

    from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it
    from asyncfilter.cli.terminal import is_live, talk  # noqa: PLC0415
    from asyncfilter.report.figures import count  # noqa: PLC0415

    console = talk()
    if not is_live(console):
        return anyio.run(functools.partial(wiring.survey, job, sample=sample))
    with console.status("checking access") as status:

        def tell(listed: int) -> None:
            status.update(f"listing: {count(listed)} objects")

        return anyio.run(functools.partial(wiring.survey, job, sample=sample, on_listed=tell))


def _sample(job: Job, prospect: Prospect, signals: Signals, voice: Voice, *, yes: bool) -> Summary | None:
    """Examine what was drawn, if the user agrees to the price; what costs nothing is not asked for."""
    from asyncfilter import wiring  # noqa: PLC0415
    from asyncfilter.cli.conduct import conduct  # noqa: PLC0415
    from asyncfilter.cli.terminal import ask  # noqa: PLC0415
    from asyncfilter.report.figures import count, usd  # noqa: PLC0415

    survey = prospect.survey
    if not survey.drawn:
        return None
    if survey.drawn_unpaid:
        price = f"{count(survey.drawn_unpaid)} calls, {usd(prospect.sample_micros)}"
        if not ask(f"The sample costs {price}. Pay for it?", yes=yes):
            return None
    return conduct(job, functools.partial(wiring.examine_sample, job, survey.drawn), signals, voice)
