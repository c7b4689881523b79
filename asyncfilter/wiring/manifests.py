"""Manifests in S3, for the commands that read them."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from asyncfilter.aws import S3Objects
from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.datasets.manifests.from_folders import FolderEntry
from asyncfilter.datasets.manifests.row_rules import RowCode
from asyncfilter.engine.preview.jobs import store_job
from asyncfilter.errors import BucketNotFoundError, ObjectMissingError
from asyncfilter.folders import FolderSource
from asyncfilter.folders.files import NO_TEXT
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import Aws
from asyncfilter.model import UNREADABLE, ListedObject, ObjectRef, S3Location, StoreKind, folder_of
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


@asynccontextmanager
async def open_objects(aws: Aws) -> AsyncIterator[S3Objects]:
    """The objects that an account can read, in any bucket."""
    async with AsyncExitStack() as stack:
        clients = await Account(store_job(Path(), aws), stack, connections=LEAST_IN_FLIGHT).clients()
        yield S3Objects(clients.s3)


async def fetch_manifest(uri: str, out: BinaryIO, *, aws: Aws) -> int:
    """Write a manifest in S3 to ``out``; one that is larger than the service takes is not fetched.

    Args:
        uri: ``s3://bucket/key``.
        out: Where it goes.
        aws: The AWS settings.

    Returns:
        Its size, bytes.

    Raises:
        ObjectMissingError: There is no such object.
        PermissionDeniedError: It may not be read.
        UsageError: This is no address of an object.
        AccessError: S3 cannot be read.
    """
    try:
        place = parse_s3_uri(uri)
    except ValueError as error:
        raise ObjectMissingError(str(error), hint="Name a manifest as s3://BUCKET/KEY.") from error
    async with open_objects(aws) as objects:
        try:
            found = await objects.head(place) if place.key else None
        except BucketNotFoundError as error:
            raise ObjectMissingError(error.message, hint=error.hint) from error
        if found is None:
            raise ObjectMissingError(f"{uri}: there is no such object", hint="Name a manifest that is there.")
        if found.size_bytes <= MAX_MANIFEST_BYTES:
            whole = ObjectRef(bucket=place.bucket, key=place.key, size_bytes=found.size_bytes, etag=found.etag, seq=0)
            await objects.download(whole, out)
    return found.size_bytes


async def list_entries(place: S3Location, add: Callable[[FolderEntry], object], *, aws: Aws) -> None:
    """Call ``add`` with all entries below a prefix or a folder, in the order of the UTF-8 bytes of their keys.

    Symbolic links are not followed.

    Raises:
        AccessError: It cannot be listed.
    """
    if place.store is StoreKind.FOLDER:
        await _list_folder(folder_of(place.bucket), add)
        return
    async with open_objects(aws) as objects:
        async for listed in objects.listed(place):
            add(FolderEntry(listed.key.removeprefix(place.key), listed.size_bytes))


async def _list_folder(root: Path, add: Callable[[FolderEntry], object]) -> None:
    source, after = FolderSource(root), None
    while True:
        page = await source.page(after)
        for listed in page.objects:
            add(_file_entry(root, listed))
        if page.is_last:
            return
        after = page.objects[-1].key


def _file_entry(root: Path, listed: ListedObject) -> FolderEntry:
    problem = {NO_TEXT: RowCode.NAME_NOT_UTF8, UNREADABLE: RowCode.UNREADABLE}.get(listed.etag)
    is_link = False
    try:
        is_link = stat.S_ISLNK((root / listed.key.rstrip("/")).lstat().st_mode)
    except FileNotFoundError:
        if "\\" in listed.key:  # in a folder whose name is not UTF-8: the key has its bytes as escapes
            problem = RowCode.NAME_NOT_UTF8
    except OSError:
        pass
    return FolderEntry(listed.key, listed.size_bytes, is_link, problem)
