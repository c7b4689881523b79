"""An S3 Inventory as the source of a run: what a run over it costs before and with its first images."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from asyncfilter.sandbox import LoadSpec
from asyncfilter.sandbox.synthetic import SyntheticKeys
from benchmarks.answers import PATTERN, RAW
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError

LISTS = "lists"
IMAGES = 20
"""Images that each run examines."""

FILE_KEYS = 100_000
"""Keys in one data file."""


def measure(bench: Bench) -> dict[str, Any]:
    """Processor time and peak memory of a run that examines the first images of an inventory, and of the next run."""
    return {"images": IMAGES, "by_keys": {str(keys): _run(bench, keys) for keys in bench.sizes.inventory}}


def _run(bench: Bench, keys: int) -> dict[str, Any]:
    inventory, folder = bench.new_folder(), bench.new_folder()
    write_inventory(inventory, keys)
    found: dict[str, Any] = {}
    with bench.sandbox(keys, load=(LoadSpec(LISTS, str(inventory)),)) as sandbox:
        for number, name in enumerate(("first", "resumed"), 1):
            job = {
                "version": 1,
                "name": "inventory",
                "source": {"inventory": f"s3://{LISTS}/manifest.json"},
                "rules": [{"keep": {"any": "Robin"}}],
                "limits": {"tps": 500, "max_images": IMAGES * number},
            }
            (folder / "job.yaml").write_text(yaml.safe_dump(job))
            ran = bench.run([sys.executable, "-m", "asyncfilter", "run", "job.yaml", "--json"], sandbox, folder)
            if json.loads(ran.stdout)["examined"] != IMAGES * number:
                raise BenchmarkError(f"not {IMAGES * number} images were examined: {ran.stdout[:500]}")
            found |= {f"{name}_cpu_s": round(ran.cpu_s, 2), f"{name}_peak_mb": ran.peak_mb}
    return found


def write_inventory(folder: Path, keys: int) -> None:
    """The inventory of computed objects, as CSV with rows in no order, some 100,000 of them in each file."""
    order = list(range(keys))
    random.Random(1).shuffle(order)
    files = []
    for number, start in enumerate(range(0, keys, FILE_KEYS)):
        body = gzip.compress(_rows(SyntheticKeys(keys, PATTERN), order[start : start + FILE_KEYS]), 6, mtime=0)
        (folder / f"{number}.csv.gz").write_bytes(body)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        files.append({"key": f"{number}.csv.gz", "size": len(body), "MD5checksum": digest})
    manifest = {
        "sourceBucket": RAW,
        "destinationBucket": f"arn:aws:s3:::{LISTS}",
        "version": "2016-11-30",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass",
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _rows(keys: Sequence[str], numbers: Sequence[int]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(_cells(keys, numbers))
    return out.getvalue().encode()


def _cells(keys: Sequence[str], numbers: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for number in numbers:
        yield RAW, keys[number], "123456", "2026-11-20T10:00:00.000Z", f"{number:032x}", "STANDARD"
