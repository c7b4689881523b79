"""One row of a list, and the object of the source that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import MAX_KEY_BYTES
from asyncfilter.model import FOLDER, S3, UNKNOWN_BYTES, ListedObject, StoreKind, store_of, uri_of


class Entry(NamedTuple):
    """One row of a list.

    Attributes:
        where: The row, for messages: ``keys.csv:17``.
        bucket: As the row has it; None for a key alone.
        key: Decoded; it is not empty.
        size_bytes: None where the list does not have it.
        etag: Without its quotes; empty where the list does not have it.
        storage_class: STANDARD where the list does not have it.
    """

    where: str
    bucket: str | None
    key: str
    size_bytes: int | None = None
    etag: str = ""
    storage_class: str = "STANDARD"


def entry_of(
    where: str,
    text: str,
    *,
    bucket: str | None = None,
    size_bytes: int | None = None,
    etag: str = "",
    storage_class: str = "STANDARD",
) -> Entry:
    """The entry for a key, or for an address ``s3://bucket/key`` whose key is literal.

    Raises:
        UsageError: It is neither.
    """
    if text.startswith(S3):
        bucket, slash, key = text.removeprefix(S3).partition("/")
        if not slash:
            raise UsageError(f"{where}: expected s3://bucket/key, found {text[:200]!r}")
    elif text.startswith(FOLDER):
        bucket, key = FOLDER, text.removeprefix(FOLDER)
    elif text.startswith("arn:") or "://" in text[:12]:
        raise UsageError(f"{where}: expected a key or s3://bucket/key, found {text[:200]!r}")
    else:
        key = text
    check_key(where, key)
    return Entry(where, bucket or None, key, size_bytes, etag, storage_class)


def decoded(key: str) -> str:
    """A key without its URL encoding."""
    plain = key.replace("+", " ")
    if "%" not in plain:
        return plain
    try:
        return unquote_to_bytes(plain).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the key {key[:200]!r} is not UTF-8 when it is decoded") from error


def check_key(where: str, key: str) -> None:
    """Raise ``UsageError`` unless S3 could have the key."""
    if not key:
        raise UsageError(f"{where}: the key is empty")
    try:
        size_bytes = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: the key {key[:200]!r} is not text") from error
    if size_bytes > MAX_KEY_BYTES:
        raise UsageError(f"{where}: expected a key of at most {MAX_KEY_BYTES} bytes, found {size_bytes}")


@dataclass(frozen=True, slots=True)
class ListedPlace:
    """Where the objects of a list are.

    Attributes:
        bucket: Of the source; a list that names another is refused.
    """

    bucket: str

    def objects(self, entries: Iterable[Entry]) -> Iterator[ListedObject]:
        """The objects that entries name, one each, in their order.

        Raises:
            UsageError: An entry is of another bucket or folder.
        """
        object_of = self._file if store_of(self.bucket) is StoreKind.FOLDER else self._object
        return map(object_of, entries)

    def _object(self, entry: Entry) -> ListedObject:
        if entry.bucket is not None and entry.bucket != self.bucket:
            raise self._elsewhere(entry, uri_of(entry.bucket, ""))
        size_bytes = UNKNOWN_BYTES if entry.size_bytes is None else entry.size_bytes
        # Both show whether an object is one that is known: without the size the ETag is of no use.
        etag = "" if entry.size_bytes is None else entry.etag
        return ListedObject(entry.key, size_bytes, etag, entry.storage_class)

    def _file(self, entry: Entry) -> ListedObject:
        """A file, relative to the folder or absolute; what a list says about its size and content is not compared."""
        key = entry.key
        if entry.bucket is None and not key.startswith("/"):
            return ListedObject(key.removeprefix("./"), UNKNOWN_BYTES, "")
        root = self.bucket.removeprefix(FOLDER) + "/"
        if entry.bucket not in (None, FOLDER) or not key.startswith(root):
            raise self._elsewhere(entry, key if entry.bucket in (None, FOLDER) else uri_of(entry.bucket or "", key))
        return ListedObject(key.removeprefix(root), UNKNOWN_BYTES, "")

    def _elsewhere(self, entry: Entry, where: str) -> UsageError:
        return UsageError(
            f"{entry.where}: {where} is not in the source {uri_of(self.bucket, '')}: a job has one bucket or folder",
            hint="Split the list by bucket, one job each, or correct source.uri.",
        )
