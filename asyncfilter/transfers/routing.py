"""Sink and remover of a job whose images and targets are in several kinds of stores.

What concerns one place goes to the ports of its kind of store. What concerns two places of different kinds goes to the
copier of that pair.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from asyncfilter.errors import CallError, UsageError
from asyncfilter.model import ActionKind, Effect, ObjectRef, S3Location, StoreKind, store_of
from asyncfilter.ports.examine import Sink
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState, Remover, VersionState
from asyncfilter.ports.transfer import Copier, Objects
from asyncfilter.records.removal import BucketState

Pair = tuple[StoreKind, StoreKind]
"""The kinds of store of a source and of a target."""

GetObjects = Callable[[StoreKind], Awaitable[Objects]]
GetCopier = Callable[[Pair], Awaitable[Copier]]
"""Opens a port at its first use. A checkpoint may name places of a store that the job does not name any more."""


class RoutedSink:
    """``Sink`` that copies into other kinds of stores too.

    Args:
        own: Carries out every action within the source's kind of store.
        copiers: Copy to the other kinds that the job has as targets.
    """

    def __init__(self, own: Sink, copiers: Mapping[StoreKind, Copier]) -> None:
        self._own = own
        self._copiers = copiers

    async def perform(self, effect: Effect) -> None:
        """See ``Sink``."""
        copier = self._copiers.get(effect.target.store) if effect.target is not None else None
        if copier is None:
            await self._own.perform(effect)
        elif effect.kind is not ActionKind.COPY or effect.is_link:
            kind = "link" if effect.is_link else effect.kind
            raise UsageError(f"there is no {kind} between two kinds of stores", hint="Use copy, move or none.")
        else:
            await copier.copy(effect)


class RoutedRemover:
    """``Remover`` that moves images into other kinds of stores too, and back.

    Args:
        kind: Of the source's store.
        own: The remover of the source.
        objects: Gives the objects of another kind of store.
        copiers: Gives the copier of a pair of different kinds.
    """

    def __init__(self, kind: StoreKind, own: Remover, *, objects: GetObjects, copiers: GetCopier) -> None:
        self._kind = kind
        self._own = own
        self._objects = objects
        self._copiers = copiers

    async def state(self) -> BucketState:
        """See ``Remover``."""
        return await self._own.state()

    async def head(self, place: S3Location) -> ObjectState | None:
        """See ``Remover``."""
        return await (await self._at(place.bucket)).head(place)

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        return await (await self._between(effect.source.bucket, _target(effect).bucket)).copy(effect)

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``."""
        return await (await self._between(effect.source.bucket, _target(effect).bucket)).existing_copy(effect)

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``."""
        return await (await self._between(image.bucket, original.bucket)).same_content(image, original)

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """See ``Remover``."""
        return await (await self._at(bucket)).delete(bucket, requests)

    async def versions(self, place: S3Location) -> Sequence[VersionState]:
        """See ``Remover``; asked about places of the source alone."""
        return await self._own.versions(place)

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``; for places of the source alone."""
        await self._own.remove_marker(place, marker)

    async def _at(self, bucket: str) -> Objects:
        kind = store_of(bucket)
        return self._own if kind is self._kind else await self._objects(kind)

    async def _between(self, source: str, target: str) -> Copier:
        pair = store_of(source), store_of(target)
        return self._own if pair == (self._kind, self._kind) else await self._copiers(pair)


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target
