"""Calls about the versions of a model."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from asyncfilter.sandbox.custom_labels import requests
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.limits import MAX_RUNNING, MAX_UNITS, MAX_VERSIONS, max_trainings
from asyncfilter.sandbox.custom_labels.pages import page
from asyncfilter.sandbox.custom_labels.project_calls import next_page
from asyncfilter.sandbox.custom_labels.projects import Project
from asyncfilter.sandbox.custom_labels.requests import DatasetKind
from asyncfilter.sandbox.custom_labels.training import train
from asyncfilter.sandbox.custom_labels.training_input import Training
from asyncfilter.sandbox.custom_labels.versions import PAID, STARTABLE, Version
from asyncfilter.sandbox.message import ServiceError


def create_version(account: Account, wanted: requests.CreateProjectVersion) -> dict[str, Any]:
    """CreateProjectVersion."""
    project = account.project(wanted.project_arn)
    _check_new(project, wanted.version_name)
    training = _training(project, wanted)
    most = max_trainings(account.region)
    if len(account.versions_in("TRAINING_IN_PROGRESS")) >= most:
        raise ServiceError("LimitExceededException", f"An account can have {most} trainings in progress")
    version = _new_version(account, project, wanted.version_name, wanted.output_config, wanted.tags)
    version.described |= _inputs(wanted)
    training.arn = version.arn
    version.train(account.in_thread(partial(train, account, training)), account.write)
    return {"ProjectVersionArn": version.arn}


def describe_versions(account: Account, wanted: requests.DescribeProjectVersions) -> dict[str, Any]:
    """DescribeProjectVersions."""
    names = wanted.version_names
    versions = account.project(wanted.project_arn).versions
    found, token = page(
        versions, wanted.next_token, wanted.max_results, lambda version: names is None or version.name in names
    )
    return {"ProjectVersionDescriptions": [version.description() for version in found], **next_page(token)}


def start_version(account: Account, wanted: requests.StartProjectVersion) -> dict[str, Any]:
    """StartProjectVersion."""
    version = account.version(wanted.project_version_arn)
    units, most_units = wanted.min_inference_units, wanted.max_inference_units
    if most_units is not None and most_units < units:
        raise ServiceError("InvalidParameterException", "MaxInferenceUnits is below MinInferenceUnits")
    status = version.state.status
    if status in {"TRAINING_FAILED", "COPYING_FAILED", "DEPRECATED", "EXPIRED"}:
        raise ServiceError("InvalidParameterException", f"ProjectVersion {version.arn} is {status}: it cannot run")
    if status not in STARTABLE:
        raise ServiceError("ResourceInUseException", f"ProjectVersion {version.arn} is {status}")
    if max(units, most_units or 0) > MAX_UNITS:
        raise ServiceError("LimitExceededException", f"A model can have {MAX_UNITS} inference units")
    if len(account.versions_in(*PAID)) >= MAX_RUNNING:
        raise ServiceError("LimitExceededException", f"An account can have {MAX_RUNNING} running models")
    version.start(units, most_units)
    return {"Status": "STARTING"}


def stop_version(account: Account, wanted: requests.StopProjectVersion) -> dict[str, Any]:
    """StopProjectVersion: a model that is starting cannot be stopped (inferred from the modelled errors)."""
    version = account.version(wanted.project_version_arn)
    if (status := version.state.status) != "RUNNING":
        raise ServiceError("ResourceInUseException", f"ProjectVersion {version.arn} is {status}: it is not running")
    version.stop()
    return {"Status": "STOPPING"}


def delete_version(account: Account, wanted: requests.DeleteProjectVersion) -> dict[str, Any]:
    """DeleteProjectVersion."""
    version = account.version(wanted.project_version_arn)
    status = version.state.status
    if version.state.is_changing or status == "RUNNING":
        raise ServiceError("ResourceInUseException", f"ProjectVersion {version.arn} is {status}")
    version.delete()
    return {"Status": "DELETING"}


def copy_version(account: Account, wanted: requests.CopyProjectVersion) -> dict[str, Any]:
    """CopyProjectVersion, between projects of this account."""
    account.project(wanted.source_project_arn)
    source = account.version(wanted.source_project_version_arn)
    project = account.project(wanted.destination_project_arn)
    _check_new(project, wanted.version_name)
    if source.state.status not in STARTABLE | PAID:
        raise ServiceError("InvalidParameterException", f"ProjectVersion {source.arn} is {source.state.status}")
    version = _new_version(account, project, wanted.version_name, wanted.output_config, wanted.tags)
    version.copy(source)
    return {"ProjectVersionArn": version.arn}


def _check_new(project: Project, name: str) -> None:
    if project.state.status == "DELETING":
        raise ServiceError("ResourceInUseException", f"Project {project.arn} is being deleted")
    if any(version.name == name for version in project.versions):
        raise ServiceError("ResourceInUseException", f"A version named {name} already exists in {project.arn}")
    if len(project.versions) >= MAX_VERSIONS:
        raise ServiceError("ServiceQuotaExceededException", f"A project can have {MAX_VERSIONS} versions")


def _new_version(
    account: Account, project: Project, name: str, output: requests.OutputConfig, tags: dict[str, str]
) -> Version:
    arn = account.arns.version(project.name, name, account.clock.now_s())
    version = Version(arn, account.clock, unit_tps=account.unit_tps)
    version.output = output
    account.add_version(project, version)
    account.tags[arn] = tags
    return version


def _training(project: Project, wanted: requests.CreateProjectVersion) -> Training:
    """What is trained with: the datasets of the project, or the manifests of the request if it has none.

    Raises:
        ServiceError: If there are both, or neither, or a dataset is not ready.
    """
    training = Training(project.name, wanted.version_name, wanted.output_config)
    if project.datasets:
        if wanted.training_data is not None or wanted.testing_data is not None:
            raise ServiceError("InvalidParameterException", "A project with datasets is trained with its datasets")
        train_dataset = project.ready_dataset(DatasetKind.TRAIN)
        test_dataset = project.ready_dataset(DatasetKind.TEST)
        if train_dataset is None:
            raise ServiceError("InvalidParameterException", f"Project {project.arn} has no training dataset")
        training.entries = [entry.line for entry in train_dataset.entries.values()]
        if test_dataset is not None:
            training.test_entries = [entry.line for entry in test_dataset.entries.values()]
        return training
    testing = wanted.testing_data or requests.TestingData()
    training.manifests = _places(wanted.training_data.assets if wanted.training_data is not None else [])
    training.test_manifests = _places(testing.assets)
    if not training.manifests or bool(training.test_manifests) is testing.auto_create:
        raise ServiceError(
            "InvalidParameterException", "A project without datasets needs TrainingData, and TestingData or AutoCreate"
        )
    return training


def _places(assets: list[requests.Asset]) -> list[requests.S3Object]:
    manifests = [asset.ground_truth_manifest for asset in assets]
    places = [manifest.s3_object for manifest in manifests if manifest is not None]
    return [place for place in places if place is not None]


def _inputs(wanted: requests.CreateProjectVersion) -> dict[str, Any]:
    """What the description of a version says of its request."""
    described: dict[str, Any] = {
        "TrainingDataResult": {"Input": _echo(wanted.training_data)},
        "TestingDataResult": {"Input": _echo(wanted.testing_data)},
    }
    if wanted.version_description is not None:
        described["VersionDescription"] = wanted.version_description
    if wanted.kms_key_id is not None:
        described["KmsKeyId"] = wanted.kms_key_id
    return described


def _echo(data: requests.TrainingData | requests.TestingData | None) -> Any:  # noqa: ANN401 - JSON
    return {} if data is None else msgspec.to_builtins(data)
