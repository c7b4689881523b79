"""JSON as other programs write it: with NaN, halves of surrogate pairs, numbers of any size.

A line or a task that is not JSON costs this one alone. A large array is split without its objects being made, from a
file that is mapped and not loaded; only one that has such values is loaded as a whole, and may then be smaller.
"""

from __future__ import annotations

import io
import json
import mmap
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from asyncfilter.errors import UsageError

MAX_BYTES = 1024 * 1024 * 1024
"""Largest file that is read as one JSON value."""
MAX_LOADED_BYTES = 256 * 1024 * 1024
"""Largest one that is loaded: its objects take some ten times as much memory."""

BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n"

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class BadJsonValueError(Exception):
    """Bytes are not JSON; the message says why."""


class NotJson:
    """Stands for an element that is not JSON.

    Args:
        message: What is wrong.
    """

    def __init__(self, message: str) -> None:
        self.message = message


def json_value(content: bytes | memoryview) -> Any:  # noqa: ANN401  JSON
    """The value in some bytes.

    Raises:
        BadJsonValueError: They are not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(content) > MAX_LOADED_BYTES:
            raise BadJsonValueError("is not JSON that can be read in parts") from None
    try:
        return json.loads(bytes(content))
    except RecursionError as error:
        raise BadJsonValueError("is nested too deep") from error
    except json.JSONDecodeError as error:
        raise BadJsonValueError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise BadJsonValueError("is not UTF-8") from error
    except ValueError as error:  # a whole number with more digits than Python reads
        raise BadJsonValueError(f"is not JSON: {error}") from error


def array_elements(stream: BinaryIO) -> Iterator[Any]:
    """The elements of the JSON array in a stream; ``NotJson`` for one that is not JSON by itself.

    Raises:
        BadJsonValueError: The stream does not hold a JSON array.
        UsageError: It is too large.
    """
    content = whole_content(stream)
    try:
        elements = _ARRAY.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from _loaded(content)
        return
    for element in elements:
        try:
            yield json_value(memoryview(element))
        except BadJsonValueError as error:
            yield NotJson(str(error))


def whole_content(stream: BinaryIO) -> memoryview:
    """All bytes of a stream from its beginning, without a byte order mark; those of a file are mapped.

    Raises:
        UsageError: There are too many.
    """
    size_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size_bytes > MAX_BYTES:
        raise _too_large(size_bytes, MAX_BYTES)
    try:
        content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # no file, or an empty one
        content = memoryview(stream.read())
    return content[len(BOM) :] if content[: len(BOM)] == BOM else content


def _loaded(content: memoryview) -> list[Any]:
    if len(content) > MAX_LOADED_BYTES:
        raise _too_large(len(content), MAX_LOADED_BYTES)
    found = json_value(content)
    if not isinstance(found, list):
        raise BadJsonValueError("is not a JSON array")
    return found


def _too_large(size_bytes: int, most_bytes: int) -> UsageError:
    return UsageError(
        f"a JSON file of {size_bytes:,} bytes, of which at most {most_bytes:,} are read at once",
        hint="Give the tasks one a line (jq -c '.[]' FILE), or several smaller files.",
    )
