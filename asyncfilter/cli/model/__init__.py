"""``asyncfilter model``: the commands about models of Custom Labels, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

MODEL = Group(
    help=help_text(
        "Train, run and look after models of Amazon Rekognition Custom Labels. Every wait can be cut, and the same "
        "command takes it up again; nothing is paid for twice.",
        "asyncfilter model create birds",
        "asyncfilter model import birds --train train.manifest --test test.manifest",
        "asyncfilter model train birds --output s3://my-bucket/training/",
        "asyncfilter model start birds birds.2026-11-27T10.00.00 --for 2h",
        "asyncfilter model stop --expired    for cron or a systemd timer",
        "asyncfilter model status birds      datasets and versions of a project; changes nothing",
        "asyncfilter model evaluate birds v2 how good a version is, and where it errs",
        "asyncfilter model improve birds --corrections c.manifest --output s3://my-bucket/training/",
    ),
    short_help="Train and run models of Custom Labels.",
    commands={
        "create": Entry("asyncfilter.cli.model.create", "Make a project, unless it is there."),
        "permissions": Entry("asyncfilter.cli.model.permissions", "Print the IAM policy that the caller needs."),
        "import": Entry("asyncfilter.cli.model.imports", "Check manifests, and make datasets of them."),
        "train": Entry("asyncfilter.cli.model.train", "Train a version, or wait for the training that goes on."),
        "start": Entry("asyncfilter.cli.model.start", "Start a model under a lease, which ends at its time."),
        "stop": Entry("asyncfilter.cli.model.stop", "Stop a model, or all whose lease is over."),
        "status": Entry("asyncfilter.cli.model.status", "Show datasets and versions of a project; changes nothing."),
        "evaluate": Entry("asyncfilter.cli.model.evaluate", "Show how good a version is, and where it errs."),
        "improve": Entry(
            "asyncfilter.cli.model.improve", "Train with corrections, and compare with the newest version."
        ),
        "list": Entry("asyncfilter.cli.model.listing", "Show projects, versions, leases, and what runs."),
        "delete": Entry("asyncfilter.cli.model.delete", "Delete versions, datasets or a whole project."),
    },
)
"""The group, with its commands in the order of the help."""
