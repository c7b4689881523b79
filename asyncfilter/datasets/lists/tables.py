"""Files as rows: CSV, JSON Lines, plain text, Parquet and ORC, the text also compressed with gzip.

What a file holds is told by its first bytes and by its name. Reading is strict: a row that cannot be read ends it, with
its line, since a list is read whole before anything is paid for.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, cast

import msgspec

from asyncfilter.datasets.lists.arrow import ORC, PARQUET, ArrowTable
from asyncfilter.datasets.manifests.csv_table import CsvTable
from asyncfilter.datasets.manifests.physical_lines import MAX_HELD_BYTES, read_lines
from asyncfilter.errors import UsageError

MOST_BYTES = 2**63
"""Sizes are below it: what a checkpoint can store."""

GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_JSON_NAMES = (".jsonl", ".ndjson", ".json", ".jsonlines", ".manifest")
_TEXT_NAMES = (".txt", ".list")

Row = tuple[str, Mapping[str, object]]
"""Where a row is, for messages, and its values by the names of the columns."""


@contextmanager
def unpacked(name: str, stream: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """The bytes of a file without gzip, and its name without ``.gz``.

    Raises:
        UsageError: The compressed bytes are damaged or end too early, also while they are read inside the context.
    """
    stream.seek(0)
    magic = stream.read(len(GZIP))
    stream.seek(0)
    if magic != GZIP:
        yield name, stream
        return
    try:
        with gzip.GzipFile(fileobj=stream) as plain:
            yield name.removesuffix(".gz"), cast("BinaryIO", plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(
            f"{name}: the compressed file is damaged or incomplete: {error}", hint="Get the file again."
        ) from error


def beginning(stream: BinaryIO, size_bytes: int) -> bytes:
    """The first bytes of a stream, which is then at its start again."""
    found = stream.read(size_bytes)
    stream.seek(0)
    return found


def is_arrow(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is Parquet or ORC."""
    return head.startswith((PARQUET, ORC))


def is_json(name: str, head: bytes) -> bool:
    """Whether a file is JSON Lines, by its name or by its first character."""
    name = name.lower()
    if name.endswith(_JSON_NAMES):
        return True
    return not is_text(name) and head.removeprefix(_BOM).lstrip().startswith(b"{")


def is_text(name: str) -> bool:
    """Whether a file is plain text, a key or an address on each line."""
    return name.lower().endswith(_TEXT_NAMES)


def json_rows(name: str, stream: BinaryIO) -> Iterator[Row]:
    """The objects of JSON Lines; blank lines are passed over.

    Raises:
        UsageError: A line is no object.
    """
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for line in read_lines(stream):
        content = line.content.removeprefix(_BOM) if line.number == 1 else line.content
        if line.is_blank:
            continue
        where = f"{name}:{line.number}"
        if not line.is_whole:
            raise UsageError(f"{where}: the line is longer than {MAX_HELD_BYTES:,} bytes")
        try:
            yield where, decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                f"{where}: expected a JSON object: {error}", hint="Correct the line, or take it out of the list."
            ) from error


def text_lines(name: str, stream: BinaryIO) -> Iterator[tuple[str, str]]:
    """The lines of plain text without their ends; empty lines are passed over.

    Raises:
        UsageError: A line is not UTF-8.
    """
    for line in read_lines(stream):
        content = line.content.removeprefix(_BOM) if line.number == 1 else line.content
        if not content:
            continue
        try:
            yield f"{name}:{line.number}", content.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}:{line.number}: the text is not UTF-8", hint="Save it as UTF-8.") from error


def csv_cells(name: str, stream: BinaryIO) -> Iterator[list[str]]:
    """The rows of CSV, or of TSV by its name; of a blank line there are no cells.

    Raises:
        UsageError: The file is not UTF-8, or no CSV.
    """
    delimiter = "\t" if name.lower().endswith((".tsv", ".tab")) else ","
    return CsvTable(name, stream, delimiter=delimiter, quotes_hint="Correct the quotes of this line.").rows()


def csv_rows(name: str, stream: BinaryIO) -> Iterator[tuple[str, list[str]]]:
    """The rows of ``csv_cells``, each with where it is; blank lines are passed over."""
    for number, row in enumerate(csv_cells(name, stream), 1):
        if row:
            yield f"{name}:{number}", row


def arrow_table(name: str, stream: BinaryIO, head: bytes) -> ArrowTable:
    """A Parquet or ORC file.

    Raises:
        UsageError: It cannot be read.
    """
    return ArrowTable(name, stream, is_orc=head.startswith(ORC))
