"""S3 Inventory: its ``manifest.json``, and the entries of its data files in CSV, Parquet and ORC.

Keys are URL-encoded in CSV, a space as ``+``, and literal in Parquet and ORC (S3 user guide, *Amazon S3 Inventory
list*). Of an inventory of all versions only the latest ones count, without delete markers: those are what a listing
has. Rows are in no order.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

import msgspec

from asyncfilter.datasets.lists.entries import Entry
from asyncfilter.datasets.lists.tables import arrow_table, beginning, csv_rows, is_arrow, unpacked
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import MAX_KEY_BYTES

MOST_MANIFEST_BYTES = 64 * 1024 * 1024
"""Largest manifest that is read: it has some 150 bytes for each data file."""

_ARN = re.compile(r"arn:[a-z-]+:s3:::([a-z0-9.-]+)\Z")
_FORMATS = {"CSV", "PARQUET", "ORC"}
_FILE_HINT = "Name the manifest.json of an S3 Inventory, s3://BUCKET/PREFIX/SOURCE-BUCKET/CONFIG-ID/DATE/manifest.json."
_WANTED = ("key", "bucket", "islatest", "isdeletemarker", "size", "etag", "storageclass")


class InventoryFile(msgspec.Struct, frozen=True):
    """One data file; ``size`` is in bytes."""

    key: str
    size: int
    md5_hex: str = msgspec.field(name="MD5checksum")


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    source_bucket: str
    destination_bucket: str
    file_format: str
    file_schema: str
    files: list[InventoryFile]
    creation_timestamp: str = ""


class InventoryManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an inventory has.

    Attributes:
        source_bucket: The bucket that it lists.
        bucket: The bucket of its files.
        format: CSV, PARQUET or ORC.
        columns: Of CSV, in order, as ``_name`` has them.
        files: The data files.
        begun_unix_s: When S3 began to list; None where the manifest does not say.
    """

    source_bucket: str
    bucket: str
    format: str
    columns: tuple[str, ...]
    files: tuple[InventoryFile, ...]
    begun_unix_s: float | None


def read_manifest(name: str, content: bytes) -> InventoryManifest:
    """The manifest in ``content``; ``name`` is for messages.

    Raises:
        UsageError: It is no manifest of an inventory, or of a form that is not known.
    """
    try:
        read = msgspec.json.decode(content, type=_Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{name}: no manifest of an S3 Inventory: {error}", hint=_FILE_HINT) from error
    arn = _ARN.match(read.destination_bucket)
    if arn is None:
        raise UsageError(
            f"{name}: expected the ARN of a bucket in destinationBucket, found {read.destination_bucket!r}"
        )
    if read.file_format.upper() not in _FORMATS:
        raise UsageError(f"{name}: expected CSV, Parquet or ORC in fileFormat, found {read.file_format!r}")
    columns = tuple(map(_name, read.file_schema.split(","))) if read.file_format.upper() == "CSV" else ()
    if columns and not {"bucket", "key"} <= set(columns):
        raise UsageError(f"{name}: expected Bucket and Key in fileSchema, found {read.file_schema[:200]!r}")
    stamp = read.creation_timestamp
    return InventoryManifest(
        source_bucket=read.source_bucket,
        bucket=arn[1],
        format=read.file_format.upper(),
        columns=columns,
        files=tuple(read.files),
        begun_unix_s=int(stamp) / 1000 if stamp.isascii() and stamp.isdigit() and len(stamp) < 18 else None,
    )


def inventory_entries(name: str, stream: BinaryIO, manifest: InventoryManifest, prefix: str = "") -> Generator[Entry]:
    """The objects of one data file whose keys begin with ``prefix``.

    Args:
        name: For messages.
        stream: The file; Parquet and ORC are read anywhere in it.
        manifest: Of the inventory.
        prefix: Of the source.

    Raises:
        UsageError: The file cannot be read; the message names the line.
    """
    if manifest.format == "CSV":
        with unpacked(name, stream) as (_, plain):
            yield from _of_csv(name, plain, manifest, prefix)
        return
    head = beginning(stream, 4)
    if not is_arrow(head):
        raise UsageError(f"{name}: the file is no {manifest.format}")
    table = arrow_table(name, stream, head)
    by_name = {_name(column): column for column in table.names}
    if not {"bucket", "key"} <= by_name.keys():
        raise UsageError(f"{name}: expected columns bucket and key, found {', '.join(table.names[:20])}")
    wanted = [column for column in _WANTED if column in by_name]
    reader = _RowReader(wanted, manifest.source_bucket, prefix, is_encoded=False)
    for number, row in enumerate(table.rows([by_name[column] for column in wanted]), 1):
        if (found := reader.entry(f"{name}, row {number:,}", row)) is not None:
            yield found


def _of_csv(name: str, stream: BinaryIO, manifest: InventoryManifest, prefix: str) -> Generator[Entry]:
    width = len(manifest.columns)
    reader = _RowReader(manifest.columns, manifest.source_bucket, prefix, is_encoded=True)
    for where, row in csv_rows(name, stream):
        if len(row) != width:
            raise UsageError(f"{where}: expected {width} cells as in fileSchema, found {len(row)}")
        if (found := reader.entry(where, row)) is not None:
            yield found


class _RowReader:
    """Reads the rows of a data file.

    Args:
        columns: The names of the row's values, as ``_name`` has them.
        bucket: That the inventory lists; a row of another one is refused.
        prefix: Rows whose keys do not begin with it are left out.
        is_encoded: The keys are URL-encoded.
    """

    def __init__(self, columns: Sequence[str], bucket: str, prefix: str, *, is_encoded: bool) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._is_encoded = is_encoded
        at = {name: position for position, name in enumerate(columns)}
        self._at_bucket, self._at_key = at["bucket"], at["key"]
        self._at_latest, self._at_marker = at.get("islatest"), at.get("isdeletemarker")
        self._at_size, self._at_etag, self._at_class = at.get("size"), at.get("etag"), at.get("storageclass")

    def entry(self, where: str, row: Sequence[object]) -> Entry | None:
        """The entry of a row; None for an older version, a delete marker, and a key outside the prefix.

        Raises:
            UsageError: The row is of another bucket, or has no key.
        """
        if row[self._at_bucket] != self._bucket:
            raise UsageError(
                f"{where}: expected the bucket {self._bucket!r} of the manifest, "
                f"found {str(row[self._at_bucket])[:80]!r}"
            )
        if self._is_past(row):
            return None
        key = self._key(where, row[self._at_key])
        if not key.startswith(self._prefix):
            return None
        etag = "" if self._at_etag is None else str(row[self._at_etag] or "").strip('"')
        size_bytes = None if self._at_size is None else _size(where, row[self._at_size])
        storage_class = "" if self._at_class is None else str(row[self._at_class] or "")
        return Entry(where, None, key, size_bytes, etag, storage_class or "STANDARD")

    def _is_past(self, row: Sequence[object]) -> bool:
        """Whether a row is of a version that a listing does not have."""
        if self._at_latest is not None and _is(row[self._at_latest], "false"):
            return True
        return self._at_marker is not None and _is(row[self._at_marker], "true")

    def _key(self, where: str, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise UsageError(f"{where}: expected a key, found {str(value)[:80]!r}")
        key = _decoded(where, value) if self._is_encoded else value
        if len(key) > MAX_KEY_BYTES:
            raise UsageError(f"{where}: expected a key of at most {MAX_KEY_BYTES} bytes, found {len(key)} characters")
        return key


def _decoded(where: str, key: str) -> str:
    """A key without its URL encoding."""
    plain = key.replace("+", " ")
    if "%" not in plain:
        return plain
    try:
        return unquote_to_bytes(plain).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: the key {key[:200]!r} is not UTF-8 when it is decoded") from error


def _is(value: object, word: str) -> bool:
    """Whether a value is ``word``, as text in any case or as a boolean."""
    return value is not None and str(value).lower() == word


def _size(where: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        size_bytes = int(str(value))
    except ValueError as error:
        raise UsageError(f"{where}: expected a size in bytes, found {str(value)[:80]!r}") from error
    return size_bytes


def _name(column: str) -> str:
    """``e_tag``, ``ETag`` and ``etag`` are one column."""
    return re.sub(r"[^a-z0-9]", "", column.lower())
