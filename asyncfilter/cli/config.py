"""``asyncfilter config check``: a job file alone, without network and credentials."""

from __future__ import annotations

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.errors import JobError
from asyncfilter.report.terminal.config import checked_mapping, draw_checked, problems_mapping

app = command_group()


@app.command(
    "check",
    help=help_text(
        "Check a job file alone: nothing is listed, no service is called, and no credentials are needed. All problems "
        "are reported at once, with exit code 2; settings that are allowed but seldom intended are notes.",
        "asyncfilter config check job.yaml",
        "asyncfilter config check job.yaml --set limits.tps=50",
        "asyncfilter config check job.yaml --json",
    ),
)
@takes_options
def check(job: JobPath, *, settings: Settings = None, options: ResultOptions) -> None:
    """Check a job file."""
    try:
        loaded = deferred.load_job(job, overrides=settings or ())
    except JobError as error:
        if options.as_json:
            write_json(problems_mapping(str(job), error.problems))
        raise
    if options.as_json:
        write_json(checked_mapping(str(job), loaded))
    else:
        print_out(draw_checked(str(job), loaded))
