"""``asyncfilter refilter``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, RunOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.signals import interruptible
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.report.terminal.refilter import draw_refilter, refilter_mapping
from asyncfilter.report.terminal.status import status_counts

app = command_group()


@app.command(
    "refilter",
    help=help_text(
        "Apply changed rules or actions to the stored labels, and make the copies that they require. The detector is "
        "never called: this costs nothing. Copies that the new rules would not make are counted and stay.",
        "asyncfilter refilter job.yaml --dry-run      show what would change",
        "asyncfilter refilter job.yaml",
        "asyncfilter refilter job.yaml --set rules[0].keep.confidence=70",
    ),
)
@takes_options
def refilter(
    job: JobPath,
    *,
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    options: RunOptions,
) -> None:
    """Apply changed rules; the exit code is the summary's.

    There is no question: a copy can be made again, and nothing is removed.
    """
    with interruptible() as signals:
        loaded = deferred.load_job(job, overrides=settings or ())
        # Of a checkpoint in S3, what is committed: the file of this machine may be an old one, or not be there.
        committed = load_for_reading(job, settings or ())
        before = status_counts(deferred.read_status(committed.checkpoint))
        verb = functools.partial(deferred.refilter, loaded, dry_run=dry_run)
        summary = deferred.run_with_console(loaded, verb, signals, options.output(pays=False))
        if options.as_json:
            write_json(refilter_mapping(before, summary))
        else:
            print_out(draw_refilter(before, summary, dry_run=dry_run))
    raise typer.Exit(summary.exit_code)
