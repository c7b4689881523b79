"""Calls about datasets."""

from __future__ import annotations

import base64
import binascii
from functools import partial
from typing import Any, Final

from asyncfilter.sandbox.custom_labels import requests
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.annotation import listed
from asyncfilter.sandbox.custom_labels.datasets import COMPLETE, Dataset, Entries
from asyncfilter.sandbox.custom_labels.distribution import distribute, lonely_label
from asyncfilter.sandbox.custom_labels.entries import DatasetError, Entry, read_entries
from asyncfilter.sandbox.custom_labels.limits import MAX_CHANGES_BYTES, max_rows
from asyncfilter.sandbox.custom_labels.manifests import check_manifest, read_manifest
from asyncfilter.sandbox.custom_labels.messages import TOO_FEW_TO_DISTRIBUTE
from asyncfilter.sandbox.custom_labels.pages import page
from asyncfilter.sandbox.custom_labels.project_calls import next_page
from asyncfilter.sandbox.custom_labels.requests import DatasetKind
from asyncfilter.sandbox.message import ServiceError

_BAD_LENGTH: Final = "1 validation error detected: Value at 'changes.groundTruth' failed to satisfy constraint: {}"


def create_dataset(account: Account, wanted: requests.CreateDataset) -> dict[str, Any]:
    """CreateDataset."""
    project = account.project(wanted.project_arn)
    if project.dataset(wanted.dataset_type) is not None:
        kind = wanted.dataset_type.lower()
        raise ServiceError("ResourceAlreadyExistsException", f"Project {project.arn} already has a {kind} dataset")
    if project.state.status == "DELETING":
        raise ServiceError("InvalidParameterException", f"Project {project.arn} is being deleted")
    work = _source(account, wanted)
    arn = account.arns.dataset(project.name, wanted.dataset_type, account.clock.now_s())
    dataset = Dataset(arn, wanted.dataset_type, account.clock)
    dataset.create(work)
    project.add_dataset(dataset)
    account.tags[arn] = wanted.tags
    return {"DatasetArn": arn}


def describe_dataset(account: Account, wanted: requests.DescribeDataset) -> dict[str, Any]:
    """DescribeDataset."""
    return {"DatasetDescription": account.dataset(wanted.dataset_arn).description()}


def update_entries(account: Account, wanted: requests.UpdateDatasetEntries) -> dict[str, Any]:
    """UpdateDatasetEntries."""
    dataset = account.dataset(wanted.dataset_arn)
    blob = _blob(wanted.changes.ground_truth)
    dataset.check_idle()
    if dataset.state.status == "CREATE_FAILED":
        raise ServiceError("InvalidParameterException", f"Dataset {dataset.arn} is {dataset.state.status}")
    most = max_rows(account.region, dataset.kind)
    dataset.update(account.in_thread(partial(read_entries, blob, most_rows=most, already=dataset.entries)))
    return {}


def distribute_entries(account: Account, wanted: requests.DistributeDatasetEntries) -> dict[str, Any]:
    """DistributeDatasetEntries."""
    train, test = (account.dataset(each.arn) for each in wanted.datasets)
    if (train.kind, test.kind) != (DatasetKind.TRAIN, DatasetKind.TEST):
        raise ServiceError("InvalidParameterException", "Datasets must be a training dataset and a test dataset")
    if train not in (datasets := _siblings(account, test)):
        raise ServiceError("InvalidParameterException", f"The datasets must belong to the same project: {datasets}")
    for dataset in (train, test):
        if dataset.state.status not in COMPLETE:
            raise ServiceError("ResourceNotReadyException", f"Dataset {dataset.arn} is {dataset.state.status}")
    if test.entries:
        raise ServiceError("InvalidParameterException", f"Dataset {test.arn} is not empty")
    if not train.entries or lonely_label(train.entries) is not None:
        for dataset in (train, test):
            dataset.replace(DatasetError(TOO_FEW_TO_DISTRIBUTE))
        return {}
    stays, goes = distribute(train.entries)
    train.replace(stays)
    test.replace(goes)
    return {}


def list_entries(account: Account, wanted: requests.ListDatasetEntries) -> dict[str, Any]:
    """ListDatasetEntries."""
    dataset = account.dataset(wanted.dataset_arn)
    dataset.check_listed()
    labels = set(wanted.contains_labels or ())

    def keeps(entry: Entry) -> bool:
        return (
            (not labels or not labels.isdisjoint(entry.names))
            and (wanted.labeled is None or entry.is_labeled is wanted.labeled)
            and (wanted.source_ref_contains is None or wanted.source_ref_contains in entry.ref)
            and (not wanted.has_errors or entry.has_errors)
        )

    found, token = page(list(dataset.entries.values()), wanted.next_token, wanted.max_results, keeps)
    return {"DatasetEntries": [listed(entry.line) for entry in found], **next_page(token)}


def list_labels(account: Account, wanted: requests.ListDatasetLabels) -> dict[str, Any]:
    """ListDatasetLabels."""
    dataset = account.dataset(wanted.dataset_arn)
    dataset.check_listed()
    found, token = page(list(dataset.labels().items()), wanted.next_token, wanted.max_results)
    rows = [
        {"LabelName": label, "LabelStats": {"EntryCount": images, "BoundingBoxCount": boxes}}
        for label, (images, boxes) in found
    ]
    return {"DatasetLabelDescriptions": rows, **next_page(token)}


def delete_dataset(account: Account, wanted: requests.DeleteDataset) -> dict[str, Any]:
    """DeleteDataset."""
    dataset = account.dataset(wanted.dataset_arn)
    dataset.check_idle()
    dataset.delete()
    return {}


def _source(account: Account, wanted: requests.CreateDataset) -> Any:  # noqa: ANN401 - a future, or None for an empty dataset
    source = wanted.dataset_source
    if source is None:
        return None
    if (source.dataset_arn is None) == (source.ground_truth_manifest is None):
        raise ServiceError("InvalidParameterException", "DatasetSource must have one of manifest and dataset")
    if source.dataset_arn is not None:
        copied = account.dataset(source.dataset_arn)
        copied.check_listed()
        return account.in_thread(partial(_copied, dict(copied.entries)))
    place = source.ground_truth_manifest and source.ground_truth_manifest.s3_object
    if not place:
        raise ServiceError("InvalidParameterException", "GroundTruthManifest has no S3Object")
    check_manifest(account, place)
    most = max_rows(account.region, wanted.dataset_type)

    def work() -> Entries:
        return read_entries(read_manifest(account, place), most_rows=most, already={})

    return account.in_thread(work)


def _copied(entries: Entries) -> Entries:
    return entries


def _blob(text: str) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ServiceError("SerializationException", "Invalid Base64 in a blob") from exc
    if not blob:
        raise ServiceError("ValidationException", _BAD_LENGTH.format("Member must have length 1 or more"))
    if len(blob) > MAX_CHANGES_BYTES:
        least = f"Member must have length less than or equal to {MAX_CHANGES_BYTES}"
        raise ServiceError("ValidationException", _BAD_LENGTH.format(least))
    return blob


def _siblings(account: Account, dataset: Dataset) -> list[Dataset]:
    return next(project.datasets for project in account.projects if dataset in project.datasets)
