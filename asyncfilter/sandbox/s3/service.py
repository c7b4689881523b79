"""The S3 of the sandbox: path-style and virtual-hosted requests, with the conditions, errors and region rules of S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from asyncfilter.sandbox.access import Access, Caller
from asyncfilter.sandbox.calls import Call, Style
from asyncfilter.sandbox.iam.actions import EACH_KEY, permission_of
from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.message import Reply, Request, ServiceError
from asyncfilter.sandbox.quirks import ConditionalWrites, Quirk
from asyncfilter.sandbox.s3 import buckets, copying, deleting, listing, objects, tagging
from asyncfilter.sandbox.s3.call import S3Call, parse_call
from asyncfilter.sandbox.store import Bucket, Store

_OPERATIONS: Final[Mapping[str, Callable[[S3Call], Reply]]] = {
    "ListBuckets": buckets.list_buckets,
    "CreateBucket": buckets.create_bucket,
    "HeadBucket": buckets.head_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetBucketVersioning": buckets.get_bucket_versioning,
    "PutBucketVersioning": buckets.put_bucket_versioning,
    "ListObjects": listing.list_objects,
    "ListObjectsV2": listing.list_objects_v2,
    "ListObjectVersions": listing.list_object_versions,
    "GetObject": objects.get_object,
    "HeadObject": objects.head_object,
    "PutObject": objects.put_object,
    "DeleteObject": objects.delete_object,
    "CopyObject": copying.copy_object,
    "GetObjectTagging": tagging.get_object_tagging,
    "PutObjectTagging": tagging.put_object_tagging,
    "DeleteObjectTagging": tagging.delete_object_tagging,
}
_ANY_REGION: Final = frozenset({"CreateBucket", "GetBucketLocation", "ListBuckets"})


class S3Service:
    """Parses requests to S3 and executes them on a store."""

    style: Final = Style.S3

    def __init__(
        self,
        store: Store,
        access: Access,
        account: str,
        quirks: Iterable[Quirk] = (),
        conditional_writes: ConditionalWrites = ConditionalWrites.YES,
    ) -> None:
        self._quirks = frozenset(quirks)
        self._conditional_writes = conditional_writes
        self._store = store
        self._access = access
        self._account = account

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: If the request is not an operation that this S3 has.
        """
        call = parse_call(request, self._store, caller_region=caller.region, account=self._account, quirks=self._quirks)
        call.conditional_writes = self._conditional_writes
        return Call(
            Style.S3,
            call.operation,
            call.uri,
            partial(self._run, call),
            self._headers(call),
            permission=partial(self._permission, call),
        )

    def _run(self, call: S3Call) -> Reply:
        if Quirk.REQUESTER_PAYS in call.quirks and call.header(b"x-amz-request-payer") != "requester":
            raise objects.access_denied()
        if call.operation not in _ANY_REGION:
            self._check_bucket(call)
        try:
            return self._execute(call)
        except ServiceError as error:
            if error.code != "NoSuchKey" or self._access.may_tell_missing(call.operation, call.bucket):
                raise
            raise objects.access_denied() from error

    def _execute(self, call: S3Call) -> Reply:
        allowed = self._access.allowed
        if call.operation == "CopyObject":
            copying.check_allowed(call, allowed)
        if call.operation == "DeleteObjects":
            return deleting.delete_objects(call, allowed)
        if call.operation == "DeleteObject" and call.header(b"if-match") and not allowed("GetObject", call.uri):
            raise objects.access_denied()  # S3 guide, *Conditional deletes*: an ETag is read
        return _OPERATIONS[call.operation](call)

    def _permission(self, call: S3Call) -> Permission | None:
        if call.operation in EACH_KEY:
            return None
        return permission_of(
            call.operation,
            call.uri if call.key else call.bucket,
            partition=self._access.partition,
            versioned="versionId" in call.query,
            prefix=call.query.get("prefix"),
        )

    def _check_bucket(self, call: S3Call) -> None:
        """Refuse a request that was signed for another region or that expects another owner of the bucket."""
        bucket = call.store.buckets.get(call.bucket)
        if bucket is None:
            return
        if call.caller_region not in {"", bucket.region}:
            raise _wrong_region(call, bucket)
        if call.header(b"x-amz-expected-bucket-owner") not in {"", self._account}:
            raise objects.access_denied()

    def _headers(self, call: S3Call) -> dict[str, str]:
        """Headers of every response to this call, including errors; none for a bucket that does not exist."""
        bucket = self._store.buckets.get(call.bucket)
        head = call.operation == "HeadBucket" and bucket is not None
        return {"x-amz-bucket-region": bucket.region} if head and bucket is not None else {}


def _wrong_region(call: S3Call, bucket: Bucket) -> ServiceError:
    """The two errors for a bucket in another region (S3 guide, *Request redirection*; error responses).

    A request to the classic endpoint, signed for us-east-1, is refused for a malformed Authorization header; a request
    to another region's endpoint is redirected permanently. Both errors have the bucket's region in a header as well,
    because the response to HEAD has no body.
    """
    headers = {"x-amz-bucket-region": bucket.region}
    if call.caller_region == buckets.CLASSIC_REGION:
        message = (
            f"The authorization header is malformed; the region '{call.caller_region}' is wrong;"
            f" expecting '{bucket.region}'"
        )
        return ServiceError("AuthorizationHeaderMalformed", message, fields={"Region": bucket.region}, headers=headers)
    message = (
        "The bucket you are attempting to access must be addressed using the specified endpoint."
        " Please send all future requests to this endpoint."
    )
    fields = {"Endpoint": f"{bucket.name}.s3.{bucket.region}.amazonaws.com", "Bucket": bucket.name}
    return ServiceError("PermanentRedirect", message, 301, fields=fields, headers=headers)
