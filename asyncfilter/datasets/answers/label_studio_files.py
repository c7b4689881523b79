"""Files of Label Studio: an array of tasks, a single one, or one a line; or annotations with their tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from asyncfilter.datasets.answers.json_values import (
    BLANKS,
    BOM,
    BadJsonValueError,
    NotJson,
    array_elements,
    json_value,
    whole_content,
)
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.errors import UsageError

ANNOTATIONS = ("annotations", "completions")
"""Members of a task that have its annotations; the second is that of older versions."""
_TASK_MEMBERS = frozenset({"data", "result", *ANNOTATIONS})


def tasks_of(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The elements of a file, numbered from 1.

    Raises:
        UsageError: It is no JSON, or not that of tasks.
    """
    beginning = first_bytes(stream)
    if beginning.startswith(b"["):
        yield from _array(stream)
    elif beginning.startswith(b"{"):
        single = _single(stream)
        if single is not None:
            _check_single(single)
            yield 1, single
        else:
            yield from _lines(stream)
    else:
        raise UsageError("this is no JSON of Label Studio", hint=_EXPORT_JSON)


_EXPORT_JSON = "Export the project from Label Studio as JSON."


def first_bytes(stream: BinaryIO) -> bytes:
    """Some bytes at the beginning of a stream, which stays there: after a byte order mark and blanks."""
    stream.seek(0)
    beginning = stream.read(64 * 1024)
    stream.seek(0)
    return beginning.removeprefix(BOM).lstrip(BLANKS)


def _array(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    try:
        for number, element in enumerate(array_elements(stream), start=1):
            if number == 1:
                _check_flat(element)
            yield number, element
    except BadJsonValueError as error:
        raise UsageError(f"the file {error}", hint="Export it again; a part of it may be missing.") from error


def _check_flat(element: object) -> None:
    """Check that the first element of an array is not one of the flat export, JSON-MIN.

    Raises:
        UsageError: It is.
    """
    if isinstance(element, dict) and not element.keys() & _TASK_MEMBERS:
        raise UsageError(
            "this is not the JSON of tasks: it may be Label Studio's JSON-MIN, which leaves out whose answers they are",
            hint="Export the project as JSON, not JSON-MIN.",
        )
    if not isinstance(element, dict | NotJson):
        raise UsageError(f"this is an array whose first element is {kind_of(element)}, not a task", hint=_EXPORT_JSON)


def _single(stream: BinaryIO) -> dict[str, Any] | None:
    """The one object that a stream holds; None where it holds several, or none."""
    content = whole_content(stream)
    first = bytes(content[: 1024 * 1024]).split(b"\n", 1)
    if len(first) == 2 and first[1].strip(BLANKS):
        try:
            json_value(first[0])
        except BadJsonValueError:
            pass
        else:
            return None  # one a line
    try:
        found = json_value(content)
    except BadJsonValueError:
        return None
    return found if isinstance(found, dict) else None


def _check_single(element: dict[str, Any]) -> None:
    """Check that an object is a task or an annotation.

    Raises:
        UsageError: It is neither.
    """
    if not element.keys() & _TASK_MEMBERS:
        raise UsageError("this is no task of Label Studio: it has neither annotations nor a result", hint=_EXPORT_JSON)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    held: list[tuple[int, Any]] = []
    stream.seek(0)
    has_task = False
    for line in read_lines(stream):
        content = line.content.removeprefix(BOM) if line.number == 1 else line.content
        if not content.strip(BLANKS):
            continue
        element = _line_value(content, is_whole=line.is_whole)
        if not has_task and not (isinstance(element, dict) and element.keys() & _TASK_MEMBERS):
            held.append((line.number, element))
            if len(held) > _MOST_HELD:
                break
            continue
        if not has_task:
            has_task = True
            yield from held
        yield line.number, element
    if not has_task:
        raise UsageError("no line of this file is a task of Label Studio", hint=_EXPORT_JSON)


_MOST_HELD = 1_000
"""Lines that are read before one of them has to be a task."""


def _line_value(content: bytes, *, is_whole: bool) -> Any:  # noqa: ANN401  JSON
    if not is_whole:
        return NotJson("is too long")
    try:
        return json_value(content)
    except BadJsonValueError as error:
        return NotJson(str(error))
