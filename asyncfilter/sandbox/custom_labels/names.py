"""The names of the control plane's operations."""

from __future__ import annotations

from typing import Final

CONTROL_OPERATIONS: Final = (
    "CreateProject",
    "DescribeProjects",
    "DeleteProject",
    "PutProjectPolicy",
    "ListProjectPolicies",
    "DeleteProjectPolicy",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "CreateDataset",
    "DescribeDataset",
    "UpdateDatasetEntries",
    "DistributeDatasetEntries",
    "ListDatasetEntries",
    "ListDatasetLabels",
    "DeleteDataset",
    "CreateProjectVersion",
    "DescribeProjectVersions",
    "StartProjectVersion",
    "StopProjectVersion",
    "DeleteProjectVersion",
    "CopyProjectVersion",
)
