"""``asyncfilter run``."""

from __future__ import annotations

import functools
from typing import Annotated

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
from asyncfilter.cli.signals import Signals
from asyncfilter.errors import CheckpointError, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import Summary

INTERRUPTED = 75
DECLINED = 130


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "run",
        help=described(
            "Run a job, or resume it when its checkpoint exists. Ctrl-C ends it gently: calls under way finish and are "
            "kept (exit 75), and the same command goes on. A second Ctrl-C aborts (exit 130).",
            "asyncfilter run job.yaml",
            "asyncfilter run job.yaml --set limits.budget_usd=5 --set stop.matches=100",
            "asyncfilter run job.yaml --dry-run            pay for labels, write nothing to S3",
            "asyncfilter run job.yaml --retry-failed       try failed images again first",
            "asyncfilter run job.yaml --fresh              move the old checkpoint aside, start anew",
            "asyncfilter run job.yaml --json > summary.json",
        ),
    )(run)


def run(
    job: JobPath,
    *,
    settings: Settings = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move the old checkpoint aside (never deleted) and start anew.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Pay for labels and keep them; write nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed images again first.")] = False,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
    log_level: LogLevel = None,
    verbose: Verbose = False,
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Run a job; the exit code is the summary's."""
    if json_ and events == "-":
        raise UsageError("--json and --events - both want stdout", hint="Give --events the name of a file.")
    with Signals() as signals:
        try:
            from asyncfilter.job.load import load_job  # noqa: PLC0415

            loaded = load_job(job, overrides=settings or ())
            if fresh and not _may_start_afresh(loaded, yes=yes):
                raise typer.Exit(DECLINED)
            from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it, so it comes last
            from asyncfilter.cli.conduct import Voice, conduct  # noqa: PLC0415
            from asyncfilter.cli.terminal import is_live, talk  # noqa: PLC0415

            verb = functools.partial(
                wiring.run,
                loaded,
                fresh=fresh,
                dry_run=dry_run,
                retry_failed=retry_failed,
                counts_ahead=is_live(talk()),
            )
            level = Level.DEBUG if verbose else log_level
            summary = conduct(loaded, verb, signals, Voice(level=level, log_format=log_format, events=events))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        tell(summary, loaded, as_json=json_, log_format=log_format, dry_run=dry_run)
    raise typer.Exit(summary.exit_code)


def _may_start_afresh(job: Job, *, yes: bool) -> bool:
    """True when nothing that was paid for is moved aside, or the user says so."""
    if not job.checkpoint.exists():
        return True
    from asyncfilter.checkpoint import read_status  # noqa: PLC0415
    from asyncfilter.cli.terminal import ask  # noqa: PLC0415
    from asyncfilter.report.figures import count, usd  # noqa: PLC0415

    try:
        totals = read_status(job.checkpoint).totals
    except CheckpointError:
        return True
    if not totals.billed_calls:
        return True
    paid = f"{count(totals.billed_calls)} paid answers ({usd(totals.spent_micros)})"
    return ask(f"{job.checkpoint} holds {paid}. Move it aside and pay anew?", yes=yes)


def tell(summary: Summary, job: Job, *, as_json: bool, log_format: LogFormat, dry_run: bool) -> None:
    """The summary, for people on stderr and with ``as_json`` for scripts on stdout."""
    from asyncfilter.cli.terminal import is_ascii, talk, write_json  # noqa: PLC0415
    from asyncfilter.report.mapping import summary_mapping  # noqa: PLC0415
    from asyncfilter.report.summary import draw_summary  # noqa: PLC0415

    if log_format is LogFormat.TEXT:
        console = talk()
        console.print(draw_summary(summary, job, width=console.width, dry_run=dry_run, ascii_only=is_ascii(console)))
    if as_json:
        write_json(summary_mapping(summary))
