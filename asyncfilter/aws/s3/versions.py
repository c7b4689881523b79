"""Versioning of buckets and removal of delete markers: rare calls, made through aiobotocore with either client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.clients.protocols import uri
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AioClient, AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import PermissionDeniedError, StoreError
from asyncfilter.model import S3Location
from asyncfilter.records.removal import BucketState, Versioning

_STATES = {"Enabled": Versioning.ON, "Suspended": Versioning.SUSPENDED}


class S3Versions:
    """Versioning of buckets and removal of delete markers.

    Args:
        session: Gives the clients.
    """

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    async def state(self, bucket: str) -> BucketState:
        """Whether deletes leave a marker; unknown without the permission to read it.

        A store that has no such request keeps no versions.

        Raises:
            AccessError: The state cannot be read for another reason.
            CallError: The attempt failed.
        """
        try:
            async with self._attempt(Operation.GET_BUCKET_VERSIONING, bucket, "") as client:
                found = await client.get_bucket_versioning(Bucket=bucket)
        except PermissionDeniedError:
            return BucketState(versioning=Versioning.UNKNOWN)
        except StoreError:
            return BucketState(versioning=Versioning.OFF)
        status = found.get("Status", "")
        return BucketState(
            versioning=_STATES.get(status, Versioning.OFF), mfa_delete=found.get("MFADelete") == "Enabled"
        )

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """Delete one version, which must be a delete marker."""
        async with self._attempt(Operation.DELETE_OBJECT, place.bucket, place.key) as client:
            await client.delete_object(Bucket=place.bucket, Key=place.key, VersionId=marker)

    @asynccontextmanager
    async def _attempt(self, operation: Operation, bucket: str, key: str) -> AsyncIterator[AioClient]:
        client = await self._session.s3(bucket)
        try:
            with vendor_translated(operation, uri(bucket, key)), fail_after(self._session.timeout_s):
                yield client
        except ErrorResponseError as exc:
            raise classify(exc.response) from exc
