"""``asyncfilter run``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, LogFormat, RunOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.signals import interruptible
from asyncfilter.cli.stderr import ask
from asyncfilter.cli.terminal import is_ascii, is_live, stderr_console, write_json
from asyncfilter.cli.where import On, placed
from asyncfilter.errors import CheckpointError, ExitCode
from asyncfilter.job.spec import Job
from asyncfilter.model import Summary
from asyncfilter.report.as_json import summary_mapping
from asyncfilter.report.formatting import count, usd
from asyncfilter.report.terminal.summary import draw_summary

app = command_group()


@app.command(
    "run",
    help=help_text(
        "Run a job, or resume it when its checkpoint exists. After Ctrl-C the calls in flight finish and their labels "
        "are kept (exit 75); the same command continues the job. A second Ctrl-C aborts (exit 130).",
        "asyncfilter run job.yaml",
        "asyncfilter run job.yaml --set limits.budget_usd=5 --set stop.matches=100",
        "asyncfilter run job.yaml --dry-run            pay for labels, write nothing to S3",
        "asyncfilter run job.yaml --retry-failed       try failed images again first",
        "asyncfilter run job.yaml --fresh              move the old checkpoint aside, start again",
        "asyncfilter run job.yaml --on ray             examine on the machines of a Ray cluster (docs/scale.md)",
        "asyncfilter run job.yaml --json > summary.json",
    ),
)
@takes_options
def run(
    job: JobPath,
    *,
    settings: Settings = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move the old checkpoint aside (it is not deleted) and start again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Pay for labels and keep them; write nothing to S3.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed images again first.")] = False,
    on: On = None,
    options: RunOptions,
) -> None:
    """Run a job; the exit code is the summary's."""
    with interruptible() as signals:
        loaded = placed(deferred.load_job(job, overrides=settings or ()), on)
        if fresh and not _may_start_afresh(loaded, yes=options.yes):
            raise typer.Exit(ExitCode.ABORTED)
        verb = functools.partial(
            deferred.run,
            loaded,
            fresh=fresh,
            dry_run=dry_run,
            retry_failed=retry_failed,
            counts_ahead=is_live(stderr_console()),
        )
        summary = deferred.run_with_console(loaded, verb, signals, options.output())
        print_summary(summary, loaded, as_json=options.as_json, log_format=options.log_format, dry_run=dry_run)
    raise typer.Exit(summary.exit_code)


def _may_start_afresh(job: Job, *, yes: bool) -> bool:
    """True when the old checkpoint holds no paid labels, or the user agrees to move it aside."""
    head = None if job.state is None else deferred.run_async(lambda: deferred.begun_state(job))
    if job.state is not None and head is not None and head.spent_micros:
        paid = f"{count(head.rows)} images, for which {usd(head.spent_micros)} were paid"
        what = f"The state of {job.name} in s3://{job.state.bucket}/{job.state.prefix} holds {paid}"
        return ask(f"{what}. Keep it under another name and pay again?", yes=yes)
    # The file of this machine may hold what S3 does not have yet.
    if not deferred.checkpoint_exists(job.checkpoint):
        return True
    try:
        totals = deferred.read_status(job.checkpoint).totals
    except CheckpointError:
        return True
    if not totals.billed_calls:
        return True
    paid = f"the results of {count(totals.billed_calls)} paid calls ({usd(totals.spent_micros)})"
    return ask(f"{job.checkpoint} holds {paid}. Move it aside and pay again?", yes=yes)


def print_summary(
    summary: Summary, job: Job, *, as_json: bool, log_format: LogFormat, dry_run: bool, with_steps: bool = True
) -> None:
    """Print the summary on stderr for people, and with ``as_json`` on stdout for scripts."""
    if log_format is LogFormat.TEXT:
        console = stderr_console()
        console.print(
            draw_summary(
                summary,
                job,
                width=console.width,
                dry_run=dry_run,
                ascii_only=is_ascii(console),
                with_steps=with_steps,
            )
        )
    if as_json:
        write_json(summary_mapping(summary))
