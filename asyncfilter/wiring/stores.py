"""The stores of a job's images and targets: the ports with which each kind of store lists, reads, writes and removes.

``STORES`` has a row for each kind. A job may have its images in one kind of store and targets in others: then what
concerns two kinds is a ``Transfer`` between the ends that their rows open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import anyio

from asyncfilter import aws
from asyncfilter.folders import (
    FolderContents,
    FolderEnd,
    FolderObjects,
    FolderPlaces,
    FolderRemover,
    FolderSink,
    FolderSource,
    check_folder,
    check_targets,
    check_writable,
)
from asyncfilter.job.addresses import parse_template
from asyncfilter.job.spec import Job, TargetCheck
from asyncfilter.model import StoreKind, folder_of
from asyncfilter.ports.examine import Contents, Heads, Places, Sink, Source
from asyncfilter.ports.remover import Remover
from asyncfilter.ports.transfer import Copier, Objects, StoreEnd
from asyncfilter.transfers.routing import Pair, RoutedRemover, RoutedSink
from asyncfilter.transfers.transfer import Transfer
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.overrides import Overrides

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStores:
    """A job's source and sink, ready for the first call.

    Attributes:
        source: Lists the images.
        sink: Carries out actions.
        heads: Looks at single objects of the store; None where the caller gave the source.
        places: Other places of the source's store; None where these are not known.
        contents: Reads the images; None where the caller gave source, detector and sink.
        region: Region in which a service can read the images by reference; None where they must be sent.
        cautions: What is probably a mistake about source and targets, one sentence each.
    """

    source: Source
    sink: Sink
    heads: Heads | None = None
    places: Places | None = None
    contents: Contents | None = None
    region: str | None = None
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOpeners:
    """The functions that open the ports of one kind of store; each checks that the store exists before any write.

    Attributes:
        store: Opens source and sink of a run, where the images are in such a store.
        sink: Opens the sink alone, for a refilter.
        remover: Opens the remover, which removes images from the source and brings them back.
        check_targets: Checks targets in such a store of images in another; returns cautions.
        objects: Opens the objects at such targets.
        end: Opens the store as an end of copies from and to other kinds.
    """

    store: Callable[[Job, Account], Awaitable[JobStores]]
    sink: Callable[[Job, Account], Awaitable[Sink]]
    remover: Callable[[Job, Account], Awaitable[Remover]]
    check_targets: Callable[[Job, Account], Awaitable[tuple[str, ...]]]
    objects: Callable[[Job, Account], Awaitable[Objects]]
    end: Callable[[Job, Account], Awaitable[StoreEnd]]


# -- S3 ----------------------------------------------------------------------------------------------------------------


async def _s3_store(job: Job, account: Account) -> JobStores:
    opened = await aws.open_store(job, await account.clients())
    return JobStores(
        source=opened.source,
        sink=opened.sink,
        heads=opened.source,
        places=opened.places,
        contents=opened.contents,
        region=opened.region,
        cautions=opened.cautions,
    )


async def _s3_sink(job: Job, account: Account) -> Sink:
    return (await aws.open_store(job, await account.clients())).sink


async def _s3_remover(job: Job, account: Account) -> Remover:
    return await aws.open_remover(job, await account.clients())


async def _check_s3_targets(job: Job, account: Account) -> tuple[str, ...]:
    return await aws.check_s3_targets(job, await account.clients())


async def _s3_end(_job: Job, account: Account) -> StoreEnd:
    return aws.S3End((await account.clients()).s3)


# -- Folders -----------------------------------------------------------------------------------------------------------


async def _folder_store(job: Job, _account: Account) -> JobStores:
    folder = _opened_folder(job)
    _check_writable(job, folder)
    source = FolderSource(folder)
    return JobStores(
        source=source,
        sink=FolderSink(folder),
        heads=source,
        places=FolderPlaces(folder),
        contents=FolderContents(),
    )


async def _folder_sink(job: Job, _account: Account) -> Sink:
    folder = _opened_folder(job, must_exist=False)
    _check_writable(job, folder)
    return FolderSink(folder)


async def _folder_remover(job: Job, _account: Account) -> Remover:
    return FolderRemover(_opened_folder(job))


async def _check_folder_targets(job: Job, _account: Account) -> tuple[str, ...]:
    _check_writable(job, None)
    return ()


async def _folder_objects(_job: Job, _account: Account) -> Objects:
    return FolderObjects()


async def _folder_end(job: Job, _account: Account) -> StoreEnd:
    buckets = [job.source.bucket] if job.source.store is StoreKind.FOLDER else []
    targets = [parse_template(action.target) for action in job.actions_by_key.values() if action.target is not None]
    buckets += [target.bucket for target in targets if target.store is StoreKind.FOLDER]
    return FolderEnd([folder_of(bucket) for bucket in buckets])


def _opened_folder(job: Job, *, must_exist: bool = True) -> Path:
    """The folder of the images.

    Raises:
        AccessError: It does not exist, or cannot be listed.
        UsageError: A target is inside it, by a link or a mount.
    """
    folder = folder_of(job.source.bucket)
    if must_exist:
        check_folder(folder)
    targets = {key: action.target for key, action in job.actions_by_key.items()}
    check_targets(folder, [(key, target) for key, target in targets.items() if target is not None])
    return folder


def _check_writable(job: Job, folder: Path | None) -> None:
    """Check that the targets in folders can be written.

    Raises:
        AccessError: One cannot.
    """
    check_writable(folder, job.actions_by_key, tries=job.check_targets is TargetCheck.WRITE)


# -- The table ---------------------------------------------------------------------------------------------------------


def _complete(table: Mapping[StoreKind, StoreOpeners]) -> Mapping[StoreKind, StoreOpeners]:
    """``table`` itself, when it has a row for every kind of store that can be opened.

    Raises:
        LookupError: A kind has no row.
    """
    missing = [kind.value for kind in StoreKind if kind is not StoreKind.OWN and kind not in table]
    if missing:
        raise LookupError(f"wiring.stores.STORES has no row for the store kind {', '.join(missing)}")
    return table


STORES = _complete(
    {
        StoreKind.S3: StoreOpeners(
            store=_s3_store,
            sink=_s3_sink,
            remover=_s3_remover,
            check_targets=_check_s3_targets,
            objects=_s3_remover,
            end=_s3_end,
        ),
        StoreKind.FOLDER: StoreOpeners(
            store=_folder_store,
            sink=_folder_sink,
            remover=_folder_remover,
            check_targets=_check_folder_targets,
            objects=_folder_objects,
            end=_folder_end,
        ),
    }
)
"""The stores that can be opened; the ports of a caller's own store (``StoreKind.OWN``) are given in ``Overrides``."""


async def open_store(job: Job, overrides: Overrides, account: Account) -> JobStores:
    """The job's store; the ports in ``overrides`` replace its own.

    Raises:
        AccessError: The store cannot be listed, or a target does not exist.
    """
    source, sink = overrides.source, overrides.sink
    if source is not None and sink is not None and overrides.detector is not None:
        return JobStores(source=source, sink=sink)
    opened = await STORES[job.source.store].store(job, account)
    if source is not None:
        opened = replace(opened, source=source, heads=None, places=None)
    if sink is not None:
        return replace(opened, sink=sink)
    cautions = await _checked_targets(job, account)
    return replace(opened, sink=await _routed(job, opened.sink, account), cautions=(*opened.cautions, *cautions))


async def open_sink(job: Job, overrides: Overrides, account: Account) -> Sink:
    """The sink alone; arguments and errors are those of ``open_store``."""
    if overrides.sink is not None:
        return overrides.sink
    own = await STORES[job.source.store].sink(job, account)
    await _checked_targets(job, account)
    return await _routed(job, own, account)


async def open_remover(job: Job, overrides: Overrides, account: Account) -> Remover:
    """The remover alone; arguments and errors are those of ``open_store``."""
    if overrides.remover is not None:
        return overrides.remover
    kind = job.source.store
    own = await STORES[kind].remover(job, account)
    objects: _Opened[StoreKind, Objects] = _Opened(lambda one: STORES[one].objects(job, account))
    ends: _Opened[StoreKind, StoreEnd] = _Opened(lambda one: STORES[one].end(job, account))

    async def copier(pair: Pair) -> Copier:
        return Transfer(await ends(pair[0]), await ends(pair[1]))

    for one in _other_kinds(job):
        await objects(one)  # now, so that a target that does not exist is found before anything is planned
    return RoutedRemover(kind, own, objects=objects, copiers=_Opened(copier))


async def _checked_targets(job: Job, account: Account) -> tuple[str, ...]:
    """Check the targets in kinds of stores that the images are not in; returns cautions."""
    cautions = [await STORES[kind].check_targets(job, account) for kind in _other_kinds(job)]
    return tuple(caution for found in cautions for caution in found)


async def _routed(job: Job, own: Sink, account: Account) -> Sink:
    """The sink that copies to every kind of store among the targets; ``own`` itself where there is one kind alone."""
    others = _other_kinds(job)
    if not others:
        return own
    source = await STORES[job.source.store].end(job, account)
    return RoutedSink(own, {kind: Transfer(source, await STORES[kind].end(job, account)) for kind in others})


def _other_kinds(job: Job) -> list[StoreKind]:
    """The kinds of stores of targets, less that of the images and those of the caller."""
    return sorted(job.target_stores - {job.source.store, StoreKind.OWN})


class _Opened(Generic[K, V]):
    """Opens each of some ports once, at its first use."""

    def __init__(self, open_one: Callable[[K], Awaitable[V]]) -> None:
        self._open_one = open_one
        self._opened: dict[K, V] = {}
        self._opening = anyio.Lock()

    async def __call__(self, key: K) -> V:
        async with self._opening:
            if key not in self._opened:
                self._opened[key] = await self._open_one(key)
        return self._opened[key]
