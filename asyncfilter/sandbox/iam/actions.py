"""The IAM action and resource that a request to S3 needs (Service Authorization Reference; S3 API reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asyncfilter.sandbox.iam.documents import Permission

_ACTIONS: Final[Mapping[str, str]] = {
    "ListBuckets": "s3:ListAllMyBuckets",
    "HeadBucket": "s3:ListBucket",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "HeadObject": "s3:GetObject",
    "CopyObject": "s3:PutObject",
}
"""Actions whose names are not those of the operations."""

_VERSIONED: Final[Mapping[str, str]] = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}
"""The action for a request that names a version."""

EACH_KEY: Final = frozenset({"DeleteObjects"})
"""Operations that need an action for each key, and none for the request."""


def action_of(operation: str, *, versioned: bool = False) -> str:
    """The action that an operation of S3 needs."""
    action = _ACTIONS.get(operation) or f"s3:{operation}"
    return _VERSIONED.get(action, action) if versioned else action


def bucket_of(uri: str) -> str:
    """The bucket of ``bucket/key``."""
    return uri.partition("/")[0]


def permission_of(
    operation: str, uri: str, *, partition: str, versioned: bool = False, prefix: str | None = None
) -> Permission:
    """The permission that an operation on ``bucket/key`` needs.

    Args:
        operation: Its name.
        uri: The object; without a key, the bucket.
        partition: Of the sandbox.
        versioned: The request names a version.
        prefix: The prefix that a listing asks for; None when it asks for none.
    """
    bucket, _, key = uri.partition("/")
    resource = f"arn:{partition}:s3:::{bucket}{f'/{key}' if key else ''}" if bucket else "*"
    context = {} if prefix is None else {"s3:prefix": prefix}
    return Permission(action_of(operation, versioned=versioned), resource, context)
