"""The ports of copies between two kinds of stores: each kind of store is one end of such a copy.

Every method makes exactly one attempt. In addition to the errors of each method, all raise ``ThrottledError``,
``TransientError``, ``AccessError``, and ``ImageError`` ``access_denied`` for an object that may not be touched.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from asyncfilter.errors import CallError
from asyncfilter.model import Effect, ObjectRef, S3Location
from asyncfilter.policy.digests import Digest
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState


class Content(Protocol):
    """The bytes of one image, exactly as it was examined, on their way to another store."""

    @property
    def image(self) -> ObjectRef:
        """The image."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """All bytes in order; a caller that does not read to the end closes the generator.

        Raises:
            ImageError: ``changed`` or ``vanished`` since it was examined, or a cause of its own.
        """
        ...

    async def check(self, digest: Digest) -> None:
        """Check the received bytes against the store; called after the last piece, before a copy gets its name.

        Raises:
            TransientError: The bytes were changed on their way.
            ImageError: ``changed`` or ``vanished``, as for ``pieces``.
        """
        ...


class StoreEnd(Protocol):
    """One kind of store as an end of copies from and to other kinds.

    Attributes:
        has_digests: The store may have digests of its objects, so that they need not be read to be compared.
    """

    has_digests: bool

    def content(self, image: ObjectRef, blake2b: str | None = None) -> Content:
        """The bytes of an object, on condition that it is the one that ``image.etag`` names.

        Args:
            image: The object.
            blake2b: The hash that its bytes must have, if it is known (``Effect.blake2b``).
        """
        ...

    async def check_examined(self, image: ObjectRef) -> None:
        """Check that an object is the one that was examined.

        Raises:
            ImageError: ``changed`` or ``vanished``.
        """
        ...

    async def has_content(self, image: ObjectRef, digest: Digest) -> bool | None:
        """Whether an object has exactly these bytes, by the store's own digest; None when it has none."""
        ...

    async def head(self, target: S3Location) -> ObjectState | None:
        """The object at the target of a copy; None when there is none.

        Raises:
            ImageError: There can be no object of that name.
        """
        ...

    async def write(self, target: S3Location, content: Content, *, only_new: bool) -> str | None:
        """Store an object, whole or not at all, and verify it.

        Args:
            target: Where.
            content: Its bytes.
            only_new: Never replace another object.

        Returns:
            The ETag of the new object; None when ``only_new``, and an object is there.

        Raises:
            ImageError: ``not_verified`` when the store has other bytes than those sent, or a cause of its own.
        """
        ...


class Copier(Protocol):
    """Copies between two kinds of stores, or within one: the part of a ``Remover`` that concerns two places."""

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        ...

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``."""
        ...

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``."""
        ...


class Objects(Protocol):
    """The objects of one kind of store: the part of a ``Remover`` that concerns one place."""

    async def head(self, place: S3Location) -> ObjectState | None:
        """See ``Remover``."""
        ...

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """See ``Remover``."""
        ...
