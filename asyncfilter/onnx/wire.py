"""What a model in ONNX format refers to, read from its protocol buffer without decoding its weights.

A tensor may have its values in another file, which it names relative to the model. onnxruntime would open whatever is
named; so the names are read first (``onnx/onnx.proto`` of the ONNX project has the numbers of the fields).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAX_DEPTH = 64
"""Most levels of graphs inside of nodes."""

MAX_FIELDS = 5_000_000
"""Most fields that are read; models have some thousands."""

_GRAPH = 7
_OPERATOR_BYTES = 100
_LOCATION = "location"
_KINDS: Mapping[str, Mapping[int, str]] = {
    "model": {_GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Kinds of messages: in which of their fields there may be a tensor or an operator, and of what kind that field is."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not those of a model."""


class _Field(NamedTuple):
    number: int
    content: memoryview | None
    """Of a field with a length; None for a number."""


class _Count:
    """Fields read so far."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def one(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError(f"over {MAX_FIELDS:,} fields")


class Seen(NamedTuple):
    """What a model refers to.

    Attributes:
        locations: Files of weights; usually none.
        operators: Names of the operators that it uses.
    """

    locations: set[str]
    operators: set[str]


def scan(model: bytes) -> Seen:
    """What a model refers to, read from its bytes.

    Raises:
        WireError: It is no model.
    """
    seen = Seen(set(), set())
    with memoryview(model) as whole:
        has_graph = _walk(whole, "model", seen, _Count(), depth=0)
    if not has_graph:
        raise WireError("it has no graph")
    return seen


def _walk(content: memoryview, kind: str, seen: Seen, count: _Count, *, depth: int) -> bool:
    """Collect the names in one message; whether a model has a graph."""
    if depth > MAX_DEPTH:
        raise WireError(f"over {MAX_DEPTH} levels of graphs")
    has_graph = False
    inner = _KINDS[kind]
    for field in _fields(content, count):
        below = inner.get(field.number)
        if below is None or field.content is None:
            continue
        has_graph = has_graph or field.number == _GRAPH
        if below == "entry":
            seen.locations.update(_named(field.content, count))
        elif below == "operator":
            seen.operators.add(bytes(field.content[:_OPERATOR_BYTES]).decode("utf-8", "replace"))
        else:
            _walk(field.content, below, seen, count, depth=depth + 1)
    return has_graph


def _named(entry: memoryview, count: _Count) -> Iterator[str]:
    """The file that an entry of ``external_data`` names, if it does."""
    texts = {field.number: field.content for field in _fields(entry, count) if field.content is not None}
    if bytes(texts.get(1, b"")) == _LOCATION.encode():
        try:
            yield bytes(texts.get(2, b"")).decode()
        except UnicodeDecodeError as exc:
            raise WireError("the name of a file of weights is not UTF-8") from exc


def _fields(content: memoryview, count: _Count) -> Iterator[_Field]:
    at, end = 0, len(content)
    while at < end:
        count.one()
        tag, at = _varint(content, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise WireError("a field without a number")
        if wire == _BYTES:
            length, at = _varint(content, at)
            if length > end - at:
                raise WireError("it is cut off")
            yield _Field(number, content[at : at + length])
            at += length
        else:
            at = _behind_number(content, at, wire)
            yield _Field(number, None)


def _behind_number(content: memoryview, at: int, wire: int) -> int:
    if wire == _VARINT:
        return _varint(content, at)[1]
    if wire not in {_FIXED64, _FIXED32}:
        raise WireError(f"a field of the unknown type {wire}")
    at += 8 if wire == _FIXED64 else 4
    if at > len(content):
        raise WireError("it is cut off")
    return at


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise WireError("it is cut off")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("a number of more than 64 bits")
