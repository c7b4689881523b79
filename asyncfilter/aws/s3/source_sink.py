"""S3 as source and sink of a run, on either client.

Invariants: a page has S3's order, which is that of the keys' UTF-8 bytes; a copy is made only of the version that was
examined; a copy can be repeated without harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError
from asyncfilter.aws.clients.protocols import ObjectHead, S3Api, uri
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.denials import Denials
from asyncfilter.aws.s3.heads import examined_head, head
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.aws.s3.tags import tag_object
from asyncfilter.errors import (
    ImageError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.model import ActionKind, Effect, IfExists, ListedObject, S3Location
from asyncfilter.ports.examine import Page
from asyncfilter.ports.remover import CopyResult


class S3Source:
    """``Source`` and ``Heads``: the objects below a prefix.

    Args:
        calls: Either client.
        bucket: Bucket to list.
        prefix: Only keys that begin with it are listed.
    """

    def __init__(self, calls: S3Api, bucket: str, prefix: str) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix

    async def page(self, after: str | None) -> Page:
        """Up to 1,000 objects that follow the key ``after``; see ``Source``.

        Raises:
            StoreError: The store does not list as S3 does.
        """
        listing = await list_page(self._calls, self._bucket, self._prefix, after=after)
        return Page(listing.objects, is_last=listing.token is None)

    async def head(self, key: str) -> ListedObject | None:
        """See ``Heads``.

        Raises:
            StoreError: The store gives no ETag.
        """
        found = await head(self._calls, S3Location(self._bucket, key))
        if found is None:
            return None
        if not found.etag:
            raise StoreError(
                f"{uri(self._bucket, key)}: the store gives no ETag, which shows whether it was replaced",
                hint="Use a store that gives ETags, or copy the images to S3 or to a local folder.",
            )
        return ListedObject(key, found.size_bytes, found.etag, "GLACIER" if found.archived else "STANDARD")


class S3Sink:
    """``Sink``: copies and tags; each kind of action has its method in ``_perform``.

    Args:
        calls: Either client.
    """

    def __init__(self, calls: S3Api) -> None:
        self._calls = calls
        self._denials = Denials(calls)
        self._perform: Mapping[ActionKind, Callable[[Effect], Awaitable[object]]] = {
            ActionKind.COPY: self.copy,
            ActionKind.TAG: partial(tag_object, calls),
        }

    async def perform(self, effect: Effect) -> None:
        """Carry out one action; see ``Sink``.

        Raises:
            UsageError: The kind of action is not one this sink carries out.
        """
        if not (method := self._perform.get(effect.kind)):
            raise UsageError(
                f"S3 actions of kind {effect.kind} are not carried out here",
                hint="Use copy, tag or none under actions.",
            )
        await method(effect)

    async def copy(self, effect: Effect) -> CopyResult:
        """Copy an object; see ``Remover``.

        Conditions are sent with the request. Stores that ignore them are allowed for: a copy that must not overwrite
        looks at its target first, and the answer to a copy shows whether another version was copied.
        """
        if effect.if_exists is not IfExists.OVERWRITE and (existing := await self._existing(effect)) is not None:
            return existing
        copied = await self._copy(effect)
        if copied.is_new:
            self._denials.note_copy(_target(effect).bucket)
            await self._check_version(effect, copied)
        return copied

    async def _existing(self, effect: Effect) -> CopyResult | None:
        try:
            return await self.existing_copy(effect)
        except PermissionDeniedError:
            return None  # without s3:ListBucket a missing key gives 403; the condition still applies

    async def _copy(self, effect: Effect) -> CopyResult:
        target, only_new = _target(effect), effect.if_exists is not IfExists.OVERWRITE
        try:
            return CopyResult(etag=await self._calls.copy_object(effect.source, target, only_new=only_new), is_new=True)
        except ErrorResponseError as exc:
            if exc.response.status == 412:
                return await self._after_condition_failed(effect, exc.response)
            if exc.response.status == 403:
                raise await self._denials.cause(effect.source, target, exc.response) from exc
            raise classify(exc.response) from exc

    async def _check_version(self, effect: Effect, copied: CopyResult) -> None:
        """Check the source when a copy's ETag is not the one examined, as also with multipart uploads and KMS.

        Raises:
            ImageError: ``changed`` or ``vanished``: the copy may be of a version that was not examined. It is left at
                the target, because an object must not be deleted that may be another program's.
            TransientError: The source could not be checked.
        """
        if copied.etag == effect.source.etag:
            return
        try:
            await examined_head(self._calls, effect.source)
        except ImageError as error:
            raise ImageError(
                f"{error.message}; its copy {_target(effect).uri} (ETag {copied.etag}) may be of another version than "
                "the one examined",
                code=error.code,
                remedy="Run again, which examines the new version, and check or delete that copy.",
            ) from error
        except (ThrottledError, TransientError) as error:
            # The copy was made: a repetition may find it at the target, and must not take it for another program's.
            raise TransientError(f"{error.message} (after the copy of it)", may_be_billed=True) from error

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """The object at the target of a copy that must not overwrite, if it counts as the copy; None without one.

        Raises:
            ImageError: ``target_exists``; ``changed`` or ``vanished``, of the source.
        """
        target = _target(effect)
        found = await head(self._calls, target)
        if found is None:
            return None
        source = await examined_head(self._calls, effect.source)
        if effect.if_exists is IfExists.FAIL and not _same_content(source, found):
            raise ImageError(
                f"{target.uri}: the target has another object (ETag {found.etag}, {found.size_bytes} bytes)",
                code="target_exists",
                remedy="Set if_exists to skip or overwrite beside copy, or choose an empty target.",
            )
        return CopyResult(etag=found.etag, is_new=False)

    async def _after_condition_failed(self, effect: Effect, response: ErrorResponse) -> CopyResult:
        """Find out which condition failed; return the object at the target if it counts as the copy."""
        await examined_head(self._calls, effect.source)
        copied = None if effect.if_exists is IfExists.OVERWRITE else await self.existing_copy(effect)
        if copied is None:
            raise TransientError(f"{response}: the condition holds now", may_be_billed=False)
        return copied


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target


def _same_content(one: ObjectHead, other: ObjectHead) -> bool:
    """Whether the copy exists already: ETags differ for multipart and KMS objects, checksums do not.

    Checksums that differ outweigh equal ETags, which can be made to agree. A checksum over parts (``…-3``) cannot be
    compared between objects with different parts.
    """
    if one.size_bytes != other.size_bytes:
        return False
    shared = [
        value == other.checksums[name]
        for name, value in one.checksums.items()
        if name in other.checksums and "-" not in value
    ]
    return all(shared) if shared else one.etag == other.etag
