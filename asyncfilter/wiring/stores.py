"""The store of a job's images: the ports with which each kind of store lists, reads, writes and removes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from asyncfilter import aws
from asyncfilter.folders import (
    FolderContents,
    FolderPlaces,
    FolderRemover,
    FolderSink,
    FolderSource,
    check_folder,
    check_targets,
    check_writable,
)
from asyncfilter.job.spec import Job, TargetCheck
from asyncfilter.model import StoreKind, folder_of
from asyncfilter.ports.examine import Contents, Heads, Places, Sink, Source
from asyncfilter.ports.remover import Remover
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.overrides import Overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
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
        store: Opens source and sink of a run.
        sink: Opens the sink alone, for a refilter.
        remover: Opens the remover, which removes images from the source and brings them back.
    """

    store: Callable[[Job, Account], Awaitable[Store]]
    sink: Callable[[Job, Account], Awaitable[Sink]]
    remover: Callable[[Job, Account], Awaitable[Remover]]


async def _s3_store(job: Job, account: Account) -> Store:
    opened = await aws.open_store(job, await account.clients())
    return Store(
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


async def _folder_store(job: Job, _account: Account) -> Store:
    folder = _opened_folder(job)
    _check_writable(job, folder)
    source = FolderSource(folder)
    return Store(
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


def _check_writable(job: Job, folder: Path) -> None:
    """Check that the targets in folders can be written.

    Raises:
        AccessError: One cannot.
    """
    check_writable(folder, job.actions_by_key, tries=job.check_targets is TargetCheck.WRITE)


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
        StoreKind.S3: StoreOpeners(store=_s3_store, sink=_s3_sink, remover=_s3_remover),
        StoreKind.FOLDER: StoreOpeners(store=_folder_store, sink=_folder_sink, remover=_folder_remover),
    }
)
"""The stores that can be opened; the ports of a caller's own store (``StoreKind.OWN``) are given in ``Overrides``."""


async def open_store(job: Job, overrides: Overrides, account: Account) -> Store:
    """The job's store; the ports in ``overrides`` replace its own.

    Raises:
        AccessError: The store cannot be listed, or a target does not exist.
    """
    source, sink = overrides.source, overrides.sink
    if source is not None and sink is not None and overrides.detector is not None:
        return Store(source=source, sink=sink)
    opened = await STORES[job.source.store].store(job, account)
    if source is not None:
        opened = replace(opened, source=source, heads=None, places=None)
    return replace(opened, sink=sink or opened.sink)


async def open_sink(job: Job, overrides: Overrides, account: Account) -> Sink:
    """The sink alone; arguments and errors are those of ``open_store``."""
    return overrides.sink if overrides.sink is not None else await STORES[job.source.store].sink(job, account)


async def open_remover(job: Job, overrides: Overrides, account: Account) -> Remover:
    """The remover alone; arguments and errors are those of ``open_store``."""
    return overrides.remover if overrides.remover is not None else await STORES[job.source.store].remover(job, account)
