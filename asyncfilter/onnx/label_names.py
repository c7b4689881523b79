"""The names of a model's scores: a text file with one line a score, or ``id2label`` of a Hugging Face config.json."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.files import MAX_TEXT_BYTES, read_file

MAX_NAME = 1000
"""Most characters of a line."""

_COMMON_NAME = re.compile(r"(?P<latin>.+) \((?P<common>.+)\)")
_JSON = ".json"
_NUMBER = re.compile("[0-9]{1,8}")


class Name(NamedTuple):
    """The label of a score, and other names for it."""

    name: str
    aliases: tuple[str, ...] = ()


class LabelFile(NamedTuple):
    """A label file: the names in their order, empty where a line is, and the SHA-256 of the file in hex digits."""

    names: tuple[Name, ...]
    digest: str


def read_label_file(path: str) -> LabelFile:
    """The names in a file; of a file ``*.json`` those under ``id2label``.

    Raises:
        OwnModelError: It cannot be read, is not UTF-8, or has too long a line.
    """
    content = read_file(path, key="labels", most_bytes=MAX_TEXT_BYTES)
    lines = _in_json(content, path) if path.lower().endswith(_JSON) else _in_text(content, path)
    for number, line in enumerate(lines):
        if len(line) > MAX_NAME:
            raise OwnModelError("labels", f"{path}: the name of score {number} has over {MAX_NAME} characters")
    return LabelFile(tuple(read_name(line) for line in lines), hashlib.sha256(content).hexdigest())


def check_count(names: Sequence[Name], scores: int, *, labels: str, model: str) -> None:
    """Check that there is a name for each score.

    Raises:
        OwnModelError: There are more or fewer, or one is empty.
    """
    empty = [number for number, name in enumerate(names) if not name.name]
    if empty:
        which = f", of which {len(empty)} are empty (the first is number {empty[0] + 1})"
        message = f"{labels}: has {len(names)} labels{which}; {model} gives {scores} scores"
        raise OwnModelError("labels", message, hint="Write a name for each score.")
    if len(names) != scores:
        message = f"{labels}: has {len(names)} labels; {model} gives {scores} scores"
        raise OwnModelError("labels", message, hint="Name the label file that belongs to the model.")


def read_name(line: str) -> Name:
    """A label and its aliases from a line: ``tench, Tinca tinca``, or ``Aramus guarauna (Limpkin)``."""
    named = _COMMON_NAME.fullmatch(line.strip())
    parts = [named["common"], named["latin"]] if named else line.split(",")
    names = [name for part in parts if (name := label_name(part))]
    return Name(names[0], tuple(dict.fromkeys(names[1:]))) if names else Name("")


def label_name(text: str) -> str:
    """A name as a label: ``golden_retriever`` becomes ``Golden Retriever``, ``t-shirt`` ``T-Shirt``."""
    name = " ".join(word[:1].upper() + word[1:] for word in text.replace("_", " ").split())
    return "-".join(part[:1].upper() + part[1:] for part in name.split("-"))


def _in_text(content: bytes, path: str) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise OwnModelError("labels", f"{path}:{line}: expected text in UTF-8") from exc
    # Not ``splitlines``: a name may have characters that it takes for the end of a line.
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _in_json(content: bytes, path: str) -> list[str]:
    try:
        document: Any = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise OwnModelError("labels", f"{path}: expected JSON in UTF-8 ({exc})") from exc
    labels = document.get("id2label") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise OwnModelError("labels", f"{path}: expected id2label, as in config.json of Hugging Face, found none")
    by_number = {int(key): name for key, name in labels.items() if _NUMBER.fullmatch(key)}
    if sorted(by_number) != list(range(len(labels))):
        raise OwnModelError("labels", f"{path}: expected id2label with the numbers 0 to {len(labels) - 1}, each once")
    names = [by_number[number] for number in range(len(labels))]
    if not all(isinstance(name, str) for name in names):
        raise OwnModelError("labels", f"{path}: expected id2label with texts as names")
    return names
