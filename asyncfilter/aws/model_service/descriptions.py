"""The responses about projects, datasets and versions, as the port has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import DataResult, Dataset, DatasetLabel, ModelVersion, Project, ProjectDataset


def project_of(found: Mapping[str, Any]) -> Project:
    """A project; its name stands between ``project/`` and its digits."""
    arn = str(found["ProjectArn"])
    return Project(
        name=arn.rpartition(":project/")[2].partition("/")[0],
        arn=arn,
        status=str(found.get("Status", "")),
        created_at=_moment(found.get("CreationTimestamp")),
        datasets=tuple([_dataset_of_project(one) for one in found.get("Datasets", ())]),
    )


def _dataset_of_project(found: Mapping[str, Any]) -> ProjectDataset:
    return ProjectDataset(
        arn=str(found["DatasetArn"]),
        type=str(found["DatasetType"]),
        status=str(found.get("Status", "")),
        message=str(found.get("StatusMessage", "")),
    )


def dataset_of(arn: str, found: Mapping[str, Any]) -> Dataset:
    """A dataset with its figures."""
    stats = found.get("DatasetStats", {})
    return Dataset(
        arn=arn,
        status=str(found["Status"]),
        message=str(found.get("StatusMessage", "")),
        message_code=str(found.get("StatusMessageCode", "")),
        entries=int(stats.get("TotalEntries", 0)),
        labeled_entries=int(stats.get("LabeledEntries", 0)),
        labels=int(stats.get("TotalLabels", 0)),
        error_entries=int(stats.get("ErrorEntries", 0)),
        created_at=_moment(found.get("CreationTimestamp")),
        updated_at=_moment(found.get("LastUpdatedTimestamp")),
    )


def label_of(found: Mapping[str, Any]) -> DatasetLabel:
    """A label of a dataset."""
    stats = found.get("LabelStats", {})
    return DatasetLabel(
        name=str(found["LabelName"]),
        entries=int(stats.get("EntryCount", 0)),
        boxes=int(stats.get("BoundingBoxCount", 0)),
    )


def version_of(found: Mapping[str, Any]) -> ModelVersion:
    """A version; its name stands between ``version/`` and its digits."""
    arn = str(found["ProjectVersionArn"])
    evaluation = found.get("EvaluationResult", {})
    output = found.get("OutputConfig", {})
    return ModelVersion(
        name=arn.rpartition("/version/")[2].partition("/")[0],
        arn=arn,
        status=str(found["Status"]),
        message=str(found.get("StatusMessage", "")),
        created_at=_moment(found.get("CreationTimestamp")),
        training_ended_at=_moment(found.get("TrainingEndTimestamp")),
        billable_s=_number(found.get("BillableTrainingTimeInSeconds")),
        f1=None if evaluation.get("F1Score") is None else float(evaluation["F1Score"]),
        min_units=int(found.get("MinInferenceUnits") or 0),
        max_units=_number(found.get("MaxInferenceUnits")),
        output=S3Location(str(output["S3Bucket"]), str(output.get("S3KeyPrefix", "")))
        if "S3Bucket" in output
        else None,
        summary=_object(evaluation.get("Summary")),
        manifest_summary=_object(found.get("ManifestSummary")),
        training=_data_result(found.get("TrainingDataResult", {})),
        testing=_data_result(found.get("TestingDataResult", {})),
    )


def _data_result(found: Mapping[str, Any]) -> DataResult:
    return DataResult(
        input=_assets(found.get("Input")),
        output=_assets(found.get("Output")),
        validation=_assets(found.get("Validation")),
    )


def _assets(found: Mapping[str, Any] | None) -> Sequence[S3Location]:
    places = [_object(asset.get("GroundTruthManifest")) for asset in (found or {}).get("Assets", ())]
    return tuple([place for place in places if place is not None])


def _object(found: Mapping[str, Any] | None) -> S3Location | None:
    place = (found or {}).get("S3Object", {})
    return S3Location(str(place["Bucket"]), str(place["Name"])) if "Bucket" in place and "Name" in place else None


def _moment(found: datetime | float | None) -> float | None:
    return found.timestamp() if isinstance(found, datetime) else found


def _number(found: object) -> int | None:
    return None if found is None else int(str(found))
