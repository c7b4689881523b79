"""``asyncfilter model stop``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, WaitOptions, run_verb, wait_verb
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.report.terminal.leases import failure_text, reaped_lines, reaped_mapping

if TYPE_CHECKING:
    from asyncfilter.custom_labels.lease import Lease
    from asyncfilter.custom_labels.reaper import Reaped, StopFailure
    from asyncfilter.wiring.leases import PlannedStop

app = command_group()


@app.command(
    "stop",
    help=help_text(
        "Stop a model by its name, and wait until it is stopped; or, with --expired, every model whose lease has "
        "expired or whose owner has died, and no other. A model that runs without a lease of yours, or for a run that "
        "goes on, is stopped only after a question.",
        "asyncfilter model stop birds birds.2026-11-27T10.00.00",
        "asyncfilter model stop --expired       for cron or a systemd timer",
    ),
)
@takes_options
def stop(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="Name or ARN of the project.", show_default=False)
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Name or ARN of the version.", show_default=False)
    ] = None,
    *,
    expired: Annotated[
        bool, typer.Option("--expired", help="Stop what has expired or lost its owner, in all regions and projects.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(
            "--forget",
            metavar="LEASE",
            help="Take a lease off the ledger without the word of its service, such as a sandbox that is gone. Nothing "
            "stops its model any more.",
            show_default=False,
        ),
    ] = None,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Stop one model, or all whose lease is over."""
    if forget is not None:
        if expired or project is not None:
            raise UsageError("--forget is for one lease", hint="Leave PROJECT, VERSION and --expired out, or --forget.")
        _forget(forget, options)
        return
    if expired:
        if project is not None:
            raise UsageError("--expired is for all models", hint="Leave PROJECT and VERSION out, or --expired.")
        reaped = wait_verb(partial(verbs.stop_expired, waits.patience()), "a stop", waits=waits)
    elif project is None or version is None:
        raise UsageError("expected PROJECT and VERSION, or --expired", hint="See asyncfilter model stop --help.")
    else:
        reaped = _stop_by_name(project, version, waits, options)
    _show(reaped, options)


def _forget(identifier: str, options: ModelOptions) -> None:
    def agrees(lease: Lease) -> None:
        place = lease.endpoint or "AWS"
        agree(f"{lease.arn} at {place} may go on running, and nothing will stop it. Forget its lease?", yes=options.yes)

    lease = verbs.forget_lease(identifier, agrees=agrees)
    if lease is None:
        raise UsageError(f"there is no open lease {identifier}", hint="See asyncfilter model stop --expired --json.")
    if options.as_json:
        write_json({"forgotten": {"arn": lease.arn, "lease": lease.id}})
    else:
        write_lines([f"forgot the lease on {lease.arn}"])


def _stop_by_name(project: str, version: str, waits: WaitOptions, options: ModelOptions) -> Reaped:
    named = ProjectName.parse(project)
    wanted = VersionName.parse(version, project=named)
    bare: dict[str, object] = {"stopped": [], "kept": [], "failed": []}
    plan = partial(verbs.plan_stop, named, wanted, aws=options.aws(named))
    planned = run_verb(plan, bare, options, waits=waits)
    _ask(planned, options)
    verb = partial(verbs.stop_model, planned, waits.patience())
    return run_verb(verb, bare, options, waits=waits, reaps=False)


def _ask(planned: PlannedStop, options: ModelOptions) -> None:
    arn = planned.version.arn
    if planned.is_foreign:
        agree(f"{arn} runs without a lease of yours: somebody else may be using it. Stop it?", yes=options.yes)
    elif (lease := planned.in_use) is not None:
        agree(f"{arn} is used by the run of process {lease.holder.pid}, which goes on. Stop it?", yes=options.yes)
    elif not planned.leases:
        print_err(f"{arn} does not run: it is {planned.version.status}")


def _show(reaped: Reaped, options: ModelOptions) -> None:
    """The result, and the exit code of what could not be stopped."""
    if options.as_json:
        write_json(reaped_mapping(reaped))
    else:
        write_lines(reaped_lines(reaped))
    exit_for(reaped.failed)


def exit_for(failed: Sequence[StopFailure]) -> None:
    """Say what could not be stopped.

    Raises:
        typer.Exit: There is something.
    """
    for failure in failed:
        print_err(failure_text(failure))
    if failed:
        is_access = any(failure.error.exit_code == ExitCode.ACCESS for failure in failed)
        raise typer.Exit(ExitCode.ACCESS if is_access else ExitCode.SOME_FAILED)
