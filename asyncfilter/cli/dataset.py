"""``asyncfilter dataset``: the commands about datasets, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

DATASET = Group(
    help=help_text(
        "Look at datasets for Amazon Rekognition Custom Labels as a whole.",
        "asyncfilter dataset check train.manifest test.manifest    is it within the limits, and what is advised",
    ),
    short_help="Look at datasets for Custom Labels as a whole.",
    commands={
        "check": Entry("asyncfilter.cli.dataset_check", "Check manifests against the limits of the service."),
    },
)
"""The group, with its commands in the order of the help."""
