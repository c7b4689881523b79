"""``asyncfilter refilter``."""

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
from asyncfilter.cli.run import INTERRUPTED
from asyncfilter.cli.signals import Signals
from asyncfilter.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "refilter",
        help=described(
            "Apply changed rules or actions to the stored labels, and copy what is kept now. The detector is never "
            "called: it costs nothing. Copies that the new rules would not make are counted and stay.",
            "asyncfilter refilter job.yaml --dry-run      what would change",
            "asyncfilter refilter job.yaml",
            "asyncfilter refilter job.yaml --set rules[0].keep.confidence=70",
        ),
    )(refilter)


def refilter(
    job: JobPath,
    *,
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
    log_level: LogLevel = None,
    verbose: Verbose = False,
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Apply changed rules; the exit code is the summary's."""
    del yes  # nothing is asked: what is copied can be copied again, and nothing is removed
    if json_ and events == "-":
        raise UsageError("--json and --events - both want stdout", hint="Give --events the name of a file.")
    with Signals() as signals:
        try:
            from asyncfilter.checkpoint import read_status  # noqa: PLC0415
            from asyncfilter.cli.terminal import show, write_json  # noqa: PLC0415
            from asyncfilter.job.load import load_job  # noqa: PLC0415
            from asyncfilter.report.refilter import draw_refilter, refilter_mapping  # noqa: PLC0415
            from asyncfilter.report.status import status_counts  # noqa: PLC0415

            loaded = load_job(job, overrides=settings or ())
            before = status_counts(read_status(loaded.checkpoint))
            from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it, so it comes last
            from asyncfilter.cli.conduct import Voice, conduct  # noqa: PLC0415

            verb = functools.partial(wiring.refilter, loaded, dry_run=dry_run)
            level = Level.DEBUG if verbose else log_level
            voice = Voice(level=level, log_format=log_format, events=events, pays=False)
            summary = conduct(loaded, verb, signals, voice)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        if json_:
            write_json(refilter_mapping(before, summary))
        else:
            show(draw_refilter(before, summary, dry_run=dry_run))
    raise typer.Exit(summary.exit_code)
