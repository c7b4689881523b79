"""``asyncfilter state``: the commands about states in S3, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

STATE = Group(
    help=help_text(
        "Look after states in S3: checkpoints that outlive their machines. A state is named by the job file, or by its "
        "address s3://BUCKET/PREFIX/NAME.state (people's answers: NAME.answers).",
        "asyncfilter state show job.yaml",
        "asyncfilter state show s3://my-state/jobs/robins.state --deep",
        "asyncfilter state pull job.yaml -o robins.db",
        "asyncfilter state push robins.db job.yaml",
        "asyncfilter state prune job.yaml",
    ),
    short_help="Look after checkpoints that are kept in S3.",
    commands={
        "show": Entry("asyncfilter.cli.state.show", "Show what a state holds, who owns it, and whether it is whole."),
        "pull": Entry("asyncfilter.cli.state.pull", "Make a checkpoint file of what is committed."),
        "push": Entry("asyncfilter.cli.state.push", "Begin a state from a checkpoint file."),
        "prune": Entry("asyncfilter.cli.state.prune", "Delete the objects that a state does not need any more."),
    },
)
"""The group, with its commands in the order of the help."""
