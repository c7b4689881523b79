"""The list of keys of a job, for a sandbox that has the pictures of the job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from urllib.parse import quote_plus

from asyncfilter.datasets.lists import ListedPlace, list_entries
from asyncfilter.datasets.lists.tables import is_json, is_text
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import ListKind, ListSpec, SourceSpec
from asyncfilter.model import S3, location, uri_of
from asyncfilter.sandbox import DrawnSpec
from asyncfilter.wiring.list_files import opened_file


def keys_of_list(source: SourceSpec, number: int) -> list[str]:
    """The first keys of a list on this machine; none where the list is elsewhere, or there is none.

    Raises:
        UsageError: The list cannot be read.
    """
    listed = source.listed
    if listed is None or listed.address.startswith(S3):
        return []
    with opened_file(listed.address) as stream, closing(list_entries(listed.address, stream, listed.column)) as entries:
        return [found.key for found in islice(ListedPlace(source.bucket).objects(entries), number)]


def list_in_s3(source: SourceSpec, keys: Sequence[str]) -> Iterator[DrawnSpec]:
    """The list of a job that is in S3, with ``keys``; of an inventory, its manifest and one data file as text.

    Raises:
        UsageError: The list is of a form that is not text.
    """
    listed = source.listed
    if listed is None or not listed.address.startswith(S3):
        return
    bucket, key = location(listed.address)
    if listed.kind is ListKind.INVENTORY:
        yield from _inventory(source.bucket, bucket, key, keys)
    else:
        yield DrawnSpec(bucket, key, "", text=_text(listed, [uri_of(source.bucket, one) for one in keys]))


def _text(listed: ListSpec, uris: Sequence[str]) -> str:
    name = listed.address.removesuffix(".gz")
    if name.endswith((".parquet", ".orc")):
        raise UsageError(
            f"{listed.address}: a sandbox makes lists of text alone", hint="Put the list into it: --load BUCKET=FOLDER."
        )
    if is_json(name, b""):
        return "".join(f"{json.dumps({listed.column or 'source-ref': uri})}\n" for uri in uris)
    if is_text(name):
        return "".join(f"{uri}\n" for uri in uris)
    return "".join(f'"{uri.replace(chr(34), chr(34) * 2)}"\n' for uri in [listed.column or "uri", *uris])


def _inventory(source: str, bucket: str, key: str, keys: Sequence[str]) -> Iterator[DrawnSpec]:
    text = "".join(f'"{source}","{quote_plus(one, safe="/")}"\n' for one in keys)
    data = f"{key.removesuffix('manifest.json')}data.csv"
    body = text.encode()
    manifest = {
        "sourceBucket": source,
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "version": "2016-11-30",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key",
        "files": [
            {
                "key": data,
                "size": len(body),
                "MD5checksum": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            }
        ],
    }
    yield DrawnSpec(bucket, key, "", text=json.dumps(manifest, indent=2))
    yield DrawnSpec(bucket, data, "", text=text)
