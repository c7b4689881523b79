"""Groups of images with the same content, as JSON Lines or CSV."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from asyncfilter.datasets.exports.csv_lines import CsvLines, TextSink


class DuplicateGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Objects with the same bytes.

    Attributes:
        etag: The common ETag, of objects uploaded in one part; with the size it identifies the content.
        keys: In order of examination; the first was examined, or would be kept by ``duplicates: skip``.
    """

    etag: str
    size_bytes: int
    keys: list[str]


COLUMNS = ("group", "key", "size_bytes", "etag")


def write_groups_jsonl(groups: Iterable[DuplicateGroup], out: TextSink) -> int:
    """Write one line per group; returns the number of groups."""
    encode = msgspec.json.Encoder().encode
    lines = 0
    for group in groups:
        out.write(encode(group).decode() + "\n")
        lines += 1
    return lines


def write_groups_csv(groups: Iterable[DuplicateGroup], out: TextSink, *, is_spreadsheet: bool = False) -> int:
    """Write one line per key, with the number of its group from 1; returns the number of groups."""
    csv_lines = CsvLines(out, COLUMNS, is_spreadsheet=is_spreadsheet)
    number = 0
    for number, group in enumerate(groups, start=1):
        for key in group.keys:
            csv_lines.write((number, key, group.size_bytes, group.etag))
    return number
