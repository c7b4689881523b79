"""A copy from one kind of store to another.

Invariants: the bytes that are written are those of the image that was examined; an object at the target exists whole
and verified, or not at all; an object that is there already counts as the copy only when it has the same bytes, shown
by SHA-256 or by reading both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress

import anyio
import anyio.to_thread

from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError, UsageError
from asyncfilter.model import Effect, IfExists, ObjectRef, S3Location
from asyncfilter.policy.digests import Digest, Hasher
from asyncfilter.ports.remover import CopyResult
from asyncfilter.ports.transfer import Content, StoreEnd

AT_ONCE = 8
"""Most copies in flight: they share one line, on which each request has its deadline."""

_CHANGED = frozenset({"changed", "vanished"})


class Transfer:
    """``Copier`` between two ends.

    Args:
        source: The store that images are read from.
        target: The store that they are written to.
    """

    def __init__(self, source: StoreEnd, target: StoreEnd) -> None:
        self._source = source
        self._target = target
        self._slots = anyio.CapacityLimiter(AT_ONCE)

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        async with self._slots:
            only_new = effect.if_exists is not IfExists.OVERWRITE
            if only_new:
                # Without the right to list the target a missing object is a denied one: the condition still applies.
                with suppress(PermissionDeniedError):
                    if (existing := await self._existing(effect)) is not None:
                        return existing
            content = self._source.content(effect.source, effect.blake2b)
            etag = await self._target.write(_target(effect), content, only_new=only_new)
            if etag is not None:
                return CopyResult(etag=etag, is_new=True)
            if (existing := await self._existing(effect)) is not None:
                return existing
            message = f"{_target(effect).uri}: an object was there during the copy, and is not there now"
            raise TransientError(message, may_be_billed=False)

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``."""
        async with self._slots:
            return await self._existing(effect)

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``."""
        async with self._slots:
            return await self._is_same(image, original, gone="original_gone")

    async def _existing(self, effect: Effect) -> CopyResult | None:
        image, target = effect.source, _target(effect)
        found = await self._target.head(target)
        if found is None:
            return None
        if effect.if_exists is not IfExists.FAIL:
            await self._source.check_examined(image)
            return CopyResult(etag=found.etag, is_new=False)
        there = ObjectRef(bucket=target.bucket, key=target.key, size_bytes=found.size_bytes, etag=found.etag, seq=0)
        if not await self._is_same(image, there, gone="target_exists", blake2b=effect.blake2b):
            raise ImageError(
                f"{target.uri}: the target has another object ({found.size_bytes} bytes)",
                code="target_exists",
                remedy="Set if_exists to skip or overwrite beside copy, or choose an empty target.",
            )
        return CopyResult(etag=found.etag, is_new=False)

    async def _is_same(self, image: ObjectRef, there: ObjectRef, *, gone: str, blake2b: str | None = None) -> bool:
        """Whether an image and an object of the target's store have the same bytes; the image is checked in any case.

        The store without digests is read first: the digest that the other store has may then be enough.

        Args:
            image: In the source's store.
            there: In the target's store.
            gone: The code of the failure when the other object changes or vanishes meanwhile.
            blake2b: The hash of the image that was examined, if it is known.
        """
        if image.size_bytes != there.size_bytes:
            await self._source.check_examined(image)
            return False
        image_digest = None if self._source.has_digests else await digest_of(self._source.content(image, blake2b))
        with _other_object(gone):
            is_same = None if image_digest is None else await self._target.has_content(there, image_digest)
            if is_same is not None:
                return is_same
            there_digest = await digest_of(self._target.content(there))
        if image_digest is None:
            if (is_same := await self._source.has_content(image, there_digest)) is not None:
                return is_same
            image_digest = await digest_of(self._source.content(image))
        return image_digest.sha256 == there_digest.sha256


@contextmanager
def _other_object(code: str) -> Iterator[None]:
    """Raise a change of the object that an image is compared with under a code of its own."""
    try:
        yield
    except ImageError as error:
        if error.code not in _CHANGED:
            raise
        raise ImageError(error.message, code=code) from error


async def digest_of(content: Content) -> Digest:
    """The digest of an image, which is read to its end and checked."""
    hasher = Hasher()
    async with aclosing(content.pieces()) as pieces:
        async for piece in pieces:
            await anyio.to_thread.run_sync(hasher.update, piece)
    digest = hasher.digest()
    await content.check(digest)
    return digest


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target
