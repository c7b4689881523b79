"""``asyncfilter model``: the commands about models of Custom Labels, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

MODEL = Group(
    help=help_text(
        "Train, run and look after models of Amazon Rekognition Custom Labels. Every wait can be cut, and the same "
        "command takes it up again; nothing is paid for twice.",
        "asyncfilter model status birds      datasets and versions of a project; changes nothing",
        "asyncfilter model evaluate birds v2 how good a version is, and where it errs",
    ),
    short_help="Train and run models of Custom Labels.",
    commands={
        "status": Entry("asyncfilter.cli.model.status", "Show datasets and versions of a project; changes nothing."),
        "evaluate": Entry("asyncfilter.cli.model.evaluate", "Show how good a version is, and where it errs."),
    },
)
"""The group, with its commands in the order of the help."""
