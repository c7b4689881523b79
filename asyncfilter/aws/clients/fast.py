"""The fast client: the frequent operations over ``SignedClient``."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence

import msgspec

from asyncfilter.aws.clients.error_response import (
    ErrorResponse,
    ErrorResponseError,
    Operation,
    read_error_response,
)
from asyncfilter.aws.clients.http import HttpResponse
from asyncfilter.aws.clients.http.message import PAGE, SMALL, ResponseLimit
from asyncfilter.aws.clients.list_xml import read_page
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
    uri,
)
from asyncfilter.aws.clients.s3_xml import (
    delete_request,
    deleted,
    md5_digest,
    read_outcomes,
    read_tags,
    read_versions,
    tag_request,
)
from asyncfilter.aws.clients.signed_http import SignedClient
from asyncfilter.aws.clients.signing import encode_path, encode_query
from asyncfilter.aws.clients.xml_text import unescape
from asyncfilter.aws.session import AwsSession, Endpoint
from asyncfilter.aws.transport_errors import undecodable_translated
from asyncfilter.errors import TransientError
from asyncfilter.job.spec import DetectorSpec
from asyncfilter.model import ObjectRef, S3Location

_ETAG = re.compile(rb"<ETag>([^<]*)</ETag>")


class FastS3:
    """``S3Api`` over ``SignedClient``; each request goes to the region of its bucket."""

    def __init__(self, session: AwsSession, signed_client: SignedClient) -> None:
        self._session = session
        self._signed_client = signed_client

    async def list_objects(
        self, bucket: str, prefix: str, *, after: str | None, token: str | None = None, limit: int = PAGE_SIZE
    ) -> Listing:
        """See ``S3Api``."""
        # URL encoding, because keys may contain characters that XML 1.0 cannot represent.
        parameters = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit), "prefix": prefix}
        if token is not None:
            parameters["continuation-token"] = token
        elif after is not None:
            parameters["start-after"] = after
        where = uri(bucket, prefix)
        reply = await self._signed_client.send(
            Operation.LIST_OBJECTS,
            where,
            await self._session.place(bucket),
            method="GET",
            query=encode_query(parameters.items()),
            headers={"x-amz-optional-object-attributes": RESTORE_STATUS},
            limit=PAGE,
        )
        with undecodable_translated(f"{Operation.LIST_OBJECTS} on {where}"):
            return await read_page(reply.body)

    async def head_object(self, bucket: str, key: str) -> ObjectHead:
        """See ``S3Api``."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        reply = await self._object(Operation.HEAD_OBJECT, "HEAD", bucket, key, headers)
        with undecodable_translated(f"{Operation.HEAD_OBJECT} on {uri(bucket, key)}"):
            return ObjectHead.of(reply.headers)

    async def first_byte(self, bucket: str, key: str) -> None:
        """See ``S3Api``."""
        headers, limit = {"range": "bytes=0-0"}, ResponseLimit(1, is_cut=True)
        await self._object(Operation.GET_OBJECT, "GET", bucket, key, headers, limit=limit)

    async def read_object(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """See ``S3Api``."""
        headers, limit = {"if-match": f'"{image.etag}"'}, ResponseLimit(image.size_bytes)
        if first_bytes is not None:
            # A store that ignores the range sends the whole object.
            headers["range"], limit = f"bytes=0-{first_bytes - 1}", ResponseLimit(first_bytes, is_cut=True)
        reply = await self._object(Operation.GET_OBJECT, "GET", image.bucket, image.key, headers, limit=limit)
        return reply.body[:first_bytes]

    async def read_start(self, bucket: str, key: str, most_bytes: int) -> tuple[bytes, str]:
        """See ``S3Api``."""
        limit = ResponseLimit(most_bytes, is_cut=True)
        reply = await self._object(Operation.GET_OBJECT, "GET", bucket, key, {}, limit=limit)
        return reply.body[:most_bytes], reply.headers.get("etag", "").strip('"')

    async def read_part(self, image: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        """See ``S3Api``."""
        headers = {"if-match": f'"{image.etag}"', "range": f"bytes={start}-{start + size_bytes - 1}"}
        limit = ResponseLimit(size_bytes, is_cut=True)
        reply = await self._object(Operation.GET_OBJECT, "GET", image.bucket, image.key, headers, limit=limit)
        return reply.body if is_part(reply.status, reply.headers.get("content-range", ""), start) else None

    async def copy_object(self, source: ObjectRef, target: S3Location, *, only_new: bool) -> str:
        """See ``S3Api``."""
        headers = {
            "x-amz-copy-source": encode_path(f"{source.bucket}/{source.key}"),
            # The object that was examined, or none: one that was replaced since is not copied.
            "x-amz-copy-source-if-match": f'"{source.etag}"',
        }
        if only_new:
            headers["if-none-match"] = "*"
        reply = await self._object(Operation.COPY_OBJECT, "PUT", target.bucket, target.key, headers)
        if b"<CopyObjectResult" in reply.body and (etag := _ETAG.search(reply.body)):
            with undecodable_translated(f"{Operation.COPY_OBJECT} on {target.uri}"):
                return unescape(etag[1].decode()).strip('"')
        # S3 sends 200 before it copies; a later failure is in the body (CopyObject reference).
        response = read_error_response(
            Operation.COPY_OBJECT, target.uri, status=200, headers=reply.headers, body=reply.body
        )
        if response.code:
            raise ErrorResponseError(response)
        raise TransientError(f"{response}: the response has no result of the copy", may_be_billed=True)

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
        headers = {
            "content-type": content_type,
            "x-amz-checksum-sha256": b2a_base64(sha256, newline=False).decode(),
            **({"if-none-match": "*"} if only_new else {}),
            **({"if-match": f'"{if_match}"'} if if_match is not None else {}),
        }
        reply = await self._object(
            Operation.PUT_OBJECT,
            "PUT",
            target.bucket,
            target.key,
            headers,
            body=body,
            extra_s=len(body) / SLOWEST_UPLOAD_BYTES_S,
        )
        etag = reply.headers.get("etag", "").strip('"')
        if not etag:
            what = f"{Operation.PUT_OBJECT} on {target.uri}"
            raise TransientError(f"{what}: the response has no ETag", may_be_billed=True)
        return Written(etag, checksums_of(reply.headers))

    async def delete_object(self, bucket: str, key: str, etag: str) -> Deleted:
        """See ``S3Api``."""
        reply = await self._object(Operation.DELETE_OBJECT, "DELETE", bucket, key, {"if-match": f'"{etag}"'})
        is_marker = reply.headers.get("x-amz-delete-marker", "") == "true"
        return deleted(is_marker, reply.headers.get("x-amz-version-id", ""))

    async def delete_objects(
        self, bucket: str, requests: Sequence[tuple[str, str]]
    ) -> Mapping[str, Deleted | ErrorResponse]:
        """See ``S3Api``."""
        body = delete_request(requests)
        reply = await self._signed_client.send(
            Operation.DELETE_OBJECTS,
            uri(bucket, ""),
            await self._session.place(bucket),
            method="POST",
            query="delete=",
            headers=_digest_headers(body),
            body=body,
        )
        with undecodable_translated(f"{Operation.DELETE_OBJECTS} on {uri(bucket, '')}"):
            return read_outcomes(reply.body, bucket)

    async def list_versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """See ``S3Api``."""
        reply = await self._signed_client.send(
            Operation.LIST_OBJECT_VERSIONS,
            uri(bucket, key),
            await self._session.place(bucket),
            method="GET",
            query=encode_query([("encoding-type", "url"), ("prefix", key), ("versions", "")]),
            limit=PAGE,
        )
        with undecodable_translated(f"{Operation.LIST_OBJECT_VERSIONS} on {uri(bucket, key)}"):
            return read_versions(reply.body, key)

    async def get_tags(self, bucket: str, key: str, version: str) -> dict[str, str] | None:
        """See ``S3Api``."""
        # A store without tags sends the object, however large it is.
        query, limit = _tagging(version), ResponseLimit(SMALL.body_bytes, is_cut=True)
        reply = await self._object(Operation.GET_OBJECT_TAGGING, "GET", bucket, key, {}, query=query, limit=limit)
        with undecodable_translated(f"{Operation.GET_OBJECT_TAGGING} on {uri(bucket, key)}"):
            return read_tags(reply.body)

    async def put_tags(self, bucket: str, key: str, tags: Mapping[str, str], version: str) -> None:
        """See ``S3Api``."""
        body, query = tag_request(tags), _tagging(version)
        await self._object(
            Operation.PUT_OBJECT_TAGGING, "PUT", bucket, key, _digest_headers(body), query=query, body=body
        )

    async def _object(
        self,
        operation: Operation,
        method: str,
        bucket: str,
        key: str,
        headers: dict[str, str],
        *,
        query: str = "",
        body: bytes = b"",
        limit: ResponseLimit = SMALL,
        extra_s: float = 0.0,
    ) -> HttpResponse:
        return await self._signed_client.send(
            operation,
            uri(bucket, key),
            await self._session.place(bucket),
            method=method,
            path="/" + encode_path(key),
            query=query,
            headers=headers,
            body=body,
            limit=limit,
            extra_s=extra_s,
        )


def _digest_headers(body: bytes) -> dict[str, str]:
    """Headers with the digest that S3 requires for a request body (S3 API reference, *DeleteObjects*).

    Either digest is enough for S3; many other stores know only Content-MD5.
    """
    return {
        "content-type": "application/xml",
        "content-md5": md5_digest(body),
        "x-amz-checksum-sha256": b2a_base64(hashlib.sha256(body).digest(), newline=False).decode(),
    }


def _tagging(version: str) -> str:
    return encode_query([("tagging", ""), *([("versionId", version)] if version else [])])


class FastDetect:
    """``DetectCall`` over ``SignedClient``: the request is encoded once, except for bucket and key.

    Args:
        signed_client: The client.
        endpoint: Rekognition's endpoint in the detector's region.
        spec: Kind and parameters of the detector.
    """

    def __init__(self, signed_client: SignedClient, endpoint: Endpoint, spec: DetectorSpec) -> None:
        self._signed_client = signed_client
        operation = operation_of(spec)
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"RekognitionService.{operation.value}",
        }
        self._posts = signed_client.posts(operation, endpoint, headers)
        parameters = msgspec.json.encode(parameters_of(spec))
        self._tail = b"}," + parameters[1:]

    async def __call__(self, bucket: str, key: str) -> bytes:
        """See ``DetectCall``."""
        image = b'{"Image":{"S3Object":{"Bucket":%b,"Name":%b}' % (_json(bucket), _json(key))
        reply = await self._signed_client.post(self._posts, uri(bucket, key), image + self._tail)
        return reply.body

    async def content(self, where: str, body: bytes) -> bytes:
        """See ``DetectCall``."""
        image = b'{"Image":{"Bytes":"%b"' % b2a_base64(body, newline=False)
        return (await self._signed_client.post(self._posts, where, image + self._tail)).body


_json = msgspec.json.Encoder().encode
