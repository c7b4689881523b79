"""S3 as a ``Remover``: deletes in batches, each key under its own ETag; keys that XML cannot express, singly."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.aws.answers import Answer, AnsweredError
from asyncfilter.aws.calls import Deleted, S3Calls, uri
from asyncfilter.aws.deleting import is_expressible
from asyncfilter.aws.errors import classify
from asyncfilter.aws.heads import head
from asyncfilter.aws.s3 import S3Sink
from asyncfilter.aws.versions import S3Versions
from asyncfilter.errors import CallError, ImageError, PermissionDeniedError, TransientError
from asyncfilter.model import Effect, IfExists, S3Location
from asyncfilter.policy.removal import BucketState
from asyncfilter.ports import Condemned, Copied, Found, Gone, Version


class S3Remover:
    """``Remover`` over S3.

    Args:
        calls: Either client.
        kept: What buckets keep of what is deleted.
        state: Of the source, from ``kept``.
    """

    def __init__(self, calls: S3Calls, kept: S3Versions, state: BucketState) -> None:
        self._calls = calls
        self._kept = kept
        self._sink = S3Sink(calls)
        self._state = state

    async def state(self) -> BucketState:
        """See ``Remover``."""
        return self._state

    async def look(self, place: S3Location) -> Found | None:
        """See ``Remover``."""
        try:
            found = await head(self._calls, place)
        except PermissionDeniedError as error:
            raise _denied(place.uri, error) from error
        return Found(etag=found.etag, size_bytes=found.size_bytes) if found is not None else None

    async def copy(self, effect: Effect) -> Copied:
        """See ``Remover``; a look goes ahead of a copy that overwrites nothing: not every store heeds the condition."""
        if effect.if_exists is IfExists.OVERWRITE:
            return await self._sink.copy(effect)
        try:
            standing = await self._sink.standing(effect)
        except PermissionDeniedError:
            standing = None  # without s3:ListBucket nothing looks forbidden; the condition holds all the same
        return standing or await self._sink.copy(effect)

    async def standing(self, effect: Effect) -> Copied | None:
        """See ``Remover``."""
        try:
            return await self._sink.standing(effect)
        except PermissionDeniedError as error:
            raise _denied(effect.source.uri, error) from error

    async def delete(self, bucket: str, condemned: Sequence[Condemned]) -> Sequence[Gone | CallError]:
        """See ``Remover``."""
        batch = [(one.key, one.etag) for one in condemned if is_expressible(one.key)]
        outcomes: dict[str, Deleted | Answer] = {}
        if batch:
            try:
                outcomes.update(await self._calls.delete_objects(bucket, batch))
            except AnsweredError as exc:
                raise classify(exc.answer) from exc
        return [
            await self._delete_one(bucket, one) if not is_expressible(one.key) else _outcome(bucket, one.key, outcomes)
            for one in condemned
        ]

    async def _delete_one(self, bucket: str, one: Condemned) -> Gone | CallError:
        try:
            return Gone(marker=(await self._calls.delete_object(bucket, one.key, one.etag)).marker)
        except AnsweredError as exc:
            return _error(exc.answer)
        except CallError as error:
            return error

    async def versions(self, place: S3Location) -> Sequence[Version]:
        """See ``Remover``."""
        try:
            found = await self._calls.list_versions(place.bucket, place.key)
        except AnsweredError as exc:
            raise classify(exc.answer) from exc
        return [Version(id=one.id, etag=one.etag, size_bytes=one.size_bytes, is_marker=one.is_marker) for one in found]

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``."""
        await self._kept.remove_marker(place, marker)


def _outcome(bucket: str, key: str, outcomes: dict[str, Deleted | Answer]) -> Gone | CallError:
    match outcomes.get(key):
        case Deleted(marker):
            return Gone(marker=marker)
        case Answer() as answer:
            return _error(answer)
        case _:
            return TransientError(f"{uri(bucket, key)}: the answer to its delete does not name it", may_be_billed=True)


def _error(answer: Answer) -> CallError:
    """What one key's refusal means; what concerns the account in more than a permission is raised.

    Raises:
        AccessError: Credentials, bucket, region.
    """
    error = classify(answer)
    if isinstance(error, PermissionDeniedError):
        return _denied(answer.where, error)
    if not isinstance(error, CallError):
        raise error
    return error


def _denied(where: str, error: PermissionDeniedError) -> ImageError:
    return ImageError.access_denied(f"{where}: {error.message}", remedy=error.hint)
