"""Operations on buckets: create, head, delete, list, region, versioning."""

from __future__ import annotations

import re
from typing import Final

from asyncfilter.sandbox.message import Reply, ServiceError, header_lines
from asyncfilter.sandbox.s3.call import S3Call, xml_reply
from asyncfilter.sandbox.s3_xml import element, parse
from asyncfilter.sandbox.store import iso_time

CLASSIC_REGION: Final = "us-east-1"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def create_bucket(call: S3Call) -> Reply:
    """Create a bucket in the region that the body names, by default in us-east-1.

    Raises:
        ServiceError: ``InvalidBucketName``, ``IllegalLocationConstraintException`` or ``BucketAlreadyOwnedByYou``.
    """
    if _NAME.fullmatch(call.bucket) is None:
        fields = {"BucketName": call.bucket}
        raise ServiceError("InvalidBucketName", "The specified bucket is not valid.", fields=fields)
    body = call.request.body
    region = (parse(body).findtext("LocationConstraint") if body else None) or CLASSIC_REGION
    if call.caller_region not in {"", CLASSIC_REGION, region}:
        constraint = region if body else "unspecified"
        message = (
            f"The {constraint} location constraint is incompatible for the region specific endpoint this request was"
            " sent to."
        )
        raise ServiceError("IllegalLocationConstraintException", message)
    present = call.store.buckets.get(call.bucket)
    # Only us-east-1 allows an owner to create a bucket again (S3 API reference, CreateBucket).
    if present is not None and present.region != CLASSIC_REGION:
        message = "Your previous request to create the named bucket succeeded and you already own it."
        raise ServiceError("BucketAlreadyOwnedByYou", message, 409, fields={"BucketName": call.bucket})
    call.store.create(call.bucket, region)
    return Reply(200, header_lines({"Location": f"/{call.bucket}"}))


def head_bucket(call: S3Call) -> Reply:
    """The bucket's region; an error if the bucket does not exist."""
    bucket = call.found_bucket()
    return Reply(200, header_lines({"x-amz-bucket-region": bucket.region, "Content-Type": "application/xml"}))


def delete_bucket(call: S3Call) -> Reply:
    """Delete an empty bucket."""
    bucket = call.found_bucket()
    if next(bucket.scan(""), None) is not None or bucket.versioned_keys():
        fields = {"BucketName": bucket.name}
        raise ServiceError("BucketNotEmpty", "The bucket you tried to delete is not empty", 409, fields=fields)
    del call.store.buckets[bucket.name]
    return Reply(204, b"")


def list_buckets(call: S3Call) -> Reply:
    """All buckets."""
    rows = (
        f"<Bucket>{element('Name', name)}<CreationDate>{iso_time(bucket.created_s)}</CreationDate>"
        f"{element('BucketRegion', bucket.region)}</Bucket>"
        for name, bucket in sorted(call.store.buckets.items())
    )
    owner = f"<Owner>{element('ID', call.account)}</Owner>"
    return xml_reply("ListAllMyBucketsResult", f"{owner}<Buckets>{''.join(rows)}</Buckets>")


def get_bucket_location(call: S3Call) -> Reply:
    """The region; empty for us-east-1, as in S3."""
    region = call.found_bucket().region
    return xml_reply("LocationConstraint", "" if region == CLASSIC_REGION else region)


def get_bucket_versioning(call: S3Call) -> Reply:
    """The state of versioning: Enabled, Suspended, or none."""
    state = call.found_bucket().versioning
    return xml_reply("VersioningConfiguration", element("Status", state) if state else "")


def put_bucket_versioning(call: S3Call) -> Reply:
    """Enable or suspend versioning.

    Raises:
        ServiceError: ``IllegalVersioningConfigurationException``.
    """
    state = parse(call.request.body).findtext("Status")
    if state not in {"Enabled", "Suspended"}:
        message = "The Versioning element must be specified"
        raise ServiceError("IllegalVersioningConfigurationException", message)
    call.found_bucket().versioning = state
    return Reply(200, b"")
