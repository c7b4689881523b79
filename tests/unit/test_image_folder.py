"""Image folders: a loader that decides types by the first lines reads all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from asyncfilter.datasets.exports.image_folder import ImageFolderWriter
from asyncfilter.datasets.exports.pictures import ObjectColumns, PictureRecord
from tests.kit.pictures import plain

NOTHING = ObjectColumns(bbox=[], categories=[], confidence_pct=[])
BOX = ObjectColumns(bbox=[(1, 2, 3, 4)], categories=["Robin"], confidence_pct=[90.5])


def record(key: str, **changes: Any) -> PictureRecord:
    """A record in which everything is empty that can be."""
    fields: dict[str, Any] = {"width": None, "height": None, "label": None, "labels": [], "confidences_pct": []}
    fields |= {"uri": key, "etag": "a", "size_bytes": 1, "verdict": "keep", "objects": NOTHING}
    return PictureRecord(key=key, **fields | changes)


def written(folder: Path, records: Sequence[PictureRecord]) -> list[str]:
    """Write an image folder; the keys of its lines."""
    folder.mkdir()
    with ImageFolderWriter(folder) as writer:
        for seq, one in enumerate(records, start=1):
            writer.write(seq, "jpg", one, plain())
    lines = (folder / "metadata.jsonl").read_text().split("\n")
    assert lines.pop() == ""
    return [json.loads(line)["key"] for line in lines]


LATE = {
    "label": record("label", label="Robin"),
    "size": record("size", width=8, height=8),
    "labels": record("labels", labels=["Bird"], confidences_pct=[90.0]),
    "objects": record("objects", labels=["Bird"], confidences_pct=[90.0], objects=BOX),
}


def test_types_that_come_late_are_seen_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``datasets`` reads ten megabytes before it decides, and finds no type there without this."""
    long = [record(f"{number}{'x' * 3_000_000}") for number in range(5)]
    found = written(tmp_path / "folder", [*long[:4], LATE["label"], LATE["objects"], long[4], LATE["size"]])
    assert found == ["label", "objects", "size", *(one.key for one in long)]
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    rows = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folder"), cache_dir=str(tmp_path / "cache"))
    by_key = {row["key"]: row for row in rows["train"]}
    assert by_key["objects"]["objects"]["bbox"] == [[1, 2, 3, 4]]
    assert (by_key["label"]["label"], by_key["size"]["width"]) == ("Robin", 8)


@pytest.mark.parametrize("name", LATE)
def test_only_what_is_late_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lines are in the order of examination otherwise, and none is lost."""
    monkeypatch.setattr("asyncfilter.datasets.exports.image_folder.EARLY_BYTES", 0)
    plain_ones = [record(str(number)) for number in range(4)]
    assert written(tmp_path / "late", [*plain_ones[:3], LATE[name], plain_ones[3]]) == [name, "0", "1", "2", "3"]
    assert written(tmp_path / "never", plain_ones) == ["0", "1", "2", "3"]
    monkeypatch.undo()
    assert written(tmp_path / "early", [*plain_ones[:3], LATE[name], plain_ones[3]]) == ["0", "1", "2", name, "3"]
