"""S3 as a ``Remover``: deletes in batches, each key on condition of its ETag.

Keys that XML cannot express are deleted singly.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError
from asyncfilter.aws.clients.protocols import Deleted, S3Api, uri
from asyncfilter.aws.clients.s3_xml import is_expressible
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.content import COMPARED_AT_ONCE, same_content
from asyncfilter.aws.s3.heads import head
from asyncfilter.aws.s3.source_sink import S3Sink
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.errors import CallError, ImageError, PermissionDeniedError, TransientError
from asyncfilter.model import Effect, ObjectRef, S3Location
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState, VersionState
from asyncfilter.records.removal import BucketState


class S3Remover:
    """``Remover`` over S3.

    Args:
        calls: Either client.
        versions: Versioning of the buckets and removal of delete markers.
        state: Of the source, from ``versions``.
    """

    def __init__(self, calls: S3Api, versions: S3Versions, state: BucketState) -> None:
        self._calls = calls
        self._versions = versions
        self._sink = S3Sink(calls)
        self._state = state
        self._comparing = anyio.CapacityLimiter(COMPARED_AT_ONCE)

    async def state(self) -> BucketState:
        """See ``Remover``."""
        return self._state

    async def head(self, place: S3Location) -> ObjectState | None:
        """See ``Remover``."""
        try:
            found = await head(self._calls, place)
        except PermissionDeniedError as error:
            raise _denied(place.uri, error) from error
        return ObjectState(etag=found.etag, size_bytes=found.size_bytes) if found is not None else None

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        return await self._sink.copy(effect)

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``."""
        try:
            return await self._sink.existing_copy(effect)
        except PermissionDeniedError as error:
            raise _denied(effect.source.uri, error) from error

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``."""
        async with self._comparing:
            try:
                return await same_content(self._calls, image, original)
            except PermissionDeniedError as error:
                raise _denied(image.uri, error) from error

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """See ``Remover``."""
        batch = [(one.key, one.etag) for one in requests if is_expressible(one.key)]
        outcomes: dict[str, Deleted | ErrorResponse] = {}
        if batch:
            try:
                outcomes.update(await self._calls.delete_objects(bucket, batch))
            except ErrorResponseError as exc:
                raise classify(exc.response) from exc
        return [
            await self._delete_one(bucket, one) if not is_expressible(one.key) else _outcome(bucket, one.key, outcomes)
            for one in requests
        ]

    async def _delete_one(self, bucket: str, one: DeleteRequest) -> DeleteResult | CallError:
        try:
            return DeleteResult(marker=(await self._calls.delete_object(bucket, one.key, one.etag)).marker)
        except ErrorResponseError as exc:
            return _error(exc.response)
        except CallError as error:
            return error

    async def versions(self, place: S3Location) -> Sequence[VersionState]:
        """See ``Remover``."""
        try:
            found = await self._calls.list_versions(place.bucket, place.key)
        except ErrorResponseError as exc:
            raise classify(exc.response) from exc
        return [
            VersionState(id=one.id, etag=one.etag, size_bytes=one.size_bytes, is_marker=one.is_marker) for one in found
        ]

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``."""
        await self._versions.remove_marker(place, marker)


def _outcome(bucket: str, key: str, outcomes: dict[str, Deleted | ErrorResponse]) -> DeleteResult | CallError:
    match outcomes.get(key):
        case Deleted(marker):
            return DeleteResult(marker=marker)
        case ErrorResponse() as response:
            return _error(response)
        case _:
            return TransientError(
                f"{uri(bucket, key)}: the response to DeleteObjects does not contain it", may_be_billed=True
            )


def _error(response: ErrorResponse) -> CallError:
    """The error of one key; an error of the account other than a permission is raised.

    Raises:
        AccessError: Credentials, bucket, region.
    """
    error = classify(response)
    if isinstance(error, PermissionDeniedError):
        return _denied(response.where, error)
    if not isinstance(error, CallError):
        raise error
    return error


def _denied(where: str, error: PermissionDeniedError) -> ImageError:
    return ImageError.access_denied(f"{where}: {error.message}", remedy=error.hint)
