"""Which format a file of answers has, told from its beginning (``--format auto``)."""

from __future__ import annotations

import codecs
from enum import StrEnum
from itertools import islice
from typing import Any, BinaryIO

from asyncfilter.datasets.answers.json_values import BLANKS, BOM, BadJsonValueError, json_value, whole_content
from asyncfilter.datasets.answers.label_studio_files import ANNOTATIONS, first_bytes
from asyncfilter.datasets.manifests.model import SOURCE_REF
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.errors import UsageError


class AnswerFormat(StrEnum):
    """A format of answers."""

    JSONL = "jsonl"
    CSV = "csv"
    LABEL_STUDIO = "label-studio"
    GROUND_TRUTH = "ground-truth"


_MOST_LINES = 1_000
_OF_ROWS = frozenset({"reviewer", "verdict", "labels", "boxes", "undoes"})
_OF_RULES = frozenset({"rule_verdict"})
_HINT = "Name the format: --format jsonl, csv, label-studio or ground-truth."


def format_of(stream: BinaryIO) -> AnswerFormat:
    """The format of a file, which is left at its beginning.

    Raises:
        UsageError: It has none.
    """
    beginning = first_bytes(stream)
    found = AnswerFormat.CSV
    if not beginning:
        raise UsageError("the file is empty", hint=_HINT)
    if beginning.startswith(b"[") and (_is_of_objects(beginning) or _is_array(whole_content(stream))):
        found = AnswerFormat.LABEL_STUDIO
    elif beginning.startswith(b"{"):
        found = _of_objects(stream)
    elif not _is_text(beginning):
        raise UsageError("this is neither JSON nor CSV in UTF-8, or in UTF-16 with a byte order mark", hint=_HINT)
    stream.seek(0)
    return found


def _is_of_objects(beginning: bytes) -> bool:
    """Whether an array is one of objects, as far as its beginning shows; a key of CSV may begin with a bracket, too."""
    return beginning[1:].lstrip(BLANKS)[:1] in {b"{", b"]", b""}


def _is_array(content: memoryview) -> bool:
    try:
        return isinstance(json_value(content), list)
    except BadJsonValueError:
        return False


def _is_text(beginning: bytes) -> bool:
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return True


def _of_objects(stream: BinaryIO) -> AnswerFormat:
    """The format of a file of JSON objects, or of a single one."""
    for line in islice(read_lines(stream), _MOST_LINES):
        content = line.content.removeprefix(BOM) if line.number == 1 else line.content
        found = _of_object(content)
        if found is not None:
            return found
    found = _of_object(whole_content(stream))
    if found is None:
        raise UsageError("no line of this file is an answer in a known format", hint=_HINT)
    return found


def _of_object(content: bytes | memoryview) -> AnswerFormat | None:
    try:
        found: Any = json_value(content)
    except BadJsonValueError:
        return None
    if not isinstance(found, dict):
        return None
    if SOURCE_REF in found:
        return AnswerFormat.GROUND_TRUTH
    if "result" in found or any(name in found for name in ANNOTATIONS) or isinstance(found.get("data"), dict):
        return AnswerFormat.LABEL_STUDIO
    return AnswerFormat.JSONL if _is_row(found) else None


def _is_row(found: dict[str, Any]) -> bool:
    """Whether an object is a row of answers; lines of ``export`` have what the rules say, which nobody said."""
    return "key" in found and not found.keys() & _OF_RULES and bool(found.keys() & _OF_ROWS)
