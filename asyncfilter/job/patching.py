"""Changes of single numbers in a job file: every other byte of the file stays, comments and line ends too."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asyncfilter.errors import JobError, UsageError
from asyncfilter.job import yaml_positions
from asyncfilter.job.yaml_positions import Document, Path, Place, dotted
from asyncfilter.model import Verdict

_LINE = re.compile(r"(?:\r\n|[\n\r\x85\u2028\u2029])")
"""What ends a line for PyYAML, which counts the lines."""

_BOM = b"\xef\xbb\xbf"


class NumberChange(NamedTuple):
    """One number that is written in place of another.

    Attributes:
        path: Its key, such as ``rules[0].keep.confidence``.
        line: In the file, from 1.
        old: As it is written in the file.
        new: As it will be.
    """

    path: str
    line: int
    old: str
    new: str


class Patched(NamedTuple):
    """A job file with its changes.

    Attributes:
        changes: In the order of the file; without those that change nothing.
        content: The file with all of them.
    """

    changes: tuple[NumberChange, ...]
    content: bytes


def confidence_paths(document: Document, rule: int, verdict: Verdict) -> tuple[Path, ...]:
    """Where a rule has, or would have, the confidence of each of its conditions."""
    where: Path = ("rules", rule, verdict.value)
    conditions = _at(document.value, where)
    if isinstance(conditions, list):
        return tuple((*where, index, "confidence") for index in range(len(conditions)))
    return ((*where, "confidence"),)


def patched(content: bytes, file: str, wanted: Mapping[Path, float]) -> Patched:
    """A job file in which the numbers at some paths are others.

    Args:
        content: The file as it is.
        file: Its name in messages.
        wanted: The new numbers.

    Raises:
        JobError: The file is no YAML.
        UsageError: A number is not written in the file, or cannot be changed without another.
    """
    bom = _BOM if content.startswith(_BOM) else b""
    text = yaml_positions.decode(content, file)
    document = yaml_positions.read(text, file)
    found: list[tuple[int, int, NumberChange]] = []
    for path, number in wanted.items():
        start, change = _change(text, document, path, number_text(number))
        if _at(document.value, path) != number:
            found.append((start, start + len(change.old), change))
    found.sort()
    new = text
    for start, end, change in reversed(found):
        new = new[:start] + change.new + new[end:]
    _check_rest(document, new, file, wanted)
    return Patched(tuple(change for _, _, change in found), bom + new.encode())


def number_text(number: float) -> str:
    """A number as people write it: 72, 72.5."""
    return str(int(number)) if number == int(number) else repr(number)


def _change(text: str, document: Document, path: Path, new: str) -> tuple[int, NumberChange]:
    """The change at ``path``, and where its scalar starts in the text."""
    old = document.written.get(path)
    if old is None:
        raise UsageError(
            f"{document.files[0]}: {dotted(path)} is not written in the file, so that nothing can be put in its place",
            hint=f"Write it into the file with its present value, or use --set {dotted(path)}={new}.",
        )
    place = document.places[path]
    start = _offset(text, place)
    if text[start : start + len(old)] != old:
        raise _entangled(document, path, new)
    return start, NumberChange(dotted(path), place.line, old, new)


def _offset(text: str, place: Place) -> int:
    """Where a place is in the text."""
    start = 0
    for _ in range(place.line - 1):
        end = _LINE.search(text, start)
        if end is None:
            break
        start = end.end()
    return start + place.column - 1


def _check_rest(document: Document, new: str, file: str, wanted: Mapping[Path, float]) -> None:
    """Check that the new text says what was wanted, and otherwise what the old one says.

    Raises:
        UsageError: It does not: the number has an anchor, or is an alias.
    """
    expected = copy.deepcopy(document.value)
    for path, number in wanted.items():
        _at(expected, path[:-1])[path[-1]] = number
    try:
        found = yaml_positions.read(new, file).value
    except JobError:
        found = None
    if found != expected:
        path, number = next(iter(wanted.items()))
        raise _entangled(document, path, number_text(number))


def _entangled(document: Document, path: Path, new: str) -> UsageError:
    return UsageError(
        f"{document.files[0]}:{document.place(path).line}: {dotted(path)} has an anchor or is an alias, so that it "
        "cannot be changed alone",
        hint=f"Write a number of its own there, or use --set {dotted(path)}={new}.",
    )


def _at(value: Any, path: Sequence[str | int]) -> Any:  # noqa: ANN401  any value of a document
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value
