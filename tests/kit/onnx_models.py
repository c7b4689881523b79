"""Small models in ONNX format, written byte by byte (``onnx/onnx.proto`` has the numbers of the fields)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

FLOAT, UINT8, INT64, FLOAT16 = 1, 2, 7, 10
"""Types of tensors."""

_BYTES = 2
Shape = Sequence[int | str]


def varint(value: int) -> bytes:
    """A number in the form of protocol buffers."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: int | bytes | str) -> bytes:
    """One field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def tensor(name: str, dims: Sequence[int], values: Sequence[float] = (), *, location: str | None = None) -> bytes:
    """A tensor of float32: with its values, or in the file ``location``."""
    head = b"".join(field(1, dim) for dim in dims) + field(2, FLOAT) + field(8, name)
    if location is None:
        return head + field(9, struct.pack(f"<{len(values)}f", *values))
    return head + field(13, field(1, "location") + field(2, location)) + field(14, 1)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: object) -> bytes:
    """A node; attributes are numbers, lists of numbers, tensors or graphs in bytes (``graph_`` first in their name)."""
    body = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    body += field(4, op) + field(7, domain)
    return body + b"".join(field(5, _attribute(name, value)) for name, value in attributes.items())


def _attribute(name: str, value: object) -> bytes:
    if isinstance(value, int):
        return field(1, name) + field(3, value & (2**64 - 1)) + field(20, 2)
    if isinstance(value, bytes):
        is_graph = name.startswith("graph_")
        return field(1, name) + field(6 if is_graph else 5, value) + field(20, 5 if is_graph else 4)
    assert isinstance(value, Sequence)
    return field(1, name) + b"".join(field(8, one & (2**64 - 1)) for one in value) + field(20, 7)


def value(name: str, kind: int, shape: Shape) -> bytes:
    """An input or an output."""
    dims = b"".join(field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))


def graph(nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], tensors: Sequence[bytes]) -> bytes:
    """A graph."""
    return (
        b"".join(field(1, one) for one in nodes)
        + field(2, "g")
        + b"".join(field(5, one) for one in tensors)
        + b"".join(field(11, one) for one in inputs)
        + b"".join(field(12, one) for one in outputs)
    )


def model(body: bytes, *, opset: int = 13) -> bytes:
    """A model with a graph."""
    return field(1, 8) + field(7, body) + field(8, field(1, "") + field(2, opset))


def colour_model(
    weights: Sequence[Sequence[float]],
    *,
    shape: Shape = ("N", 8, 8, 3),
    kind: int = UINT8,
    ends_in: str | None = None,
    location: str | None = None,
) -> bytes:
    """A classifier: the mean of each channel, times ``weights`` (a row a channel, a column a class).

    Args:
        weights: Three rows.
        shape: Of its input; 3 at the end, or in the second place.
        kind: Type of its input.
        ends_in: An operator after the weights, such as ``Softmax``.
        location: File of its weights; None to have them in the model.
    """
    axes = [2, 3] if shape[1] == 3 or shape[1] == "C" else [1, 2]
    classes = len(weights[0])
    flat = [one for row in weights for one in row]
    last = "raw" if ends_in else "scores"
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("ReduceMean", ["numbers"], ["means"], axes=axes, keepdims=0),
        node("MatMul", ["means", "w"], [last]),
        *([node(ends_in, ["raw"], ["scores"])] if ends_in else []),
    ]
    return model(
        graph(
            nodes,
            [value("image", kind, shape)],
            [value("scores", FLOAT, (shape[0], classes))],
            [tensor("w", (3, classes), flat, location=location)],
        )
    )


def pixel_model(width: int, height: int, *, kind: int = FLOAT, is_first: bool = True, count: int | str = "N") -> bytes:
    """A model whose scores are what it is given: one a number, in their order."""
    shape: Shape = (count, 3, height, width) if is_first else (count, height, width, 3)
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("Flatten", ["numbers"], ["scores"]),
    ]
    size = 3 * width * height
    return model(graph(nodes, [value("image", kind, shape)], [value("scores", FLOAT, (count, size))], []))


COLOURS = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.1))
"""Weights of a model whose scores are the mean of red, green and blue, and a tenth of that of blue."""

COLOUR_NAMES = "ruby, red stone\ngrass_green\nAzurum caeruleum (sky blue)\nfog\n"
"""Their labels."""


def write_model(folder: Path, body: bytes, labels: str = COLOUR_NAMES, **files: bytes) -> Mapping[str, str]:
    """Write ``m.onnx``, ``l.txt`` and other files into a folder; the keys of ``detector`` for them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.onnx").write_bytes(body)
    (folder / "l.txt").write_text(labels, "utf-8")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return {"kind": "onnx", "model": str(folder / "m.onnx"), "labels": str(folder / "l.txt")}
