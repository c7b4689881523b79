"""A manifest as an import uses it: what the service will do with each line, and batches of whole lines.

A line costs one byte and its part of the index of addresses, however long it is.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from asyncfilter.datasets.manifests.codes import CODES, Consequence
from asyncfilter.datasets.manifests.line_checks import CheckedLine
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex

MAX_BATCH_BYTES = 5_000_000
"""Most bytes of one update: the service takes 5 MiB (Rekognition API reference, DatasetChanges)."""

NOT_IN_DATASET = "NOT_IN_DATASET"
"""The code for a line that no rule explains and that the dataset lacks all the same."""

BLANK = "BLANK_LINE"
_WHITE = b" \t\r\n"
_PIECE_BYTES = 1024 * 1024
_NUMBERS = {code: number for number, code in enumerate(CODES, start=1)}
_NAMES = {number: code for code, number in _NUMBERS.items()}


@dataclass(slots=True)
class LineFates:
    """What the service will do with the lines of a manifest, as far as its rules say."""

    _dropped: array[int] = field(default_factory=lambda: array("B"))

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self._dropped)

    def add(self, checked: CheckedLine) -> None:
        """Note the next line."""
        code = 0
        if checked.is_blank:
            code = _NUMBERS[BLANK]
        elif checked.is_dropped:
            code = next((_NUMBERS[found.code] for found in checked.findings if found.effect is Consequence.DROPPED), 0)
        self._dropped.append(code)

    def dropped(self, number: int) -> str | None:
        """Why the service drops a line; None when it does not."""
        return _NAMES.get(self._dropped[number - 1])


class LineBatch(NamedTuple):
    """Whole lines that are sent together; ``end`` is the offset in the file behind the last of them."""

    content: bytes
    end: int


def batches(stream: BinaryIO, fates: LineFates, start: int) -> Iterator[LineBatch]:
    """The lines from an offset on in batches; lines that the service would drop are left out.

    White space around a line is left out, too: the pattern of an entry in the API has none.

    Args:
        stream: The manifest.
        fates: Of its lines.
        start: Where a line begins, bytes from the beginning.
    """
    stream.seek(0)
    content, end = bytearray(), start
    for line in read_lines(stream):
        if line.offset < start:
            continue
        if fates.dropped(line.number) is None:
            entry = line.content.strip(_WHITE) + b"\n"
            if content and len(content) + len(entry) > MAX_BATCH_BYTES:
                yield LineBatch(bytes(content), end)
                content = bytearray()
            content += entry
        end = line.offset + line.size_bytes
    if content:
        yield LineBatch(bytes(content), end)


class MissingLine(NamedTuple):
    """A line that the dataset lacks: its number, its address where it has one, and why."""

    line: int
    source_ref: str | None
    code: str


class PresentLines:
    """Which lines of a manifest are in a dataset.

    Args:
        refs: The addresses of the lines that are not dropped, with their numbers.
        lines: How many lines there are.
    """

    def __init__(self, refs: RefIndex, lines: int) -> None:
        self._refs = refs
        self._present = bytearray(lines + 1)

    def add(self, source_ref: str) -> None:
        """Note an entry of the dataset; others than those of the manifest have no effect."""
        self._present[self._refs.find(source_ref)] = 1

    def add_all(self) -> None:
        """Note that all lines are there that the service does not drop."""
        self._present = bytearray(b"\x01" * len(self._present))

    def missing(self, stream: BinaryIO, fates: LineFates) -> Iterator[MissingLine]:
        """The lines that the dataset lacks, in order; blank ones are none."""
        stream.seek(0)
        for line in read_lines(stream):
            dropped = fates.dropped(line.number)
            if dropped == BLANK or (dropped is None and self._present[line.number]):
                continue
            yield MissingLine(line.number, source_ref_of(line.content), dropped or NOT_IN_DATASET)


def source_ref_of(content: bytes | str) -> str | None:
    """The address of an entry; None where it has none that can be read."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    found = document.get("source-ref") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None


def source_refs_at(stream: BinaryIO, numbers: Collection[int | None]) -> dict[int, str | None]:
    """The addresses in these lines of a manifest, by their numbers."""
    stream.seek(0)
    return {line.number: source_ref_of(line.content) for line in read_lines(stream) if line.number in numbers}


def digest_of(stream: BinaryIO) -> str:
    """SHA-256 of a whole stream, as hexadecimal digits."""
    stream.seek(0)
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
