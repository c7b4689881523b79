"""Trains a model."""

from __future__ import annotations

from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.requests import OutputConfig, S3Object
from asyncfilter.sandbox.custom_labels.versions import Outcome


class Training:
    """What a version is trained with.

    Attributes:
        arn: Of the version.
        entries: The lines of the training dataset, for a project that has one.
        test_entries: Those of the test dataset; None splits the training dataset.
        manifests: The training manifests, for a project without datasets.
        test_manifests: The test manifests; empty splits the training manifests.
    """

    def __init__(self, project: str, version: str, output: OutputConfig) -> None:
        self.project, self.version, self.output = project, version, output
        self.arn = ""
        self.entries: list[bytes] = []
        self.test_entries: list[bytes] | None = None
        self.manifests: list[S3Object] = []
        self.test_manifests: list[S3Object] = []


def train(account: Account, training: Training) -> Outcome:
    """Train; runs in a thread."""
    del account, training
    return Outcome()
