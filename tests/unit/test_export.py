"""Exports: every image, with any key, is one line that has all data of the checkpoint."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.datasets.exports.images import COLUMNS, write_csv, write_jsonl
from asyncfilter.model import ActionKind, Box, Decision, Detection, Failure, Instance, Label, Verdict
from asyncfilter.records.images import DoneEffect, StoredImage
from tests.kit.fuzzing import MIB

ROBIN = Detection(
    (
        Label("Robin", 98.34567, (Instance(Box(0.1, 0.2, 0.3, 0.4), 97.5),), ("Bird",), ("Redbreast",), ("Fauna",)),
        Label("Bird", 98.34567),
    ),
    "3.0",
    b'{\n "ImageProperties": {"Quality": 1}}',
)


def image(**changes: Any) -> StoredImage:
    """A kept and copied image."""
    fields: dict[str, Any] = {
        "id": 1,
        "seq": 7,
        "key": "birds/a b.jpg",
        "etag": "abc",
        "size_bytes": 12,
        "decision": Decision(Verdict.KEEP, 0, "Robin"),
        "detection": ROBIN,
        "effects": (DoneEffect(ActionKind.COPY, "s3://old/x"), DoneEffect(ActionKind.COPY, "s3://clean/x")),
    }
    return StoredImage(**{**fields, **changes})


def as_json(*images: StoredImage) -> list[dict[str, Any]]:
    """The rows of the JSON Lines, parsed."""
    out = io.StringIO()
    assert write_jsonl(images, out, bucket="raw") == len(images)
    lines = out.getvalue().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def as_csv(*images: StoredImage) -> list[dict[str, str]]:
    """The rows of the CSV, parsed."""
    out = io.StringIO(newline="")
    assert write_csv(images, out, bucket="raw") == len(images)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def test_json_holds_everything() -> None:
    """JSON has all labels with boxes, all effects, and the rest of the response."""
    (line,) = as_json(image())
    assert line == {
        "bucket": "raw",
        "key": "birds/a b.jpg",
        "uri": "s3://raw/birds/a b.jpg",
        "etag": "abc",
        "size_bytes": 12,
        "seq": 7,
        "verdict": "keep",
        "rule": 0,
        "label": "Robin",
        "error": None,
        "message": None,
        "effect": "copy",
        "target": "s3://clean/x",
        "model_version": "3.0",
        "labels": [
            {
                "name": "Robin",
                "confidence_pct": 98.34567,
                "instances": [{"box": {"left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}, "confidence_pct": 97.5}],
                "parents": ["Bird"],
                "aliases": ["Redbreast"],
                "categories": ["Fauna"],
            },
            {
                "name": "Bird",
                "confidence_pct": 98.34567,
                "instances": [],
                "parents": [],
                "aliases": [],
                "categories": [],
            },
        ],
        "effects": [{"kind": "copy", "target": "s3://old/x"}, {"kind": "copy", "target": "s3://clean/x"}],
        "extra": {"ImageProperties": {"Quality": 1}},
        "rule_verdict": None,
        "reviewed_by": None,
        "reviewed_at": None,
        "reviewed_labels": None,
        "reviewed_boxes": None,
    }


def test_what_is_not_there_is_null_or_empty() -> None:
    """A failed and a cached image have the same fields as any other."""
    bare = image(seq=None, decision=None, detection=None, effects=(), failure=Failure("vanished", "gone"))
    (line,), (row,) = as_json(bare), as_csv(bare)
    absent = ("seq", "verdict", "rule", "label", "effect", "target", "model_version", "labels")
    assert [line[name] for name in absent] == [None] * len(absent)
    assert [row[name] for name in absent] == [""] * len(absent)
    assert (line["error"], line["message"]) == (row["error"], row["message"]) == ("vanished", "gone")


def test_csv_has_one_cell_for_all_labels() -> None:
    """Labels are in the order of the response, with two decimals, readable and easy to split."""
    (row,) = as_csv(image())
    assert tuple(row) == COLUMNS
    assert row["labels"] == "Robin:98.35;Bird:98.35"
    assert (row["verdict"], row["rule"], row["target"]) == ("keep", "0", "s3://clean/x")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20))
def test_any_key_survives_both_formats(key: str) -> None:
    """Newlines, carriage returns, quotes, separators, control and astral characters."""
    one = image(key=key)
    assert as_json(one)[0]["key"] == key
    assert as_csv(one)[0]["key"] == key


def test_lines_are_written_as_they_come() -> None:
    """Lines are not collected: an export of any length takes the memory of a few lines."""

    class NullFile:
        def write(self, text: str, /) -> None:
            """Discard the text."""

    def many(count: int) -> Iterator[StoredImage]:
        return (image(id=id_) for id_ in range(count))

    peaks = []
    for count in (100, 20_000):
        tracemalloc.start()
        write_jsonl(many(count), NullFile(), bucket="raw")
        write_csv(many(count), NullFile(), bucket="raw")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + MIB  # what other tests have left to the collector is some hundred kB
