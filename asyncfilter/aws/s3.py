"""S3 as source and sink of a run, on either client.

Invariants: a page's order is S3's own, which is that of the keys' UTF-8 bytes; a copy is made only of the version that
was examined, and repeating it does no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from asyncfilter.aws.answers import Answer, AnsweredError
from asyncfilter.aws.calls import ObjectHead, S3Calls
from asyncfilter.aws.diagnosis import unreadable
from asyncfilter.aws.errors import classify
from asyncfilter.aws.heads import examined_head, head
from asyncfilter.aws.tags import tag_object
from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError, UsageError
from asyncfilter.model import ActionKind, Effect, IfExists, S3Location
from asyncfilter.ports import Copied, Page


class S3Source:
    """``Source``: the objects below a prefix.

    Args:
        calls: Either client.
        bucket: Bucket to list.
        prefix: Only keys that begin so.
    """

    def __init__(self, calls: S3Calls, bucket: str, prefix: str) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix

    async def page(self, after: str | None) -> Page:
        """Up to 1,000 objects that follow the key ``after``; see ``Source``."""
        try:
            listing = await self._calls.list_objects(self._bucket, self._prefix, after=after)
            while not listing.objects and listing.token is not None:  # an empty page gives no key to go on from
                listing = await self._calls.list_objects(self._bucket, self._prefix, after=None, token=listing.token)
        except AnsweredError as exc:
            raise classify(exc.answer) from exc
        return Page(listing.objects, is_last=listing.token is None)


class S3Sink:
    """``Sink``: copies and tags; every kind of action is a method in ``_perform``.

    Args:
        calls: Either client.
    """

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls
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

    async def copy(self, effect: Effect) -> Copied:
        """Copy an object; see ``Remover``."""
        target, only_new = _target(effect), effect.if_exists is not IfExists.OVERWRITE
        try:
            return Copied(etag=await self._calls.copy_object(effect.source, target, only_new=only_new), is_new=True)
        except AnsweredError as exc:
            if exc.answer.status == 412:
                return await self._after_condition_failed(effect, exc.answer)
            if exc.answer.status == 403:
                raise await self._who_was_denied(effect, exc.answer) from exc
            raise classify(exc.answer) from exc

    async def standing(self, effect: Effect) -> Copied | None:
        """What a copy that overwrites nothing meets at its target: nothing, or what is as good as the copy.

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
                f"{target.uri}: another object stands there (ETag {found.etag}, {found.size_bytes} bytes)",
                code="target_exists",
                remedy="Set if_exists to skip or overwrite beside copy, or choose an empty target.",
            )
        return Copied(etag=found.etag, is_new=False)

    async def _after_condition_failed(self, effect: Effect, answer: Answer) -> Copied:
        """Find out which condition failed; return when the copy is as good as done."""
        await examined_head(self._calls, effect.source)
        copied = None if effect.if_exists is IfExists.OVERWRITE else await self.standing(effect)
        if copied is None:
            raise TransientError(f"{answer}: the condition holds now", may_be_billed=False)
        return copied

    async def _who_was_denied(self, effect: Effect, answer: Answer) -> Exception:
        """CopyObject reads and writes, and says 403 to both; only a read that works puts it on the write."""
        denied = classify(answer)
        if not isinstance(denied, PermissionDeniedError):
            return denied
        try:
            await self._calls.head_object(effect.source.bucket, effect.source.key)
        except AnsweredError as exc:
            if exc.answer.status == 403:
                return unreadable(effect.source, answer)
            return classify(exc.answer)
        return denied


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target


def _same_content(one: ObjectHead, other: ObjectHead) -> bool:
    """Whether the copy was made already: ETags differ for multipart and KMS objects, checksums do not.

    A checksum over parts (``…-3``) says nothing across differently parted objects.
    """
    if one.size_bytes != other.size_bytes:
        return False
    shared = [
        value == other.checksums[name]
        for name, value in one.checksums.items()
        if name in other.checksums and "-" not in value
    ]
    return one.etag == other.etag or (bool(shared) and all(shared))
