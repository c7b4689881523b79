"""S3 as one end of copies from and to other kinds of stores.

Invariants: every byte is read on condition of the ETag that was examined; an object is written by one request, with the
SHA-256 of its bytes, which S3 compares before it stores anything; what the store then has is compared too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

import anyio
import anyio.to_thread

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import ObjectHead, S3Api, Written
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.contents import S3Contents
from asyncfilter.aws.s3.heads import examined_head, head
from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError
from asyncfilter.model import ObjectRef, S3Location
from asyncfilter.policy.content_type import content_type
from asyncfilter.policy.digests import Digest, Hasher
from asyncfilter.ports.remover import ObjectState
from asyncfilter.ports.transfer import Content

PART_BYTES = 2 * 1024 * 1024
"""Bytes of one request for a part of an object, so that slow lines keep the deadline of an attempt."""

MAX_PUT_BYTES = 5 * 1024**3
"""Largest object of one PutObject (S3 user guide, *Uploading objects*); images have at most 200 MiB."""

UPLOAD_BYTES = 64 * 1024 * 1024
"""Bytes of uploads at a time: SHA-256 and length of an object must be known before its first byte is sent.

While a body is sent, the request and the transport's buffer hold it too.
"""

_SHA256 = "x-amz-checksum-sha256"


class S3Content:
    """``Content`` of an object."""

    def __init__(self, calls: S3Api, image: ObjectRef) -> None:
        self.image = image
        self._calls = calls
        self._contents = S3Contents(calls)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """See ``Content``."""
        image = self.image
        if image.size_bytes <= PART_BYTES:
            yield await self._contents.read(image)
            return
        for start in range(0, image.size_bytes, PART_BYTES):
            size_bytes = min(PART_BYTES, image.size_bytes - start)
            part = await self._contents.read_part(image, start, size_bytes)
            if part is None and not start:
                yield await self._contents.read(image)  # a store that sends no parts
                return
            if part is None or len(part) != size_bytes:
                message = f"{image.uri}: the bytes from {start} on came otherwise than they were asked for"
                raise TransientError(message, may_be_billed=False)
            yield part

    async def check(self, digest: Digest) -> None:
        """See ``Content``: by a checksum of the store or an ETag that is MD5; without either it is read again."""
        with denied_as_image(self.image.uri):
            found = await examined_head(self._calls, self.image)
        is_same = _agrees(found, digest)
        if is_same is None and found.etag != digest.md5.hex():
            is_same = await self.sha256() == digest.sha256
        if is_same is False:
            message = f"{self.image.uri}: the bytes that came are not those that the store has"
            raise TransientError(message, may_be_billed=False)

    async def sha256(self) -> bytes:
        """SHA-256 of the bytes, which are read again."""
        hasher = Hasher()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                await anyio.to_thread.run_sync(hasher.update, piece)
        return hasher.digest().sha256


class S3End:
    """``StoreEnd`` of S3.

    Args:
        calls: Either client.
    """

    has_digests = True

    def __init__(self, calls: S3Api) -> None:
        self._calls = calls
        self._memory = _UploadMemory(UPLOAD_BYTES)

    def content(self, image: ObjectRef, blake2b: str | None = None) -> S3Content:
        """See ``StoreEnd``; the condition on the ETag is enough, and no hash is compared."""
        del blake2b
        return S3Content(self._calls, image)

    async def check_examined(self, image: ObjectRef) -> None:
        """See ``StoreEnd``."""
        with denied_as_image(image.uri):
            await examined_head(self._calls, image)

    async def has_content(self, image: ObjectRef, digest: Digest) -> bool | None:
        """See ``StoreEnd``: by the SHA-256 of the whole object, where the store has it."""
        with denied_as_image(image.uri):
            found = await examined_head(self._calls, image)
        value = found.checksums.get(_SHA256, "")
        return value == _base64(digest.sha256) if value and "-" not in value else None

    async def head(self, target: S3Location) -> ObjectState | None:
        """See ``StoreEnd``.

        Raises:
            PermissionDeniedError: It may not be read, or is missing from a bucket that may not be listed.
        """
        found = await head(self._calls, target)
        return None if found is None else ObjectState(etag=found.etag, size_bytes=found.size_bytes)

    async def write(self, target: S3Location, content: Content, *, only_new: bool) -> str | None:
        """See ``StoreEnd``: one PutObject, on condition that there is no object where none may be replaced."""
        image = content.image
        if image.size_bytes > MAX_PUT_BYTES:
            raise ImageError(f"{image.uri}: over 5 GB, the most that one upload takes", code="too_large_to_copy")
        async with self._memory.held(image.size_bytes):
            body, digest = await _collected(content)
            written = await self._put(target, body, digest, only_new=only_new)
        if written is not None:
            await self._verify(target, written, digest)
        return None if written is None else written.etag

    async def _put(self, target: S3Location, body: bytes, digest: Digest, *, only_new: bool) -> Written | None:
        try:
            return await self._calls.put_object(
                target,
                body,
                content_type=content_type(body, target.key),
                sha256=digest.sha256,
                only_new=only_new,
            )
        except ErrorResponseError as exc:
            if exc.response.status == 412 and only_new:
                return None
            raise classify(exc.response) from exc

    async def _verify(self, target: S3Location, written: Written, digest: Digest) -> None:
        """Check that the store has the bytes that were sent; an ETag is no MD5 where a KMS key encrypts.

        Raises:
            ImageError: ``not_verified``. The object is left: it may be another program's by now.
            TransientError: It could not be checked; it may be there.
        """
        if written.etag == digest.md5.hex() or written.checksums.get(_SHA256) == _base64(digest.sha256):
            return
        there = ObjectRef(bucket=target.bucket, key=target.key, size_bytes=digest.size_bytes, etag=written.etag, seq=0)
        is_same = await self.has_content(there, digest)
        if is_same is None:
            is_same = await self.content(there).sha256() == digest.sha256
        if not is_same:
            message = f"{target.uri}: the store does not have the bytes that were sent"
            raise ImageError(message, code="not_verified", remedy="Delete the object, check the store, and run again.")


class _UploadMemory:
    """Memory for the bodies of uploads; one that is larger than all of it waits until it is alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def held(self, size_bytes: int) -> AsyncIterator[None]:
        async with self._changed:
            while self._held_bytes and self._held_bytes + size_bytes > self._most_bytes:
                await self._changed.wait()
            self._held_bytes += size_bytes
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._held_bytes -= size_bytes
                    self._changed.notify_all()


async def _collected(content: Content) -> tuple[bytes, Digest]:
    """All bytes of an image, checked, and their digest."""
    hasher, whole = Hasher(), bytearray()
    async with aclosing(content.pieces()) as pieces:
        async for piece in pieces:
            whole += piece
            await anyio.to_thread.run_sync(hasher.update, piece)
    digest = hasher.digest()
    await content.check(digest)
    return bytes(whole), digest


def _agrees(found: ObjectHead, digest: Digest) -> bool | None:
    """Whether the checksums of a whole object are those of some bytes; None where there is none that is computed here.

    A checksum over parts (``…-3``) is not one of the bytes.
    """
    ours = {_SHA256: digest.sha256, "x-amz-checksum-sha1": digest.sha1, "x-amz-checksum-crc32": digest.crc32}
    agree = [
        value == _base64(ours[name]) for name, value in found.checksums.items() if name in ours and "-" not in value
    ]
    return all(agree) if agree else None


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()


@contextmanager
def denied_as_image(where: str) -> Iterator[None]:
    """Raise a denial as a failure of one image: the objects of a bucket may have different rights."""
    try:
        yield
    except PermissionDeniedError as error:
        raise ImageError.access_denied(f"{where}: {error.message}", remedy=error.hint) from error
