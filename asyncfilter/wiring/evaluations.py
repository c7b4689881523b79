"""The files that the training of a version wrote about its evaluation, fetched from S3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from asyncfilter.custom_labels.evaluation.summary import MAX_SUMMARY_BYTES
from asyncfilter.custom_labels.finding import the_project, the_version
from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.errors import ResourceNotReadyError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import ModelVersion, ObjectFiles
from asyncfilter.wiring.models import open_models

NO_EVALUATION = "NO_EVALUATION"
"""Code of a version without an evaluation, or whose files are gone."""


class FetchedEvaluation(NamedTuple):
    """A version, and the addresses of its files."""

    project: str
    version: str
    summary_uri: str
    snapshot_uri: str


async def fetch_evaluation(
    project: ProjectName, version: VersionName, *, summary: BinaryIO, snapshot: BinaryIO, aws: Aws
) -> FetchedEvaluation:
    """Write the evaluation summary and the test snapshot of a version.

    Args:
        project: The project.
        version: The version.
        summary: Where the summary goes.
        snapshot: Where the snapshot goes.
        aws: The AWS settings.

    Raises:
        ResourceMissingError: There is no such project, or no such version.
        ResourceNotReadyError: It has no evaluation.
        AccessError: The service or S3 cannot be reached, or denies access.
    """
    async with open_models(aws) as models:
        found = await the_version(models.service, await the_project(models.service, project), version)
        summary_uri, snapshot_uri = await fetch_files(models.files, found, summary=summary, snapshot=snapshot)
        return FetchedEvaluation(project.name, found.name, summary_uri, snapshot_uri)


async def fetch_files(
    files: ObjectFiles, version: ModelVersion, *, summary: BinaryIO, snapshot: BinaryIO
) -> tuple[str, str]:
    """Write the evaluation summary and the test snapshot of a version that was looked at; returns their addresses.

    Raises:
        ResourceNotReadyError: It has no evaluation.
        AccessError: S3 cannot be reached, or denies access.
    """
    if version.summary is None or not version.testing.output:
        raise _without(version)
    await _fetch(files, [version.summary], summary, MAX_SUMMARY_BYTES, version)
    await _fetch(files, version.testing.output, snapshot, MAX_MANIFEST_BYTES, version)
    return version.summary.uri, version.testing.output[0].uri


async def fetch_summary(project: ProjectName, version: VersionName, out: BinaryIO, *, aws: Aws) -> str:
    """Write the evaluation summary of a version, and return its address. Arguments and errors: ``fetch_evaluation``."""
    async with open_models(aws) as models:
        found = await the_version(models.service, await the_project(models.service, project), version)
        if found.summary is None:
            raise _without(found)
        await _fetch(models.files, [found.summary], out, MAX_SUMMARY_BYTES, found)
        return found.summary.uri


async def _fetch(
    files: ObjectFiles, places: Sequence[S3Location], out: BinaryIO, most_bytes: int, version: ModelVersion
) -> None:
    for place in places:
        size_bytes = await files.size_bytes(place)
        if size_bytes is None:
            raise _none(version, f"{place.uri} is not there", hint="Restore the object, or train again.")
        if size_bytes > most_bytes:
            raise _none(
                version, f"{place.uri} has {size_bytes:,} bytes, {most_bytes:,} are read", hint="Look at that object."
            )
        await files.read(place, out)
        if place is not places[-1]:
            out.write(b"\n")


def _without(version: ModelVersion) -> ResourceNotReadyError:
    hint = "Wait for TRAINING_COMPLETED: asyncfilter model status."
    return _none(version, f"its state is {version.status}", hint=hint)


def _none(version: ModelVersion, why: str, *, hint: str) -> ResourceNotReadyError:
    return ResourceNotReadyError(f"{version.name} has no evaluation: {why}", code=NO_EVALUATION, hint=hint)
