"""The policies that Custom Labels asks for on the bucket of its images.

Until 2021 the service read images by a permission of its own, which a bucket policy gave it (Custom Labels guide,
*Set up bucket permissions for SDK use*, since removed). With the dataset operations it reads them as the caller, and
its console asks for eight actions in the caller's policy (*Set up Custom Labels permissions*, external buckets).
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, Verdict, location, store_of
from asyncfilter.policy.permissions.arns import bucket_arn
from asyncfilter.policy.permissions.document import VERSION, Document, Statement

_OF_BUCKET = ("s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket")
_OF_OBJECTS = ("s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectVersion", "s3:GetObjectTagging")
_WRITES = "s3:PutObject"
_SERVICE = {"Service": "rekognition.amazonaws.com"}


def images_bucket(job: Job) -> str | None:
    """The bucket whose images a model would be trained with: that of the copies that are kept, else the source's.

    None where neither is in S3.
    """
    target = job.actions[Verdict.KEEP].target
    places = [*([location(target).bucket] if target and store_of(target) is StoreKind.S3 else []), job.source.bucket]
    return next((bucket for bucket in places if store_of(bucket) is StoreKind.S3), None)


def bucket_policy(bucket: str, *, partition: str) -> Document:
    """The bucket policy that lets the service itself read training images and write results."""
    arn = bucket_arn(partition, bucket)
    read = _service_statement("AWSRekognitionS3AclBucketRead20191011", _OF_BUCKET, arn)
    get = _service_statement("AWSRekognitionS3GetBucket20191011", _OF_OBJECTS, f"{arn}/*")
    put = _service_statement("AWSRekognitionS3PutObject20191011", (_WRITES,), f"{arn}/*")
    put["Condition"] = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    return {"Version": VERSION, "Statement": [read, get, put]}


def caller_policy(bucket: str, *, partition: str) -> Document:
    """The part of the caller's policy that the console asks for, for a bucket that it did not make itself."""
    arn = bucket_arn(partition, bucket)
    statement: Statement = {
        "Sid": "s3ExternalBucketPolicies",
        "Effect": "Allow",
        "Action": [*_OF_BUCKET, *_OF_OBJECTS, _WRITES],
        "Resource": [arn, f"{arn}/*"],
    }
    return {"Version": VERSION, "Statement": [statement]}


def _service_statement(name: str, actions: Sequence[str], resource: str) -> Statement:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": _SERVICE,
        "Action": actions[0] if len(actions) == 1 else list(actions),
        "Resource": resource,
    }
