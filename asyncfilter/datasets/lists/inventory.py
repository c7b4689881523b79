"""S3 Inventory: its ``manifest.json``, and the entries of its data files in CSV, Parquet and ORC.

Keys are URL-encoded in CSV, a space as ``+``, and literal in Parquet and ORC (S3 user guide, *Amazon S3 Inventory
list*). Of an inventory of all versions only the latest ones count, without delete markers: those are what a listing
has. Rows are in no order.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from asyncfilter.datasets.lists.entries import decoded
from asyncfilter.datasets.lists.tables import MOST_BYTES, arrow_table, beginning, csv_cells, is_arrow, unpacked
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import MAX_KEY_BYTES
from asyncfilter.model import UNKNOWN_BYTES, ListedObject

MOST_MANIFEST_BYTES = 64 * 1024 * 1024
"""Largest manifest that is read: it has some 150 bytes for each data file."""

_ARN = re.compile(r"arn:[a-z-]+:s3:::([a-z0-9.-]+)\Z")
_FORMATS = {"CSV", "PARQUET", "ORC"}
_FILE_HINT = "Name the manifest.json of an S3 Inventory, s3://BUCKET/PREFIX/SOURCE-BUCKET/CONFIG-ID/DATE/manifest.json."
_TRUE, _FALSE = frozenset({True, "true", "True", "TRUE"}), frozenset({False, "false", "False", "FALSE"})
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
    creation_timestamp: str | int = ""


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: no manifest of an S3 Inventory: {error}", hint=_FILE_HINT) from error
    arn = _ARN.match(read.destination_bucket)
    if arn is None:
        raise UsageError(
            f"{name}: expected the ARN of a bucket in destinationBucket, found {read.destination_bucket[:200]!r}"
        )
    if read.file_format.upper() not in _FORMATS:
        raise UsageError(f"{name}: expected CSV, Parquet or ORC in fileFormat, found {read.file_format[:200]!r}")
    columns = tuple(map(_name, read.file_schema.split(","))) if read.file_format.upper() == "CSV" else ()
    if columns and not {"bucket", "key"} <= set(columns):
        raise UsageError(f"{name}: expected Bucket and Key in fileSchema, found {read.file_schema[:200]!r}")
    stamp = str(read.creation_timestamp)
    return InventoryManifest(
        source_bucket=read.source_bucket,
        bucket=arn[1],
        format=read.file_format.upper(),
        columns=columns,
        files=tuple(read.files),
        begun_unix_s=int(stamp) / 1000 if stamp.isascii() and stamp.isdigit() and len(stamp) < 18 else None,
    )


def inventory_objects(
    name: str, stream: BinaryIO, manifest: InventoryManifest, prefix: str = ""
) -> Generator[ListedObject]:
    """The objects of one data file whose keys begin with ``prefix``.

    Args:
        name: For messages.
        stream: The file; Parquet and ORC are read anywhere in it.
        manifest: Of the inventory.
        prefix: Of the source.

    Raises:
        UsageError: The file cannot be read; the message names the row.
    """
    if manifest.format == "CSV":
        with unpacked(name, stream) as (_, plain):
            reader = _RowReader(name, manifest.columns, manifest.source_bucket, prefix, is_encoded=True)
            yield from reader.objects(csv_cells(name, plain))
        return
    head = beginning(stream, 4)
    if not is_arrow(head):
        raise UsageError(f"{name}: the file is no {manifest.format}")
    table = arrow_table(name, stream, head)
    by_name = {_name(column): column for column in table.names}
    if not {"bucket", "key"} <= by_name.keys():
        raise UsageError(f"{name}: expected columns bucket and key, found {', '.join(table.names[:20])}")
    wanted = [column for column in _WANTED if column in by_name]
    reader = _RowReader(name, wanted, manifest.source_bucket, prefix, is_encoded=False)
    yield from reader.objects(table.rows([by_name[column] for column in wanted]))


class _RowReader:
    """Reads the rows of a data file; a million of them are read before the first image is paid for.

    Args:
        name: Of the file, for messages.
        columns: The names of the row's values, as ``_name`` has them.
        bucket: That the inventory lists; a row of another one is refused.
        prefix: Rows whose keys do not begin with it are left out.
        is_encoded: The keys are URL-encoded.
    """

    def __init__(self, name: str, columns: Sequence[str], bucket: str, prefix: str, *, is_encoded: bool) -> None:
        self._name = name
        self._width = len(columns)
        self._bucket = bucket
        self._prefix = prefix
        self._key_of = decoded if is_encoded else str
        at = {column: position for position, column in enumerate(columns)}
        self._at_bucket, self._at_key = at["bucket"], at["key"]
        flags = ((at.get("islatest"), _FALSE), (at.get("isdeletemarker"), _TRUE))
        self._past = [(position, values) for position, values in flags if position is not None]
        self._at_size, self._at_etag, self._at_class = at.get("size"), at.get("etag"), at.get("storageclass")

    def objects(self, rows: Iterable[Sequence[Any]]) -> Iterator[ListedObject]:
        """The objects of rows, without older versions, delete markers, and keys outside the prefix.

        Raises:
            UsageError: A row is of another bucket, or cannot be read.
        """
        for number, row in enumerate(rows, 1):
            try:
                found = self._object(row)
            except (ValueError, IndexError, UnicodeDecodeError) as error:
                raise UsageError(f"{self._name}, row {number:,}: {error}") from error
            if found is not None:
                yield found

    def _object(self, row: Sequence[Any]) -> ListedObject | None:
        if len(row) != self._width:
            raise ValueError(f"expected {self._width} cells as in fileSchema, found {len(row)}")
        if row[self._at_bucket] != self._bucket:
            raise ValueError(
                f"expected the bucket {self._bucket!r} of the manifest, found {str(row[self._at_bucket])[:80]!r}"
            )
        for position, values in self._past:
            if row[position] in values:
                return None
        key = self._key_of(row[self._at_key] or "")
        if not key.startswith(self._prefix):
            return None
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"expected a key of 1 to {MAX_KEY_BYTES} bytes, found {len(key)} characters")
        size = None if self._at_size is None else row[self._at_size]
        if size is None or size == "":
            return ListedObject(key, UNKNOWN_BYTES, "", self._class(row))
        if not 0 <= (size_bytes := int(size)) < MOST_BYTES:
            raise ValueError(f"expected a size in bytes, found {size_bytes}")
        etag = "" if self._at_etag is None else (row[self._at_etag] or "").strip('"')
        return ListedObject(key, size_bytes, etag, self._class(row))

    def _class(self, row: Sequence[Any]) -> str:
        return "STANDARD" if self._at_class is None else row[self._at_class] or "STANDARD"


def _name(column: str) -> str:
    """``e_tag``, ``ETag`` and ``etag`` are one column."""
    return re.sub(r"[^a-z0-9]", "", column.lower())
