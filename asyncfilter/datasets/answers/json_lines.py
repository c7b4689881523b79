"""Files of one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from asyncfilter.datasets.answers.json_values import BOM
from asyncfilter.datasets.manifests.json_object import BadJsonError, JsonLineReader
from asyncfilter.datasets.manifests.physical_lines import MAX_HELD_BYTES, read_lines


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | str | None]]:
    """The lines of a stream from its beginning, in flat memory.

    Yields:
        The number of the line, from 1, and its object; the reason where it is none, and None for a blank line.
    """
    reader = JsonLineReader()
    stream.seek(0)
    for line in read_lines(stream):
        content = line.content.removeprefix(BOM) if line.number == 1 else line.content
        if line.is_blank or not content:
            yield line.number, None
        elif not line.is_whole:
            yield line.number, f"has {line.size_bytes:,} bytes; {MAX_HELD_BYTES:,} are read"
        else:
            try:
                yield line.number, reader.read(content)
            except BadJsonError as error:
                yield line.number, str(error)
