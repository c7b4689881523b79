"""Lists of keys as the source of a job: opened where they are, a file of this machine or objects in S3."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
from anyio import to_thread

from asyncfilter.aws import S3Objects
from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.datasets.lists import (
    InventoryManifest,
    ListedPlace,
    ListSource,
    inventory_objects,
    list_entries,
    read_manifest,
)
from asyncfilter.datasets.lists.inventory import MOST_MANIFEST_BYTES
from asyncfilter.engine.examine.inputs import Ranged, RunInputs
from asyncfilter.engine.examine.stored_listing import RankOf, StoredListing, by_key
from asyncfilter.errors import ObjectMissingError, PermissionDeniedError, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import ListKind, ListSpec, Order, SourceSpec
from asyncfilter.model import S3, ListedObject, ObjectRef, S3Location
from asyncfilter.policy.sampling import Ranking
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.list_files import (
    Fetch,
    FetchedFile,
    check_version,
    content_of,
    fetched,
    fetched_data,
    file_version,
    found_object,
    md5_hex,
    opened_file,
)

OLD_S = 8 * 24 * 3600.0
"""Age at which an inventory is older than the longest time between two, a week, allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenList:
    """A list that is there.

    Attributes:
        origin: Its version: another one for any change of what it holds.
        files: Its files, for a source.
        fetch: Opens the list, to look at its first row; None where a manifest names the bucket.
        bucket_of_manifest: Empty for a list without one.
        begun_unix_s: When it was begun; None where that is not known.
    """

    spec: ListSpec
    origin: str
    files: Callable[[SourceSpec], list[FetchedFile]]
    fetch: Fetch | None = None
    bucket_of_manifest: str = ""
    begun_unix_s: float | None = None

    async def bucket(self) -> str | None:
        """The bucket of the list; None when its keys have none.

        Raises:
            UsageError: The list cannot be read.
        """
        if self.fetch is None:
            return self.bucket_of_manifest
        with await self.fetch() as stream, closing(list_entries(self.spec.address, stream, self.spec.column)) as rows:
            first = await to_thread.run_sync(next, rows, None)
            return None if first is None else first.bucket

    def source(self, spec: SourceSpec) -> ListSource:
        """The objects of the list.

        Raises:
            UsageError: The list is of another bucket.
        """
        if self.bucket_of_manifest and self.bucket_of_manifest != spec.bucket:
            raise UsageError(
                f"the inventory is of the bucket {self.bucket_of_manifest!r}, source.uri of {spec.bucket!r}",
                hint="Correct source.uri, or leave it out.",
            )
        return ListSource(self.files(spec))

    def cautions(self) -> tuple[str, ...]:
        """What is probably a mistake about the list."""
        age_s = 0.0 if self.begun_unix_s is None else time.time() - self.begun_unix_s
        if age_s < OLD_S:
            return ()
        days = f"{age_s / 86400:,.0f} days"
        return (f"source.inventory: it was begun {days} ago, and has nothing that was stored since then",)


async def open_list(spec: ListSpec, account: Account) -> OpenList:
    """Look at a list; for an inventory its manifest is read.

    Raises:
        UsageError: There is no such list, or it is none.
        AccessError: It may not be read.
    """
    if not spec.address.startswith(S3):
        version = await to_thread.run_sync(file_version, spec.address)
        return _key_list(spec, version, lambda: to_thread.run_sync(opened_file, spec.address))
    objects = S3Objects((await account.clients()).s3)
    found = await found_object(objects, parse_s3_uri(spec.address))
    if spec.kind is ListKind.INVENTORY:
        return await _inventory(spec, found, objects)
    return _key_list(spec, found.etag, lambda: fetched(objects, found))


def _key_list(spec: ListSpec, version: str, fetch: Fetch) -> OpenList:
    def files(source: SourceSpec) -> list[FetchedFile]:
        def read(stream: BinaryIO) -> Iterator[ListedObject]:
            yield from ListedPlace(source.bucket).objects(list_entries(spec.address, stream, spec.column))
            if not spec.address.startswith(S3):
                check_version(spec.address, version)

        return [FetchedFile(fetch=fetch, read=read)]

    return OpenList(spec=spec, origin=_origin(spec, version), files=files, fetch=fetch)


async def _inventory(spec: ListSpec, found: ObjectRef, objects: S3Objects) -> OpenList:
    if found.size_bytes > MOST_MANIFEST_BYTES:
        raise UsageError(f"{found.uri}: {found.size_bytes:,} bytes are too many for the manifest of an inventory")
    content = await content_of(objects, found)
    await _check_manifest(objects, found, content)
    manifest = read_manifest(found.uri, content)

    def files(source: SourceSpec) -> list[FetchedFile]:
        return [
            FetchedFile(
                fetch=partial(fetched_data, objects, place, file),
                read=partial(_inventory_file, place.uri, manifest, source.prefix),
            )
            for file in manifest.files
            for place in [S3Location(manifest.bucket, file.key)]
        ]

    return OpenList(
        spec=spec,
        origin=_origin(spec, found.etag),
        files=files,
        bucket_of_manifest=manifest.source_bucket,
        begun_unix_s=manifest.begun_unix_s,
    )


def _inventory_file(name: str, manifest: InventoryManifest, prefix: str, stream: BinaryIO) -> Iterator[ListedObject]:
    return inventory_objects(name, stream, manifest, prefix)


async def _check_manifest(objects: S3Objects, found: ObjectRef, content: bytes) -> None:
    """Compare a manifest with its ``manifest.checksum``, where that can be read."""
    if not found.key.endswith("manifest.json"):
        return
    place = S3Location(found.bucket, f"{found.key.removesuffix('json')}checksum")
    try:
        expected = await content_of(objects, await found_object(objects, place))
    except (ObjectMissingError, PermissionDeniedError):
        return
    if expected.strip().decode("ascii", "replace").lower() != md5_hex(content):
        raise UsageError(
            f"{found.uri}: its MD5 is {md5_hex(content)}, not the one in manifest.checksum: it is damaged, or being "
            "written",
            hint="Run again later, or name the manifest.json of another date.",
        )


def _origin(spec: ListSpec, version: str) -> str:
    return " ".join([spec.kind, version, *([spec.column] if spec.column else [])])


# -- The order of examination ------------------------------------------------------------------------------------------


def in_order(spec: SourceSpec, inputs: RunInputs, store: ListingStore) -> RunInputs:
    """The inputs with their source in the order of examination, which is stored where the source has another one."""
    rank: RankOf | None
    if spec.listed is None and spec.ranges > 1:
        ranking = Ranking(spec.seed).rank if spec.order is Order.RANDOM else None
        ranged = Ranged(ranges=spec.ranges, prefix=spec.prefix, rank=ranking)
        return msgspec.structs.replace(inputs, ranged=ranged)
    if spec.order is Order.RANDOM:
        rank = Ranking(spec.seed).rank
    elif spec.listed is None:
        return inputs
    else:
        rank = by_key if spec.listed.kind is ListKind.INVENTORY else None
    source = StoredListing(inputs.source, store, rank=rank, origin=inputs.origin)
    return msgspec.structs.replace(inputs, source=source)


async def in_preview_order(spec: SourceSpec, inputs: RunInputs, stack: AsyncExitStack) -> RunInputs:
    """The inputs of a preview: a list in its order, each key once, stored in a file that is gone with ``stack``."""
    if spec.listed is None:
        return inputs
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncfilter-"))
    store = await open_checkpoint(Path(folder) / "listing.db", identity={}, name="listing")
    return in_order(spec, inputs, await stack.enter_async_context(store))
