"""What the caller of the ``model`` commands needs: the service reads images and manifests with the caller's rights.

Sources: Custom Labels guide, *Set up Custom Labels permissions* and *Policy updates for using the AWS SDK*; Rekognition
API reference, CreateProjectVersion (KMS); Service Authorization Reference, Amazon Rekognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncfilter.policy.permissions.arns import bucket_arn
from asyncfilter.policy.permissions.document import VERSION, Document, Statement

_OF_PROJECTS = (
    "CreateProject",
    "DeleteProject",
    "CreateDataset",
    "DescribeDataset",
    "ListDatasetEntries",
    "ListDatasetLabels",
    "UpdateDatasetEntries",
    "DistributeDatasetEntries",
    "DeleteDataset",
    "CreateProjectVersion",
    "DescribeProjectVersions",
    "DeleteProjectVersion",
    "StartProjectVersion",
    "StopProjectVersion",
    "DetectCustomLabels",
)
_OF_BUCKET = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"]
_READS = ["s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectVersion", "s3:GetObjectTagging"]
_WRITES = "s3:PutObject"
_OF_KEY = ["kms:GenerateDataKey", "kms:Decrypt", "kms:CreateGrant", "kms:DescribeKey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlaces:
    """What the models of a caller use.

    Attributes:
        buckets: Of images and manifests.
        output: Bucket of the results; None for the first of ``buckets``.
        kms_key: Key of images, manifests and results; None without one.
        partition: Of the account.
    """

    buckets: Sequence[str]
    output: str | None = None
    kms_key: str | None = None
    partition: str = "aws"


def model_policy(places: ModelPlaces) -> Document:
    """The policy of a caller that trains and runs models."""
    partition = places.partition
    statements: list[Statement] = [
        _allow("DescribeProjects", ["rekognition:DescribeProjects"], ["*"]),
        _allow(
            "Models",
            [f"rekognition:{operation}" for operation in _OF_PROJECTS],
            [f"arn:{partition}:rekognition:*:*:project/*"],
        ),
    ]
    output = places.output or places.buckets[0]
    every = [bucket_arn(partition, bucket) for bucket in dict.fromkeys([*places.buckets, output])]
    statements.append(_allow("Buckets", _OF_BUCKET, every))
    statements.append(_allow("ReadImagesAndResults", _READS, [f"{arn}/*" for arn in every]))
    written = [f"{bucket_arn(partition, output)}/*"]
    written += [
        f"{bucket_arn(partition, bucket)}/asyncfilter/manifests/*" for bucket in places.buckets if bucket != output
    ]
    statements.append(_allow("WriteManifestsAndResults", [_WRITES], written))
    if places.kms_key is not None:
        statements.append(_allow("Key", _OF_KEY, [places.kms_key]))
    return {"Version": VERSION, "Statement": statements}


def _allow(name: str, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": actions[0] if len(actions) == 1 else list(actions),
        "Resource": resources[0] if len(resources) == 1 else list(resources),
    }
