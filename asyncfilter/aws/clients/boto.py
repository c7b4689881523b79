"""The fallback client: the same calls through aiobotocore (``aws: {client: aioboto3}``), SDK retries off."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from botocore import xform_name

from asyncfilter.aws.clients.error_response import ErrorResponse, Operation
from asyncfilter.aws.clients.list_xml import PAGE_DOCUMENT
from asyncfilter.aws.clients.protocols import (
    PAGE_SIZE,
    RESTORE_STATUS,
    SLOWEST_UPLOAD_BYTES_S,
    Deleted,
    Listing,
    ObjectHead,
    ObjectVersion,
    Written,
    checksums_of,
    is_part,
    operation_of,
    parameters_of,
    readable_class,
    uri,
)
from asyncfilter.aws.clients.s3_xml import VERSIONS_DOCUMENT, check_document, deleted, md5_digest, read_tags, refused
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.session import AioClient, AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import TransientError
from asyncfilter.job.spec import DetectorSpec
from asyncfilter.model import ListedObject, ObjectRef, S3Location


class BotoS3:
    """``S3Api`` through aiobotocore."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    async def list_objects(
        self, bucket: str, prefix: str, *, after: str | None, token: str | None = None, limit: int = PAGE_SIZE
    ) -> Listing:
        """See ``S3Api``."""
        parameters: dict[str, Any] = {
            "Bucket": bucket,
            "Prefix": prefix,
            "MaxKeys": limit,
            "OptionalObjectAttributes": [RESTORE_STATUS],
        }
        if token is not None:
            parameters["ContinuationToken"] = token
        elif after is not None:
            parameters["StartAfter"] = after
        async with self._attempt(Operation.LIST_OBJECTS, bucket, prefix) as client:
            _expect(client, "ListObjectsV2", PAGE_DOCUMENT)
            page = await client.list_objects_v2(**parameters)
            objects = [
                ListedObject(item["Key"], item["Size"], item.get("ETag", "").strip('"'), _class_of(item))
                for item in page.get("Contents", ())
            ]
        return Listing(objects, page.get("NextContinuationToken", "") if page.get("IsTruncated") else None)

    async def head_object(self, bucket: str, key: str) -> ObjectHead:
        """See ``S3Api``."""
        async with self._attempt(Operation.HEAD_OBJECT, bucket, key) as client:
            head = await client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            return ObjectHead.of(head["ResponseMetadata"]["HTTPHeaders"])

    async def first_byte(self, bucket: str, key: str) -> None:
        """See ``S3Api``."""
        async with self._attempt(Operation.GET_OBJECT, bucket, key) as client:
            response = await client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
            async with response["Body"]:
                await response["Body"].read(1)

    async def read_object(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """See ``S3Api``."""
        part = {} if first_bytes is None else {"Range": f"bytes=0-{first_bytes - 1}"}
        async with self._attempt(Operation.GET_OBJECT, image.bucket, image.key) as client:
            response = await client.get_object(Bucket=image.bucket, Key=image.key, IfMatch=f'"{image.etag}"', **part)
            async with response["Body"]:
                return await _read(response["Body"], image.size_bytes if first_bytes is None else first_bytes)

    async def read_start(self, bucket: str, key: str, most_bytes: int) -> tuple[bytes, str]:
        """See ``S3Api``."""
        async with self._attempt(Operation.GET_OBJECT, bucket, key) as client:
            response = await client.get_object(Bucket=bucket, Key=key)
            async with response["Body"]:
                return await _read(response["Body"], most_bytes), response.get("ETag", "").strip('"')

    async def read_part(self, image: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        """See ``S3Api``."""
        part = f"bytes={start}-{start + size_bytes - 1}"
        async with self._attempt(Operation.GET_OBJECT, image.bucket, image.key) as client:
            response = await client.get_object(
                Bucket=image.bucket, Key=image.key, IfMatch=f'"{image.etag}"', Range=part
            )
            async with response["Body"]:
                body = await _read(response["Body"], size_bytes)
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        return body if is_part(status, response.get("ContentRange", ""), start) else None

    async def copy_object(self, source: ObjectRef, target: S3Location, *, only_new: bool) -> str:
        """See ``S3Api``."""
        condition = {"IfNoneMatch": "*"} if only_new else {}
        async with self._attempt(Operation.COPY_OBJECT, target.bucket, target.key) as client:
            copied = await client.copy_object(
                Bucket=target.bucket,
                Key=target.key,
                CopySource={"Bucket": source.bucket, "Key": source.key},
                CopySourceIfMatch=f'"{source.etag}"',
                **condition,
            )
            etag: str = copied.get("CopyObjectResult", {}).get("ETag", "")
        if not etag:
            what = f"{Operation.COPY_OBJECT} on {target.uri}"
            raise TransientError(f"{what}: the response has no result of the copy", may_be_billed=True)
        return etag.strip('"')

    async def put_object(
        self,
        target: S3Location,
        body: bytes,
        *,
        content_type: str,
        sha256: bytes,
        only_new: bool = False,
        if_match: str | None = None,
    ) -> Written:
        """See ``S3Api``."""
        condition = {"IfNoneMatch": "*"} if only_new else {}
        if if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'
        extra_s = len(body) / SLOWEST_UPLOAD_BYTES_S
        async with self._attempt(Operation.PUT_OBJECT, target.bucket, target.key, extra_s=extra_s) as client:
            written = await client.put_object(
                Bucket=target.bucket,
                Key=target.key,
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=b2a_base64(sha256, newline=False).decode(),
                **condition,
            )
        etag: str = written.get("ETag", "")
        if not etag:
            what = f"{Operation.PUT_OBJECT} on {target.uri}"
            raise TransientError(f"{what}: the response has no ETag", may_be_billed=True)
        return Written(etag.strip('"'), checksums_of(written["ResponseMetadata"]["HTTPHeaders"]))

    async def delete_object(self, bucket: str, key: str, etag: str) -> Deleted:
        """See ``S3Api``."""
        async with self._attempt(Operation.DELETE_OBJECT, bucket, key) as client:
            response = await client.delete_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"')
        return deleted(bool(response.get("DeleteMarker")), response.get("VersionId", ""))

    async def delete_objects(
        self, bucket: str, requests: Sequence[tuple[str, str]]
    ) -> Mapping[str, Deleted | ErrorResponse]:
        """See ``S3Api``."""
        wanted = {"Objects": [{"Key": key, "ETag": f'"{etag}"'} for key, etag in requests]}
        async with self._attempt(Operation.DELETE_OBJECTS, bucket, "") as client:
            _send_md5(client, "DeleteObjects")
            response = await client.delete_objects(Bucket=bucket, Delete=wanted)
            outcomes: dict[str, Deleted | ErrorResponse] = {
                one["Key"]: deleted(bool(one.get("DeleteMarker")), one.get("DeleteMarkerVersionId", ""))
                for one in response.get("Deleted", ())
            }
            for one in response.get("Errors", ()):
                outcomes[one["Key"]] = refused(bucket, one["Key"], one.get("Code", ""), one.get("Message", ""))
        return outcomes

    async def list_versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """See ``S3Api``; botocore lists versions and markers apart, so their order is undefined at equal times."""
        async with self._attempt(Operation.LIST_OBJECT_VERSIONS, bucket, key) as client:
            _expect(client, "ListObjectVersions", VERSIONS_DOCUMENT)
            page = await client.list_object_versions(Bucket=bucket, Prefix=key)
            entries = [entry for kind in ("DeleteMarkers", "Versions") for entry in page.get(kind, ())]
            of_key = [entry for entry in entries if entry["Key"] == key]
            of_key.sort(key=lambda entry: (entry["IsLatest"], entry["LastModified"]), reverse=True)
            return [
                ObjectVersion(one["VersionId"], one.get("ETag", "").strip('"'), one.get("Size", 0), "ETag" not in one)
                for one in of_key
            ]

    async def get_tags(self, bucket: str, key: str, version: str) -> dict[str, str] | None:
        """See ``S3Api``; botocore would take an object in place of tags for a server error."""
        async with self._attempt(Operation.GET_OBJECT_TAGGING, bucket, key) as client:
            client.meta.events.register_first(_TAGS_EVENT, _read_tags, unique_id=_TAGS_EVENT)
            response = await client.get_object_tagging(Bucket=bucket, Key=key, **_versioned(version))
        tags: dict[str, str] | None = response[_TAGS]
        return tags

    async def put_tags(self, bucket: str, key: str, tags: Mapping[str, str], version: str) -> None:
        """See ``S3Api``."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        async with self._attempt(Operation.PUT_OBJECT_TAGGING, bucket, key) as client:
            _send_md5(client, "PutObjectTagging")
            await client.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tag_set}, **_versioned(version))

    @asynccontextmanager
    async def _attempt(
        self, operation: Operation, bucket: str, key: str, *, extra_s: float = 0.0
    ) -> AsyncIterator[AioClient]:
        """The bucket's client, under the attempt's deadline and with its errors translated."""
        client = await self._session.s3(bucket)
        with vendor_translated(operation, uri(bucket, key)), fail_after(self._session.timeout_s + extra_s):
            yield client


class _Body(Protocol):
    """The part of aiobotocore's ``StreamingBody`` in use."""

    async def read(self, amt: int) -> bytes: ...


async def _read(body: _Body, most_bytes: int) -> bytes:
    """The first ``most_bytes`` of a body; a store that ignores the range sends the whole object."""
    pieces = bytearray()
    while len(pieces) < most_bytes and (piece := await body.read(most_bytes - len(pieces))):
        pieces += piece
    return bytes(pieces)


_TAGS = "TagsAsRead"
_TAGS_EVENT = "before-parse.s3.GetObjectTagging"


def _read_tags(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Add the tags of a response as the fast client reads them; what is not a set of tags is not parsed.

    botocore has made a 500 of a 200 whose body is not XML. Only an object has an ETag, which no error has.
    """
    if response_dict["status_code"] < 300 or "etag" in response_dict["headers"]:
        customized_response_dict[_TAGS] = read_tags(response_dict["body"])
        response_dict.update(status_code=200, body=b"")


def _expect(client: AioClient, operation: str, document: bytes) -> None:
    """Refuse responses to an operation that are another document; registering again changes nothing.

    botocore reads each of them, and an empty one, as a list without entries: a source that has nothing.
    """

    def check(response_dict: dict[str, Any], **_: object) -> None:
        if response_dict["status_code"] < 300:
            check_document(response_dict["body"], document)

    client.meta.events.register_first(f"before-parse.s3.{operation}", check, unique_id=f"asyncfilter-{operation}")


def _send_md5(client: AioClient, operation: str) -> None:
    """Let an operation send Content-MD5 beside botocore's own digest; registering again changes nothing."""
    client.meta.events.register(f"before-call.s3.{operation}", _add_md5, unique_id=f"asyncfilter-md5-{operation}")


def _add_md5(params: Mapping[str, Any], **_: object) -> None:
    params["headers"]["Content-MD5"] = md5_digest(params["body"])


def _class_of(item: Mapping[str, Any]) -> str:
    status = item.get(RESTORE_STATUS, {})
    is_restored = "RestoreExpiryDate" in status and not status.get("IsRestoreInProgress")
    return readable_class(item.get("StorageClass") or "STANDARD", is_restored=is_restored)


def _versioned(version: str) -> dict[str, str]:
    return {"VersionId": version} if version else {}


class BotoDetect:
    """``DetectCall`` through aiobotocore.

    botocore drops the fields that its service model lacks: only the fast client keeps fields that AWS adds later.

    Args:
        session: Gives deadline and keys.
        client: The aiobotocore Rekognition client in the detector's region.
        spec: Kind and parameters of the detector.
    """

    def __init__(self, session: AwsSession, client: AioClient, spec: DetectorSpec) -> None:
        self._session = session
        self._operation = operation_of(spec)
        self._call = getattr(client, xform_name(self._operation))
        self._parameters = parameters_of(spec)

    async def __call__(self, bucket: str, key: str) -> bytes:
        """See ``DetectCall``."""
        return await self._detect(uri(bucket, key), {"S3Object": {"Bucket": bucket, "Name": key}})

    async def content(self, where: str, body: bytes) -> bytes:
        """See ``DetectCall``."""
        return await self._detect(where, {"Bytes": body})

    async def _detect(self, where: str, image: Mapping[str, object]) -> bytes:
        await self._session.keys()  # before the deadline: a wait for new keys is no attempt, and unbilled
        with vendor_translated(self._operation, where), fail_after(self._session.timeout_s):
            response = await self._call(Image=image, **self._parameters)
            response.pop("ResponseMetadata", None)
            return msgspec.json.encode(response)
