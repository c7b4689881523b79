"""``asyncfilter model start``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import (
    ModelOptions,
    ProjectArgument,
    VersionArgument,
    WaitOptions,
    parse_duration,
    run_verb,
)
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.errors import UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.policy.pricing import model_micros
from asyncfilter.report.formatting import duration, usd
from asyncfilter.report.terminal.leases import price_text, started_lines, started_mapping

if TYPE_CHECKING:
    from asyncfilter.wiring.leases import PlannedStart

app = command_group()


@app.command(
    "start",
    help=help_text(
        "Start a model under a lease, and wait until it runs. When the lease ends the model is stopped, also when this "
        "command, its terminal or the machine has ended before: by a watcher that goes on in the background, by the "
        "next model command, or by `model stop --expired`. Says the price, and asks. For a model that runs by a lease "
        "already, the command moves the end of the lease later.",
        "asyncfilter model start birds birds.2026-11-27T10.00.00 --for 2h",
        "asyncfilter model start birds birds.2026-11-27T10.00.00 --for 45m --units 2 --yes",
    ),
)
@takes_options
def start(
    project: ProjectArgument,
    version: VersionArgument,
    *,
    for_: Annotated[
        str,
        typer.Option(
            "--for", metavar="DURATION", help="How long the lease lasts: 90s, 45m, 2h, 1d, 1h30m.", show_default=False
        ),
    ],
    units: Annotated[
        int | None,
        typer.Option(
            "--units",
            metavar="N",
            min=1,
            help="Inference units, each paid for by the hour. Default: 1, or those with which the model runs.",
            show_default=False,
        ),
    ] = None,
    max_units: Annotated[
        int | None,
        typer.Option(
            "--max-units", metavar="N", min=1, help="Units up to which the service may scale.", show_default=False
        ),
    ] = None,
    no_watcher: Annotated[
        bool, typer.Option("--no-watcher", help="Start no process that waits for the end of the lease.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take over a model that runs without a lease: it is stopped when this one ends."),
    ] = False,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Start a model under a lease."""
    named = ProjectName.parse(project)
    wanted = VersionName.parse(version, project=named)
    wish = verbs.StartOptions(
        for_s=parse_duration(for_),
        units=units,
        max_units=_scaling(units, max_units),
        adopts=adopt,
        watches=not no_watcher,
    )
    aws, patience = options.aws(named), waits.patience()
    bare: dict[str, Any] = dict.fromkeys(("arn", "status", "units", "usd_per_hour", "max_usd", "lease"))
    plan = partial(verbs.plan_start, named, wanted, wish, patience, aws=aws)
    planned = run_verb(plan, bare, options, waits=waits)
    _ask(planned, options)
    verb = partial(verbs.start_model, planned, wish, patience, aws=aws)
    begun = "the start (its lease stops the model in time)"
    started = run_verb(verb, bare, options, waits=waits, reaps=False, what=begun)
    if options.as_json:
        write_json(started_mapping(started.version.status, started.lease))
    else:
        write_lines(started_lines(started.version.status, started.lease))


def _scaling(units: int | None, max_units: int | None) -> int | None:
    """``--max-units``; None where it allows no scaling."""
    least = units or 1
    if max_units is not None and max_units < least:
        raise UsageError(f"--max-units {max_units} is less than --units {least}", hint="Leave --max-units out.")
    return None if max_units == least else max_units


def _ask(planned: PlannedStart, options: ModelOptions) -> None:
    """Say what the model costs, and ask."""
    wish, lease = planned.wish, planned.extends
    units, most = wish.units or 1, max(wish.units or 1, wish.max_units or 0)
    print_err(f"{wish.arn}: {price_text(units, wish.max_units)}")
    if planned.found_model.is_foreign:
        question = "It runs already, without a lease. Take it over, to be stopped"
    elif lease is not None:
        question = "It has a lease already. Move its end, if that is later than before,"
    else:
        question = "Start it, to be stopped"
    print_err(f"in {duration(wish.for_s)} it costs at most {usd(model_micros(most, wish.for_s))}")
    agree(f"{question} {duration(wish.for_s)} from now?", yes=options.yes)
