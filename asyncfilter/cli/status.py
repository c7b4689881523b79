"""``asyncfilter status``."""

from __future__ import annotations

import typer

from asyncfilter.cli.options import JobPath, Json, Settings, Yes, described


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "status",
        help=described(
            "Show what the checkpoint of a job holds. Nothing is called, nothing is changed, and a run that is going "
            "on is not disturbed.",
            "asyncfilter status job.yaml",
            "asyncfilter status job.yaml --json",
        ),
    )(status)


def status(job: JobPath, *, settings: Settings = None, json_: Json = False, yes: Yes = False) -> None:
    """Show what a checkpoint holds."""
    del yes  # nothing is asked
    from asyncfilter.checkpoint import count_pending, read_status  # noqa: PLC0415
    from asyncfilter.cli.terminal import show, write_json  # noqa: PLC0415
    from asyncfilter.job.load import load_job  # noqa: PLC0415
    from asyncfilter.policy.removal import condemnation  # noqa: PLC0415
    from asyncfilter.report.status import draw_status, status_mapping  # noqa: PLC0415

    loaded = load_job(job, overrides=settings or ())
    found = read_status(loaded.checkpoint)
    pending = count_pending(loaded.checkpoint, condemnation(loaded))
    if json_:
        write_json(status_mapping(found, loaded.checkpoint, loaded, pending))
    else:
        show(draw_status(found, loaded.checkpoint, loaded, pending))
