"""Inventories as S3 writes them, and lists of keys, put into a sandbox or a folder."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from asyncfilter.sandbox import Sandbox

FOLDER = "inv/raw/daily/2026-11-27T01-00Z"
MANIFEST_URI = f"s3://lists/{FOLDER}/manifest.json"


class Listed(NamedTuple):
    """One row of an inventory."""

    key: str
    size: int | None = 1
    etag: str | None = "e"
    storage_class: str | None = "STANDARD"
    is_latest: bool = True
    is_marker: bool = False


SCHEMA = (
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
)


def csv_gz(rows: Iterable[Listed], columns: Sequence[str] = SCHEMA, bucket: str = "raw") -> bytes:
    """A data file in CSV, without a header, every cell in quotes, keys URL-encoded."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        cells = {
            "Bucket": bucket,
            "Key": quote_plus(row.key, safe="/"),
            "VersionId": "v1",
            "IsLatest": str(row.is_latest).lower(),
            "IsDeleteMarker": str(row.is_marker).lower(),
            "Size": "" if row.size is None else str(row.size),
            "LastModifiedDate": "2026-11-20T10:00:00.000Z",
            "ETag": row.etag or "",
            "StorageClass": row.storage_class or "",
        }
        writer.writerow([cells[name] for name in columns])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def arrow_bytes(rows: Iterable[Listed], *, is_orc: bool = False, bucket: str = "raw") -> bytes:
    """A data file in Parquet or ORC, keys literal."""
    import pyarrow as pa
    import pyarrow.orc as po
    import pyarrow.parquet as pq

    found = list(rows)
    table = pa.table(
        {
            "bucket": [bucket] * len(found),
            "key": [row.key for row in found],
            "version_id": ["v1"] * len(found),
            "is_latest": [row.is_latest for row in found],
            "is_delete_marker": [row.is_marker for row in found],
            "size": pa.array([row.size for row in found], pa.int64()),
            "e_tag": [row.etag for row in found],
            "storage_class": [row.storage_class for row in found],
        }
    )
    out = io.BytesIO()
    if is_orc:
        po.write_table(table, out)
    else:
        pq.write_table(table, out, compression="snappy")
    return out.getvalue()


def manifest_of(
    files: dict[str, bytes], *, format_: str = "CSV", schema: str = ", ".join(SCHEMA), **changed: Any
) -> bytes:
    """The ``manifest.json`` for data files by their keys."""
    content = {
        "sourceBucket": "raw",
        "destinationBucket": "arn:aws:s3:::lists",
        "version": "2016-11-30",
        "creationTimestamp": "1795741200000",
        "fileFormat": format_,
        "fileSchema": schema,
        "files": [
            {"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()} for key, body in files.items()
        ],
    } | changed
    return json.dumps(content, indent=2).encode()


def put_inventory(sandbox: Sandbox, files: dict[str, bytes], **options: Any) -> None:
    """Put an inventory into the bucket ``lists``, with its checksum."""
    manifest = manifest_of(files, **options)
    for key, body in files.items():
        sandbox.put("lists", key, body)
    sandbox.put("lists", f"{FOLDER}/manifest.json", manifest)
    sandbox.put("lists", f"{FOLDER}/manifest.checksum", hashlib.md5(manifest).hexdigest().encode())


def listed_in(sandbox: Sandbox, bucket: str = "raw") -> list[Listed]:
    """The rows of an inventory of a bucket of the sandbox, as it is now."""
    found = []
    for key in sandbox.keys(bucket):
        stored = sandbox.bucket(bucket).get(key)
        assert stored is not None
        found.append(Listed(key, len(stored.body), stored.etag.strip('"')))
    return found
