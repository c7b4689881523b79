"""The files of a model: read within bounds, taken from its folder alone, and named by what they hold."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.onnx import files, wire
from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.files import read_model
from asyncfilter.onnx.label_names import Name, check_count, read_label_file, read_name
from asyncfilter.onnx.wire import WireError, scan
from tests.kit.onnx_models import COLOURS, colour_model, field, graph, model, node, tensor, varint, write_model


def with_weights(name: str) -> bytes:
    """A model whose weights are in the file ``name``."""
    return colour_model(COLOURS, location=name)


# -- Weights beside a model --------------------------------------------------------------------------------------------


def test_a_model_alone_is_named_by_its_bytes(tmp_path: Path) -> None:
    """The digest of a model without files of weights is that of the file."""
    body = colour_model(COLOURS)
    write_model(tmp_path, body)
    found = read_model(str(tmp_path / "m.onnx"))
    assert (found.body, found.external, found.digest) == (body, {}, hashlib.sha256(body).hexdigest())
    assert found.operators == {"Cast", "ReduceMean", "MatMul"}


def test_weights_belong_to_the_digest(tmp_path: Path) -> None:
    """A byte in a file of weights makes another model; so does the same content under another name."""
    digests = set()
    for name, content in (("w.bin", b"a" * 48), ("w.bin", b"b" * 48), ("v.bin", b"a" * 48)):
        write_model(tmp_path, with_weights(name))
        (tmp_path / name).write_bytes(content)
        found = read_model(str(tmp_path / "m.onnx"))
        assert list(found.external) == [name]
        digests.add(found.digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    "name",
    ["../w.bin", "a/../../w.bin", "/etc/passwd", "", ".", "a\\b", "*/_ORT_MEM_ADDR_/*", "x\0y"],
    ids=["up", "up inside", "absolute", "empty", "folder", "backslash", "memory", "null"],
)
def test_weights_are_taken_from_the_folder_alone(name: str, tmp_path: Path) -> None:
    """A name that leads elsewhere is refused, though the file may be there."""
    folder = tmp_path / "models"
    write_model(folder, with_weights(name))
    (tmp_path / "w.bin").write_bytes(b"w")
    with pytest.raises(OwnModelError, match=r"m\.onnx: names the file of weights .* not in the model's folder"):
        read_model(str(folder / "m.onnx"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A link inside of the folder is followed only where it stays there."""
    folder = tmp_path / "models"
    write_model(folder, with_weights("w.bin"))
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(OwnModelError, match="not in the model's folder"):
        read_model(str(folder / "m.onnx"))
    (folder / "real.bin").write_bytes(b"w" * 48)
    (folder / "w.bin").unlink()
    (folder / "w.bin").symlink_to(folder / "real.bin")
    assert list(read_model(str(folder / "m.onnx")).external) == ["w.bin"]


def test_a_model_behind_a_link_has_its_weights_beside_the_link(tmp_path: Path) -> None:
    """As in a cache of Hugging Face, whose names are links."""
    write_model(tmp_path / "blobs", with_weights("w.bin"))
    (tmp_path / "m.onnx").symlink_to(tmp_path / "blobs" / "m.onnx")
    (tmp_path / "w.bin").write_bytes(b"w" * 48)
    assert list(read_model(str(tmp_path / "m.onnx")).external) == ["w.bin"]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_weights_that_cannot_be_read_are_named(kind: str, tmp_path: Path) -> None:
    """The message has the model and the name in it."""
    write_model(tmp_path, with_weights("w.bin"))
    if kind == "folder":
        (tmp_path / "w.bin").mkdir()
    with pytest.raises(OwnModelError, match=r"m\.onnx: its file of weights w\.bin"):
        read_model(str(tmp_path / "m.onnx"))


def test_names_are_found_wherever_a_tensor_may_be() -> None:
    """In initializers, sparse ones, attributes, graphs inside of nodes, functions and training."""
    hidden = graph([], [], [], [tensor("t", (1,), location="graph")])
    sparse = field(1, tensor("v", (1,), location="values")) + field(2, tensor("i", (1,), location="indices"))
    nodes = [
        node("If", [], [], graph_then=hidden),
        node("Constant", [], [], value=tensor("c", (1,), location="attribute")),
    ]
    body = model(graph(nodes, [], [], []) + field(15, sparse))
    body += field(20, field(1, graph([], [], [], [tensor("t", (1,), location="training")])))
    body += field(25, field(7, node("Constant", [], [], value=tensor("f", (1,), location="function"))))
    seen = scan(body)
    assert seen.locations == {"graph", "values", "indices", "attribute", "training", "function"}
    assert seen.operators == {"If", "Constant"}


# -- Hostile models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no graph"),
        (b"<html>404</html>", ""),
        (b"ORTM" * 100, ""),
        (field(1, 8), "no graph"),
        (varint(7 << 3 | 2) + varint(1000) + b"cut", "cut off"),
        (varint(7 << 3 | 3), "unknown type 3"),
        (b"\xff" * 11, "more than 64 bits"),
        (varint(7 << 3 | 5) + b"ab", "cut off"),
        (varint(0 << 3 | 0) + b"\0", "without a number"),
    ],
)
def test_what_is_no_model_is_told(body: bytes, why: str, tmp_path: Path) -> None:
    """Whatever the bytes are, the message says that they are no model."""
    write_model(tmp_path, body)
    with pytest.raises(OwnModelError, match=f"not a model in ONNX format.*{why}"):
        read_model(str(tmp_path / "m.onnx"))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes lead to another error than that they are no model."""
    for content in (body, model(body)):
        with suppress(WireError):
            scan(content)


def test_depth_and_number_of_fields_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither graphs inside of graphs nor millions of empty fields take long."""
    deep = graph([], [], [], [])
    for _ in range(wire.MAX_DEPTH):
        deep = graph([node("If", [], [], graph_then=deep)], [], [], [])
    with pytest.raises(WireError, match="levels of graphs"):
        scan(model(deep))
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    with pytest.raises(WireError, match="over 1,000 fields"):
        scan(model(b"\x10\x00" * 1000))


def test_the_size_of_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large is not read; a pipe and a folder are no files."""
    write_model(tmp_path, colour_model(COLOURS))
    monkeypatch.setattr(files, "MAX_MODEL_BYTES", 10)
    with pytest.raises(OwnModelError, match="expected at most 10"):
        read_model(str(tmp_path / "m.onnx"))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(OwnModelError) as caught:
            read_model(str(path))
        assert caught.value.key == "model"


# -- Labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("tench, Tinca tinca", Name("Tench", ("Tinca Tinca",))),
        ("Aramus guarauna (Limpkin)", Name("Limpkin", ("Aramus Guarauna",))),
        ("  tiger_cat ", Name("Tiger Cat")),
        ("T-shirt", Name("T-Shirt")),
        ("a, , b, a, b", Name("A", ("B", "A"))),
        ("été", Name("Été")),
        (" , ", Name("")),
    ],
)
def test_lines_become_names(line: str, name: Name) -> None:
    """The first name of a class is the label, the others are its aliases."""
    assert read_name(line) == name


def test_a_text_file_has_a_name_a_line(tmp_path: Path) -> None:
    """Windows line ends and a byte order mark are no part of a name; a line separator of Unicode is."""
    path = tmp_path / "l.txt"
    path.write_bytes("\ufeffa\r\nb\u2028c\r\n".encode())
    assert [one.name for one in read_label_file(str(path)).names] == ["A", "B C"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a\nb\xff\n", r"l\.txt:2: expected text in UTF-8"),
        (b"a" * 1001, "score 0 has over 1000 characters"),
    ],
)
def test_a_wrong_text_file_is_told(content: bytes, why: str, tmp_path: Path) -> None:
    """The message has the place."""
    path = tmp_path / "l.txt"
    path.write_bytes(content)
    with pytest.raises(OwnModelError, match=why):
        read_label_file(str(path))


def test_labels_of_hugging_face_are_read_by_their_numbers(tmp_path: Path) -> None:
    """Whatever their order in the file."""
    path = tmp_path / "config.json"
    path.write_bytes(msgspec.json.encode({"id2label": {"1": "b", "0": "a, c", "2": "LABEL_2"}, "other": [1]}))
    assert read_label_file(str(path)).names == (Name("A", ("C",)), Name("B"), Name("LABEL 2"))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "expected id2label"),
        ([], "expected id2label"),
        ({"id2label": {}}, "expected id2label"),
        ({"id2label": {"1": "a"}}, "numbers 0 to 0"),
        ({"id2label": {"0": "a", "x": "b"}}, "numbers 0 to 1"),
        ({"id2label": {"0": "a", "00": "b"}}, "numbers 0 to 1"),
        ({"id2label": {"0": 1}}, "texts as names"),
    ],
)
def test_a_wrong_config_is_told(document: object, why: str, tmp_path: Path) -> None:
    """Each number has one name."""
    path = tmp_path / "config.json"
    path.write_bytes(msgspec.json.encode(document))
    with pytest.raises(OwnModelError, match=why):
        read_label_file(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"id2label": NaN}'])
def test_a_config_that_is_no_json_is_told(content: bytes, tmp_path: Path) -> None:
    """Also one that is nested deep."""
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(OwnModelError, match="expected JSON"):
        read_label_file(str(path))


def test_both_counts_are_told() -> None:
    """How many labels there are, and how many scores."""
    with pytest.raises(OwnModelError, match="l: has 2 labels; m gives 3 scores"):
        check_count([Name("A"), Name("B")], 3, labels="l", model="m")
    check_count([Name("A"), Name("B")], 2, labels="l", model="m")


@pytest.mark.parametrize("content", ["a\n\nb\n", "a\n\n", "\n", " , \nb"])
def test_an_empty_line_is_told_with_both_counts(content: str, tmp_path: Path) -> None:
    """Also at the end of the file, where it might be a slip: it could as well be a name that is missing."""
    path = tmp_path / "l.txt"
    path.write_text(content)
    names = read_label_file(str(path)).names
    with pytest.raises(OwnModelError, match=rf"has {len(names)} labels, of which 1 are empty .*; m gives 2 scores"):
        check_count(names, 2, labels=str(path), model="m")
