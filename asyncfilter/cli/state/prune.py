"""``asyncfilter state prune``."""

from __future__ import annotations

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.state.options import WhereArgument
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.report.formatting import count, size

app = command_group()


@app.command(
    "prune",
    help=help_text(
        "Delete the objects of a state that no head names: replaced segments and snapshots, and what a killed process "
        "left. Asks. While somebody owns the state, objects of the last hour stay, and what may still be named for a "
        "day. Objects that asyncfilter did not make are never touched.",
        "asyncfilter state prune job.yaml",
        "asyncfilter state prune s3://my-state/jobs/robins.state --yes",
    ),
)
@takes_options
def prune(where: WhereArgument, *, profile: Profile = None, options: ResultOptions) -> None:
    """Delete what a state does not need."""
    found = deferred.find_state(where, profile=profile)
    plan = deferred.run_async(lambda: deferred.plan_pruning(found))
    pruned = deferred.Pruned()
    if plan.objects:
        what = f"{plan.place.uri}: {count(len(plan.objects))} objects that no head names ({size(plan.bytes)})."
        agree(f"{what} This cannot be undone. Delete?", yes=options.yes)
        pruned = deferred.run_async(lambda: deferred.prune_state(found, plan))
    if options.as_json:
        write_json(deferred.prune_mapping(plan, pruned))
    else:
        write_lines(deferred.prune_lines(plan, pruned))
