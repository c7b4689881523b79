"""Error responses as both clients receive them, before they are classified.

A client reduces every error response to an ``ErrorResponse`` and raises it as ``ErrorResponseError``, which never
leaves ``asyncfilter.aws``; ``errors`` classifies it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

from asyncfilter.aws.clients.xml_text import elements, unescape_leniently


class Operation(StrEnum):
    """The AWS operations in use; the value is the name in requests."""

    DETECT_LABELS = "DetectLabels"
    DETECT_CUSTOM_LABELS = "DetectCustomLabels"
    DESCRIBE_PROJECTS = "DescribeProjects"
    DESCRIBE_PROJECT_VERSIONS = "DescribeProjectVersions"
    DESCRIBE_DATASET = "DescribeDataset"
    LIST_DATASET_ENTRIES = "ListDatasetEntries"
    LIST_DATASET_LABELS = "ListDatasetLabels"
    CREATE_PROJECT = "CreateProject"
    DELETE_PROJECT = "DeleteProject"
    CREATE_DATASET = "CreateDataset"
    UPDATE_DATASET_ENTRIES = "UpdateDatasetEntries"
    DISTRIBUTE_DATASET_ENTRIES = "DistributeDatasetEntries"
    DELETE_DATASET = "DeleteDataset"
    CREATE_PROJECT_VERSION = "CreateProjectVersion"
    DELETE_PROJECT_VERSION = "DeleteProjectVersion"
    START_PROJECT_VERSION = "StartProjectVersion"
    STOP_PROJECT_VERSION = "StopProjectVersion"
    GET_SERVICE_QUOTA = "GetServiceQuota"
    GET_AWS_DEFAULT_SERVICE_QUOTA = "GetAWSDefaultServiceQuota"
    LIST_OBJECTS = "ListObjectsV2"
    HEAD_BUCKET = "HeadBucket"
    HEAD_OBJECT = "HeadObject"
    GET_OBJECT = "GetObject"
    COPY_OBJECT = "CopyObject"
    PUT_OBJECT = "PutObject"
    DELETE_OBJECT = "DeleteObject"
    DELETE_OBJECTS = "DeleteObjects"
    GET_OBJECT_TAGGING = "GetObjectTagging"
    PUT_OBJECT_TAGGING = "PutObjectTagging"
    GET_BUCKET_VERSIONING = "GetBucketVersioning"
    LIST_OBJECT_VERSIONS = "ListObjectVersions"
    GET_CALLER_IDENTITY = "GetCallerIdentity"
    GET_ROLE = "GetRole"
    SIMULATE_PRINCIPAL_POLICY = "SimulatePrincipalPolicy"
    DESCRIBE_EFFECTIVE_POLICY = "DescribeEffectivePolicy"

    @property
    def permission(self) -> str:
        """The IAM action that allows it."""
        return _PERMISSIONS.get(self) or f"rekognition:{self.value}"


_PERMISSIONS = {
    Operation.GET_SERVICE_QUOTA: "servicequotas:GetServiceQuota",
    Operation.GET_AWS_DEFAULT_SERVICE_QUOTA: "servicequotas:GetAWSDefaultServiceQuota",
    Operation.LIST_OBJECTS: "s3:ListBucket",
    Operation.HEAD_BUCKET: "s3:ListBucket",
    Operation.HEAD_OBJECT: "s3:GetObject",
    Operation.GET_OBJECT: "s3:GetObject",
    Operation.COPY_OBJECT: "s3:PutObject",
    Operation.PUT_OBJECT: "s3:PutObject",
    Operation.DELETE_OBJECT: "s3:DeleteObject",
    Operation.DELETE_OBJECTS: "s3:DeleteObject",
    Operation.GET_OBJECT_TAGGING: "s3:GetObjectTagging (in a versioned bucket s3:GetObjectVersionTagging too)",
    Operation.PUT_OBJECT_TAGGING: "s3:PutObjectTagging (in a versioned bucket s3:PutObjectVersionTagging too)",
    Operation.GET_BUCKET_VERSIONING: "s3:GetBucketVersioning",
    Operation.LIST_OBJECT_VERSIONS: "s3:ListBucketVersions",
    Operation.GET_CALLER_IDENTITY: "sts:GetCallerIdentity",
    Operation.GET_ROLE: "iam:GetRole",
    Operation.SIMULATE_PRINCIPAL_POLICY: "iam:SimulatePrincipalPolicy",
    Operation.DESCRIBE_EFFECTIVE_POLICY: "organizations:DescribeEffectivePolicy",
}


_CODE_CHARACTERS = 100
"""Most characters of a code or a region; AWS's have under 50."""

_MESSAGE_CHARACTERS = 1_000
"""Most characters of a message that are kept; those of AWS's denials have up to 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorResponse:
    """One error response.

    Attributes:
        status: HTTP status, 300 or higher; 200 for an S3 copy that failed after its headers were sent.
        code: AWS's error code; empty when the response has none (every response to HEAD).
        where: The object of the request: an ``s3://`` URI or an ARN.
        region: The bucket's region, when the response contains it.
        retry_after_s: Seconds to wait, as the service requests.
    """

    operation: Operation
    where: str
    status: int
    code: str = ""
    message: str = ""
    region: str | None = None
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        # The sender decides its length; each is part of a log line, and those of images are stored.
        object.__setattr__(self, "code", self.code[:_CODE_CHARACTERS])
        object.__setattr__(self, "message", self.message[:_MESSAGE_CHARACTERS])
        object.__setattr__(self, "region", self.region and self.region[:_CODE_CHARACTERS])

    def __str__(self) -> str:
        detail = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.operation} on {self.where}: HTTP {self.status}{' ' + detail if detail else ''}"


class ErrorResponseError(Exception):
    """AWS returned an error response; stays inside ``asyncfilter.aws``."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(str(response))
        self.response = response


class _JsonError(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    code: str = msgspec.field(name="Code", default="")
    title: str = msgspec.field(name="Message", default="")
    lower: str = msgspec.field(name="message", default="")


_JSON_ERROR = msgspec.json.Decoder(_JsonError)

ERROR_BODY_BYTES = 64 * 1024
"""Bytes of an error's body that are read; AWS's are under 2 KB."""

_MAX_WAIT_S = 300.0
"""Longest wait that a service may request."""


def read_error_response(
    operation: Operation, where: str, *, status: int, headers: Mapping[str, str], body: bytes = b""
) -> ErrorResponse:
    """Make an ``ErrorResponse`` of a raw error response, in JSON or XML or without any body.

    Args:
        operation: The operation of the request.
        where: The object of the request.
        status: HTTP status.
        headers: Response headers; the mapping ignores case, or its names are in lower case.
        body: The body as received; only its first 64 KB are read.
    """
    body = body[:ERROR_BODY_BYTES]
    code, message, region = _read_xml(body) if body.lstrip()[:1] == b"<" else _read_json(body)
    code = code or headers.get("x-amzn-errortype", "")
    return ErrorResponse(
        operation=operation,
        where=where,
        status=status,
        code=code.partition(":")[0].rpartition("#")[2],
        message=message,
        region=headers.get("x-amz-bucket-region") or region,
        retry_after_s=retry_after_s(headers),
    )


def _read_json(body: bytes) -> tuple[str, str, None]:
    try:
        error = _JSON_ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", body[:200].decode(errors="replace").strip(), None
    return error.type or error.code, error.title or error.lower, None


def _read_xml(body: bytes) -> tuple[str, str, str | None]:
    code, message, region = (
        next((unescape_leniently(text.decode(errors="replace")) for _, text in elements(body, name)), "")
        for name in (b"Code", b"Message", b"Region")
    )
    return code, message, region or None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the service requests; None when it requests none.

    ``x-amz-retry-after`` is in milliseconds (AWS SDK retry specification), ``Retry-After`` in seconds or a date, which
    is measured from the ``Date`` of the same response. A wait of more than five minutes is shortened to that.
    """
    try:
        wait_s = _wait_s(headers)
    except (ValueError, TypeError, OverflowError):  # no number, dates with and without a zone, a year 99999
        return None
    return None if wait_s is None or math.isnan(wait_s) else min(max(0.0, wait_s), _MAX_WAIT_S)


def _wait_s(headers: Mapping[str, str]) -> float | None:
    if value := headers.get("x-amz-retry-after"):
        return float(value) / 1000
    value = headers.get("retry-after")
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    return (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
