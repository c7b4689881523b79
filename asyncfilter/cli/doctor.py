"""``asyncfilter doctor``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.terminal import is_ascii, is_live, print_out, stderr_console, write_json
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws, Job
from asyncfilter.policy.findings import Finding, Health, exit_code_of
from asyncfilter.report.terminal.doctor import doctor_mapping, draw_doctor

app = command_group()


@app.command(
    "doctor",
    help=help_text(
        "Look at all that a run depends on, with remedies: credentials, region, endpoints, clock, certificates, "
        "proxies, quota, the place of the checkpoint, versions, and whether the organisation lets AWS keep images. "
        "With a job also its buckets, detector and permissions. Nothing is changed or paid for, no secret is shown. "
        "Exit 0: all well, 4: trouble with access, 3: with the place of the checkpoint.",
        "asyncfilter doctor",
        "asyncfilter doctor job.yaml",
        "asyncfilter doctor --profile research --region eu-west-1 --json",
    ),
)
@takes_options
def doctor(
    job: Annotated[Path | None, typer.Argument(metavar="[JOB]", help="A job file (YAML).", show_default=False)] = None,
    *,
    settings: Settings = None,
    profile: Profile = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Default: that of the AWS settings.", show_default=False)
    ] = None,
    options: ResultOptions,
) -> None:
    """Look at everything; the exit code is that of a run that meets the same trouble."""
    if job is None and settings:
        raise UsageError("--set changes a job, and none is given", hint="Name the job file.")
    if job is not None and (profile or region):
        raise UsageError(
            "--profile and --region are those of the job", hint="Use --set aws.profile=NAME or --set aws.region=NAME."
        )
    loaded: Job | None = None if job is None else deferred.load_job(job, overrides=settings or ())
    found = deferred.run_async(deferred.diagnose, loaded, None if loaded else Aws(profile=profile, region=region))
    findings = [found[0], _terminal(), *found[1:]]
    if options.as_json:
        write_json(doctor_mapping(findings))
    else:
        print_out(draw_doctor(findings))
    if code := exit_code_of(findings):
        raise typer.Exit(code)


def _terminal() -> Finding:
    """What is shown where: stderr has the progress, which needs a terminal."""
    console = stderr_console()
    size = shutil.get_terminal_size()
    is_terminal, ascii_only = is_live(console), is_ascii(console)
    facts = {
        "stdout_is_terminal": sys.stdout.isatty(),
        "stderr_is_terminal": is_terminal,
        "columns": size.columns,
        "lines": size.lines,
        "encoding": console.encoding,
        "colours": console.color_system,
        "no_color": bool(os.environ.get("NO_COLOR")),
    }
    if not is_terminal:
        text = "none on stderr: a run logs lines in place of live progress, and asks no questions (--yes)"
        return Finding(name="terminal", health=Health.OK, text=text, facts=facts)
    colours = console.color_system or "no"
    text = f"{size.columns} x {size.lines}, {console.encoding}, {colours} colours"
    if ascii_only:
        hint = "Set LC_ALL=C.UTF-8 to see keys and bars as they are."
        return Finding(name="terminal", health=Health.NOTE, text=text, hint=hint, facts=facts)
    return Finding(name="terminal", health=Health.OK, text=text, facts=facts)
