"""What a version is trained with, and where its files go."""

from __future__ import annotations

from typing import Any

from asyncfilter.sandbox.custom_labels.requests import OutputConfig, S3Object


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

    def key(self, folder: str, name: str) -> str:
        """The key of one of its files."""
        prefix = self.output.s3_key_prefix
        head = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
        return f"{head}{self.project}/{self.version}/{folder}/{name}"

    def place(self, folder: str, name: str) -> dict[str, Any]:
        """The address of one of its files."""
        return {"S3Object": {"Bucket": self.output.s3_bucket, "Name": self.key(folder, name)}}
