"""The operations of the control plane: how each is decoded, what it needs permission for, and what carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from asyncfilter.sandbox.custom_labels import dataset_calls, project_calls, requests, version_calls
from asyncfilter.sandbox.custom_labels.account import Account

_ARNS: Final = (
    "dataset_arn",
    "project_version_arn",
    "destination_project_arn",
    "project_arn",
    "resource_arn",
)
"""Members that name the resource of a request, the most exact first."""


class Operation(NamedTuple):
    """One operation."""

    decoder: msgspec.json.Decoder[Any]
    act: Callable[[Account, Any], dict[str, Any]]


def resource_of(wanted: object, account: Account) -> str:
    """The ARN of the resource of a request, as permissions and faults name it; empty if it names none."""
    if isinstance(wanted, requests.CreateProject):
        return account.arns.future_project(wanted.project_name)
    if isinstance(wanted, requests.DistributeDatasetEntries):
        return wanted.datasets[0].arn
    return next((str(getattr(wanted, name)) for name in _ARNS if hasattr(wanted, name)), "")


def _operation(shape: type[Any], act: Callable[[Account, Any], dict[str, Any]]) -> Operation:
    return Operation(msgspec.json.Decoder(shape), act)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateProject": _operation(requests.CreateProject, project_calls.create_project),
    "DescribeProjects": _operation(requests.DescribeProjects, project_calls.describe_projects),
    "DeleteProject": _operation(requests.DeleteProject, project_calls.delete_project),
    "PutProjectPolicy": _operation(requests.PutProjectPolicy, project_calls.put_policy),
    "ListProjectPolicies": _operation(requests.ListProjectPolicies, project_calls.list_policies),
    "DeleteProjectPolicy": _operation(requests.DeleteProjectPolicy, project_calls.delete_policy),
    "TagResource": _operation(requests.TagResource, project_calls.tag_resource),
    "UntagResource": _operation(requests.UntagResource, project_calls.untag_resource),
    "ListTagsForResource": _operation(requests.ListTagsForResource, project_calls.list_tags),
    "CreateDataset": _operation(requests.CreateDataset, dataset_calls.create_dataset),
    "DescribeDataset": _operation(requests.DescribeDataset, dataset_calls.describe_dataset),
    "UpdateDatasetEntries": _operation(requests.UpdateDatasetEntries, dataset_calls.update_entries),
    "DistributeDatasetEntries": _operation(requests.DistributeDatasetEntries, dataset_calls.distribute_entries),
    "ListDatasetEntries": _operation(requests.ListDatasetEntries, dataset_calls.list_entries),
    "ListDatasetLabels": _operation(requests.ListDatasetLabels, dataset_calls.list_labels),
    "DeleteDataset": _operation(requests.DeleteDataset, dataset_calls.delete_dataset),
    "CreateProjectVersion": _operation(requests.CreateProjectVersion, version_calls.create_version),
    "DescribeProjectVersions": _operation(requests.DescribeProjectVersions, version_calls.describe_versions),
    "StartProjectVersion": _operation(requests.StartProjectVersion, version_calls.start_version),
    "StopProjectVersion": _operation(requests.StopProjectVersion, version_calls.stop_version),
    "DeleteProjectVersion": _operation(requests.DeleteProjectVersion, version_calls.delete_version),
    "CopyProjectVersion": _operation(requests.CopyProjectVersion, version_calls.copy_version),
}
