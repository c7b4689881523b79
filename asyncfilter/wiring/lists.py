"""Lists of keys as the source of a job: opened where they are, a file of this machine or objects in S3."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
from anyio import to_thread

from asyncfilter.aws import S3Objects
from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.datasets.lists import (
    Entry,
    InventoryFile,
    InventoryManifest,
    ListedPlace,
    ListSource,
    inventory_entries,
    list_entries,
    read_manifest,
)
from asyncfilter.datasets.lists.inventory import MOST_MANIFEST_BYTES
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.engine.examine.stored_listing import RankOf, StoredListing, by_key
from asyncfilter.errors import (
    BucketNotFoundError,
    ImageError,
    ObjectMissingError,
    PermissionDeniedError,
    UsageError,
)
from asyncfilter.folders.files import etag_of
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import ListKind, ListSpec, Order, SourceSpec
from asyncfilter.model import S3, ListedObject, ObjectRef, S3Location
from asyncfilter.policy.sampling import Ranking
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.wiring.account import Account

OLD_S = 8 * 24 * 3600.0
"""Age at which an inventory is older than the longest time between two, a week, allows."""

_CHUNK_BYTES = 1024 * 1024

Entries = Callable[[BinaryIO, str], Generator[Entry]]
"""The entries of an open file whose keys begin with a prefix, as far as the list is limited to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a list.

    Attributes:
        fetch: Opens the file, and checks that it is the one that it should be.
        entries: Reads it.
    """

    fetch: Callable[[], Awaitable[BinaryIO]]
    entries: Entries

    async def read(self, prefix: str) -> Generator[Entry]:
        """The entries, read as they are taken; the file is closed at their end."""
        return _closing(await self.fetch(), self.entries, prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenList:
    """A list that is there.

    Attributes:
        origin: Its version: another one for any change of what it holds.
        files: In order.
        source_bucket: The bucket that its manifest names; None for a list without one.
        begun_unix_s: When it was begun; None where that is not known.
    """

    origin: str
    files: tuple[_File, ...]
    source_bucket: str | None = None
    begun_unix_s: float | None = None

    async def bucket(self) -> str | None:
        """The bucket of the list; None when its keys have none.

        Raises:
            UsageError: The list cannot be read.
        """
        if self.source_bucket is not None:
            return self.source_bucket
        for file in self.files:
            with closing(await file.read("")) as entries:
                first = await to_thread.run_sync(next, entries, None)
            if first is not None:
                return first.bucket
        return None

    def source(self, spec: SourceSpec) -> ListSource:
        """The objects of the list.

        Raises:
            UsageError: The list is of another bucket.
        """
        if self.source_bucket not in (None, spec.bucket):
            raise UsageError(
                f"the inventory is of the bucket {self.source_bucket!r}, source.uri of {spec.bucket!r}",
                hint="Correct source.uri, or leave it out.",
            )
        place = ListedPlace(spec.bucket)
        return ListSource([_Objects(file, place, spec.prefix) for file in self.files])

    def cautions(self) -> tuple[str, ...]:
        """What is probably a mistake about the list."""
        age_s = 0.0 if self.begun_unix_s is None else time.time() - self.begun_unix_s
        if age_s < OLD_S:
            return ()
        return (
            f"source.inventory: it was begun {age_s / 86400:,.0f} days ago, and has nothing that was stored since then",
        )


class _Objects:
    """``ListFile``: the objects of one file."""

    def __init__(self, file: _File, place: ListedPlace, prefix: str) -> None:
        self._file = file
        self._place = place
        self._prefix = prefix

    async def objects(self) -> Iterator[ListedObject]:
        return self._place.objects(await self._file.read(self._prefix))


async def open_list(spec: ListSpec, account: Account) -> OpenList:
    """Look at a list; for an inventory its manifest is read.

    Raises:
        UsageError: There is no such list, or it is none.
        AccessError: It may not be read.
    """
    if not spec.address.startswith(S3):
        return await _open_local(spec)
    objects = S3Objects((await account.clients()).s3)
    found = await _found(objects, parse_s3_uri(spec.address))
    if spec.kind is ListKind.INVENTORY:
        return await _open_inventory(spec, found, objects)
    return OpenList(
        origin=_origin(spec, found.etag),
        files=(_File(fetch=lambda: _fetched(objects, found), entries=_key_list(spec)),),
    )


def in_order(spec: SourceSpec, inputs: RunInputs, store: ListingStore) -> RunInputs:
    """The inputs with their source in the order of examination, which is stored where the source has another one."""
    rank: RankOf | None
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


# -- On this machine ---------------------------------------------------------------------------------------------------


async def _open_local(spec: ListSpec) -> OpenList:
    status = await to_thread.run_sync(_status, spec.address)
    version = f"{etag_of(status)}-{status.st_size}"
    return OpenList(
        origin=_origin(spec, version),
        files=(_File(fetch=lambda: to_thread.run_sync(opened_file, spec.address), entries=_unchanged(spec, version)),),
    )


def _status(path: str) -> os.stat_result:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="Correct source.list in the job file.") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: expected a file, since a list is read again when a run is continued")
    return status


def opened_file(path: str) -> BinaryIO:
    """A list on this machine, open for reading.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="Correct source.list in the job file.") from error


def _unchanged(spec: ListSpec, version: str) -> Entries:
    """The entries of a file that is to be the same at its end."""
    read = _key_list(spec)

    def entries(stream: BinaryIO, prefix: str) -> Generator[Entry]:
        yield from read(stream, prefix)
        status = _status(spec.address)
        if f"{etag_of(status)}-{status.st_size}" != version:
            raise UsageError(f"{spec.address}: changed while it was read", hint="Run again when it is written.")

    return entries


# -- In S3 -------------------------------------------------------------------------------------------------------------


async def _open_inventory(spec: ListSpec, found: ObjectRef, objects: S3Objects) -> OpenList:
    if found.size_bytes > MOST_MANIFEST_BYTES:
        raise UsageError(f"{found.uri}: {found.size_bytes:,} bytes are too many for the manifest of an inventory")
    content = io.BytesIO()
    await _download(objects, found, content)
    await _check_manifest(objects, found, content.getvalue())
    manifest = read_manifest(found.uri, content.getvalue())
    return OpenList(
        origin=_origin(spec, found.etag),
        files=tuple(_data_file(objects, manifest, file) for file in manifest.files),
        source_bucket=manifest.source_bucket,
        begun_unix_s=manifest.begun_unix_s,
    )


async def _check_manifest(objects: S3Objects, found: ObjectRef, content: bytes) -> None:
    """Compare a manifest with its ``manifest.checksum``, where that can be read."""
    folder, _, name = found.key.rpartition("/")
    if name != "manifest.json":
        return
    place = S3Location(found.bucket, f"{folder}/manifest.checksum" if folder else "manifest.checksum")
    try:
        checksum = await _found(objects, place)
    except (ObjectMissingError, PermissionDeniedError):
        return
    expected = io.BytesIO()
    await _download(objects, checksum, expected)
    md5_hex = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected.getvalue().strip().decode("ascii", "replace").lower() != md5_hex:
        raise UsageError(
            f"{found.uri}: its MD5 is {md5_hex}, not the one in manifest.checksum: it is damaged, or being written",
            hint="Run again later, or name the manifest.json of another date.",
        )


def _data_file(objects: S3Objects, manifest: InventoryManifest, file: InventoryFile) -> _File:
    place = S3Location(manifest.bucket, file.key)

    async def fetch() -> BinaryIO:
        try:
            found = await _found(objects, place)
        except ObjectMissingError as error:
            hint = (
                "Name a newer manifest.json. Of an inventory whose prefix ends in a slash, S3 writes a wrong manifest."
            )
            raise ObjectMissingError(f"{error.message}, and the manifest names it", hint=hint) from error
        stream = await _fetched(objects, found)
        try:
            await to_thread.run_sync(_check_data, place, file, stream)
        except BaseException:
            stream.close()
            raise
        return stream

    return _File(fetch=fetch, entries=lambda stream, prefix: inventory_entries(place.uri, stream, manifest, prefix))


def _check_data(place: S3Location, file: InventoryFile, stream: BinaryIO) -> None:
    """Compare a data file with the size and the MD5 in the manifest."""
    digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
    stream.seek(0)
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
    stream.seek(0)
    if size_bytes != file.size or digest.hexdigest() != file.md5_hex.lower():
        raise UsageError(
            f"{place.uri}: {size_bytes:,} bytes with the MD5 {digest.hexdigest()}, where the manifest has "
            f"{file.size:,} with {file.md5_hex}: the file is damaged or was replaced",
            hint="Name the manifest.json of another date.",
        )


async def _found(objects: S3Objects, place: S3Location) -> ObjectRef:
    """An object that is there.

    Raises:
        ObjectMissingError: It is not.
        AccessError: It may not be read.
    """
    try:
        head = await objects.head(place) if place.key else None
    except BucketNotFoundError as error:
        raise ObjectMissingError(error.message, hint=error.hint) from error
    if head is None:
        raise ObjectMissingError(
            f"{place.uri}: there is no such object", hint="Correct source.list or source.inventory."
        )
    return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=head.size_bytes, etag=head.etag, seq=0)


async def _fetched(objects: S3Objects, found: ObjectRef) -> BinaryIO:
    """An object as a file without a name, at its start."""
    stream = tempfile.TemporaryFile()  # noqa: SIM115  closed at the end of its entries
    try:
        await _download(objects, found, stream)
        stream.seek(0)
    except BaseException:
        stream.close()
        raise
    return stream


async def _download(objects: S3Objects, found: ObjectRef, out: BinaryIO) -> None:
    """Write an object to ``out``.

    Raises:
        UsageError: It was replaced meanwhile.
        PermissionDeniedError: It may not be read.
    """
    try:
        await objects.download(found, out)
    except ImageError as error:
        if error.access:
            raise PermissionDeniedError(error.message, hint=f"Allow s3:GetObject on {found.uri}.") from error
        raise UsageError(error.message, hint="Run again when the list is written.") from error


def _key_list(spec: ListSpec) -> Entries:
    def entries(stream: BinaryIO, prefix: str) -> Generator[Entry]:
        del prefix  # what is not below it is counted as skipped
        return list_entries(spec.address, stream, spec.column)

    return entries


def _closing(stream: BinaryIO, entries: Entries, prefix: str) -> Generator[Entry]:
    with stream:
        try:
            yield from entries(stream, prefix)
        except OSError as error:
            raise UsageError(f"a list cannot be read: {error.strerror or error}") from error


def _origin(spec: ListSpec, version: str) -> str:
    return " ".join([spec.kind, version, *([spec.column] if spec.column else [])])
