"""``manifest merge``: counts, conflicts, unions, and lines that cannot take part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import SandboxOptions, SandboxProcess
from tests.kit.manifests import D, box, box_line, box_metadata, encoded, image_line, label_metadata, ref, size
from tests.kit.workspace import Workspace


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """No command here needs it."""
    with SandboxProcess(SandboxOptions()) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, name: str, *documents: object) -> list[bytes]:
    """A manifest in the folder; returns its lines."""
    lines = [(document if isinstance(document, bytes) else encoded(document)) + b"\n" for document in documents]
    (workspace.folder / name).write_bytes(b"".join(lines))
    return lines


def merged(workspace: Workspace, *arguments: str) -> tuple[dict[str, Any], list[bytes]]:
    """The counts of a merge that succeeds, and the lines."""
    code, out, err = workspace.here("manifest", "merge", *arguments, "-o", "out", "--json", "--yes")
    assert (code, err) == (0, "")
    return json.loads(out), (workspace.folder / "out").read_bytes().splitlines(keepends=True)


def test_the_last_line_holds(workspace: Workspace) -> None:
    """Lines come in the order of first appearance, byte for byte."""
    one = write(
        workspace,
        "a",
        image_line("Robin", source_ref=ref(1)),
        image_line("Wren", source_ref=ref(2)),
        {"source-ref": ref(3)},
    )
    two = write(
        workspace,
        "b",
        image_line("Crow", source_ref=ref(4)),
        image_line("Wren", "Robin", source_ref=ref(2)),
        b" " + one[0][:-1],
        one[2][:-1],
    )
    counts, lines = merged(workspace, "a", "b")
    assert lines == [two[2], two[1], one[2], two[0]]
    assert counts == {
        "inputs": [
            {"file": "a", "lines": 3, "images": 3, "blank": 0, "rejected": 0},
            {"file": "b", "lines": 4, "images": 4, "blank": 0, "rejected": 0},
        ],
        "lines": 4,
        "added": 1,
        "replaced": 2,
        "unchanged": 1,
        "rejected": 0,
        "output": "out",
    }
    counts, lines = merged(workspace, "a", "b", "--on-conflict", "first")
    assert lines == [*one, two[0]]
    assert (counts["added"], counts["replaced"], counts["unchanged"]) == (1, 0, 3)


def test_fail(workspace: Workspace) -> None:
    """Different lines for an image end the command; equal ones do not."""
    one = write(workspace, "a", image_line("Robin", source_ref=ref(1)))
    write(workspace, "b", one[0][:-1], image_line("Wren", source_ref=ref(2)))
    assert merged(workspace, "a", "b", "--on-conflict", "fail")[0]["lines"] == 2
    write(workspace, "c", image_line("Wren", source_ref=ref(1)))
    code, out, err = workspace.here("manifest", "merge", "a", "b", "c", "--on-conflict", "fail")
    assert (code, out) == (1, "")
    assert "CONFLICTING_LINES: a:1, b:1 and c:1 differ" in err


def test_union_of_labels(workspace: Workspace) -> None:
    """All labels of both, each once, renumbered; metadata and other members stay."""
    first = image_line("Robin", "Wren", source_ref=ref(1)) | {"extra": 1}
    second = {"source-ref": ref(1), "tag": 1, "tag-metadata": label_metadata("Wren", confidence=0.5)}
    second |= {"tag2": 3, "tag2-metadata": label_metadata("Crow", confidence=0.5)}
    write(workspace, "a", first, {"source-ref": ref(2)})
    write(workspace, "b", second, image_line("Robin", source_ref=ref(2)))
    counts, lines = merged(workspace, "a", "b", "--on-conflict", "union")
    assert counts["replaced"] == 2
    crow = {"label2": 3, "label2-metadata": label_metadata("Crow", confidence=0.5)}
    assert list(json.loads(lines[0]).items()) == list((without_extra(first) | crow | {"extra": 1}).items())
    assert json.loads(lines[1]) == image_line("Robin", source_ref=ref(2))


def test_union_of_what_utf_8_cannot_hold(workspace: Workspace) -> None:
    """Half a surrogate pair in a label, and a number of more than 64 bits beside it, are taken over."""
    write(workspace, "a", json.dumps(image_line("Robin\ud83d", source_ref=ref(1)) | {"extra": 2**70}).encode())
    write(workspace, "b", json.dumps(image_line("Wren", source_ref=ref(1))).encode())
    _, lines = merged(workspace, "a", "b", "--on-conflict", "union")
    line = json.loads(lines[0])
    assert (line["label0-metadata"]["class-name"], line["label1-metadata"]["class-name"]) == ("Robin\ud83d", "Wren")
    assert line["extra"] == 2**70


def without_extra(line: D) -> D:
    """A copy without ``extra``."""
    return {name: value for name, value in line.items() if name != "extra"}


def test_union_of_boxes(workspace: Workspace) -> None:
    """Equal boxes once; class ids keep their labels apart."""
    one = box_line(box(1), box(2, class_id=1)) | {"source-ref": ref(1)}
    metadata = box_metadata(3, **{"class-map": {"0": "Wren", "1": "Crow"}, "human-annotated": "yes"})
    two = box_line(box(2), box(2, class_id=1), box(3), metadata=metadata) | {"source-ref": ref(1)}
    write(workspace, "a", one)
    write(workspace, "b", two)
    _, (line,) = merged(workspace, "a", "b", "--on-conflict", "union")
    found = json.loads(line)
    assert found["boxes"]["annotations"] == [box(1), box(2, class_id=1), box(2, class_id=2), box(3, class_id=1)]
    assert found["boxes-metadata"]["class-map"] == {"0": "Robin", "1": "Wren", "2": "Crow"}
    assert len(found["boxes-metadata"]["objects"]) == 4
    assert found["boxes-metadata"]["human-annotated"] == "no"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (box_line(image_size=size(800, 600)), "IMAGE_SIZE_MISMATCH"),
        (box_line(*[box(left) for left in range(50)]), "ERROR_TOO_MANY_BOUNDING_BOXES"),
        (image_line(label0="x"), "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT"),
    ],
)
def test_lines_that_cannot_be_united(workspace: Workspace, other: D, code: str) -> None:
    """Nothing is written, and the places are told."""
    write(workspace, "a", box_line(box(600, width=9)) | {"source-ref": ref(1)})
    write(workspace, "b", other | {"source-ref": ref(1)})
    found, out, err = workspace.here("manifest", "merge", "a", "b", "--on-conflict", "union", "-o", "out")
    assert (found, out, (workspace.folder / "out").exists()) == (1, "", False)
    assert f"{code}: a:1 and b:1 cannot be united" in err


def test_lines_that_are_left_out(workspace: Workspace) -> None:
    """Each is told; the others are written; exit 1. Blank lines are counted alone."""
    good = write(workspace, "a", image_line(), b"", b"{", {"source-ref": "x"})
    code, out, err = workspace.here("manifest", "merge", "a", "-o", "out", "--json")
    assert code == 1
    assert json.loads(out)["inputs"] == [{"file": "a", "lines": 4, "images": 1, "blank": 1, "rejected": 2}]
    assert (workspace.folder / "out").read_bytes() == good[0]
    assert "a:3: left out: ERROR_INVALID_JSON_LINE" in err
    assert "a:4: left out: ERROR_INVALID_SOURCE_REF_FORMAT" in err


def test_several_buckets_and_no_line(workspace: Workspace) -> None:
    """Exit 1, nothing is written."""
    write(workspace, "a", image_line())
    write(workspace, "b", image_line(source_ref=ref(1, bucket="others")))
    write(workspace, "c", b"")
    for names, expected in ((("a", "b"), "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"), (("c",), "ERROR_EMPTY_MANIFEST")):
        code, _, err = workspace.here("manifest", "merge", *names, "-o", "out")
        assert (code, (workspace.folder / "out").exists()) == (1, False)
        assert expected in err


def test_output(workspace: Workspace) -> None:
    """Stdout by default; an existing file is a question; an input may be the output; ``--json`` needs a file."""
    (line,) = write(workspace, "a", image_line())
    done = workspace("manifest", "merge", "a", "a")
    assert (done.returncode, done.stdout) == (0, line.decode())
    assert done.stderr == "1 images: 0 added, 0 replaced, 1 unchanged\n"
    assert workspace.here("manifest", "merge", "a", "-o", "a")[0] == 130
    assert workspace.here("manifest", "merge", "a", "-o", "a", "--yes")[0] == 0
    assert (workspace.folder / "a").read_bytes() == line
    assert workspace.here("manifest", "merge", "a", "--json")[0] == 2
    assert workspace.here("manifest", "merge", "none")[0] == 2


@pytest.mark.parametrize(
    "command",
    [
        ("merge", "none", "-o", "out"),
        ("split", "none", "--train", "out", "--test", "out2"),
        ("convert", "none", "--from", "custom-labels", "--to", "sagemaker-multilabel", "-o", "out"),
        ("from-csv", "none.csv", "--s3-path", "s3://bucket/", "-o", "out"),
        ("from-folders", "folder", "--s3-path", "s3://bucket/", "-o", "out"),
    ],
    ids=lambda command: command[0],
)
def test_the_object_of_json_is_there_where_nothing_was_written(workspace: Workspace, command: tuple[str, ...]) -> None:
    """Exit code 1 has an object on stdout, in which the error stands."""
    write(workspace, "none")
    (workspace.folder / "none.csv").write_text("image,label\na.jpg,\n")
    (workspace.folder / "folder").mkdir()
    code, out, err = workspace.here("manifest", *command, "--json")
    found = json.loads(out)
    assert (code, found["error"]["code"]) == (1, "ERROR_EMPTY_MANIFEST"), err
    assert {found.get("output"), found.get("train_file")} == {None}
    assert not (workspace.folder / "out").exists()
    if command[0] == "from-csv":
        assert (found["rejected"], found["rejected_file"]) == (1, "out-errors.csv")
