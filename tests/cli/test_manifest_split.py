"""``manifest split``: two files, groups, equal images, lines that cannot be used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import box, box_line, encoded, image_line, ref
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

BUCKET = "pictures"
SIDES = ("--train", "train", "--test", "test")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One bucket."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec(BUCKET),))) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, *documents: object, name: str = "all") -> list[bytes]:
    """A manifest in the folder; returns its lines."""
    lines = [(document if isinstance(document, bytes) else encoded(document)) + b"\n" for document in documents]
    (workspace.folder / name).write_bytes(b"".join(lines))
    return lines


def birds(number: int = 20) -> list[Any]:
    """Two labels, alternately, with addresses that are always the same."""
    return [image_line("Robin" if index % 2 else "Wren", source_ref=ref(index)) for index in range(number)]


def split(workspace: Workspace, *arguments: str) -> tuple[Any, list[bytes], list[bytes]]:
    """The counts of a split that succeeds, and the lines of both sides."""
    code, out, err = workspace.here("manifest", "split", "all", *SIDES, *arguments, "--json", "--yes")
    assert (code, err) == (0, "")
    sides = [(workspace.folder / name).read_bytes().splitlines(keepends=True) for name in ("train", "test")]
    return json.loads(out), sides[0], sides[1]


def test_both_sides(workspace: Workspace) -> None:
    """Each line is in one file, byte for byte and in order; equal seeds give equal files."""
    lines = write(workspace, *birds(), {"source-ref": ref(50)})
    counts, train, test = split(workspace)
    assert counts == {
        "train": 17,
        "test": 4,
        "labels": {"Wren": {"train": 8, "test": 2}, "Robin": {"train": 8, "test": 2}},
        "groups": 0,
        "ungrouped": 21,
        "rejected": 0,
        "undivided": [],
        "one_sided": [],
        "train_file": "train",
        "test_file": "test",
    }
    assert [line for line in lines if line in train] == train
    assert [line for line in lines if line in test] == test
    assert sorted(train + test) == sorted(lines)
    assert lines[-1] in train
    assert split(workspace)[1:] == (train, test)
    assert split(workspace, "--seed", "1")[1:] != (train, test)
    assert len(split(workspace, "--test-share", "0.5")[2]) == 10


def test_boxes_count_as_labels(workspace: Workspace) -> None:
    """A label of boxes is divided like one of images."""
    write(workspace, *birds(), *[box_line(box(class_id=1), box()) for _ in range(10)])
    assert split(workspace)[0]["labels"]["Robin"] == {"train": 16, "test": 4}


def test_groups(workspace: Workspace) -> None:
    """Images of a group are on one side; a header is passed over."""
    lines = write(workspace, *birds())
    rows = ["source-ref,group", *(f"{ref(index)},g{index // 4}" for index in range(16)), ""]
    (workspace.folder / "groups.csv").write_text("\ufeff" + "\n".join(rows))
    counts, train, test = split(workspace, "--groups", "groups.csv")
    assert (counts["groups"], counts["ungrouped"]) == (4, 4)
    for first in range(0, 16, 4):
        assert len({line in train for line in lines[first : first + 4]}) == 1
    assert test


def test_a_label_in_one_group(workspace: Workspace) -> None:
    """It is told, and no error."""
    write(workspace, *birds(), *(image_line("Crow", source_ref=ref(index)) for index in range(60, 63)))
    (workspace.folder / "g.csv").write_text("".join(f"{ref(index)},g\n" for index in range(60, 63)))
    done = workspace("manifest", "split", "all", *SIDES, "--groups", "g.csv")
    assert done.returncode == 0
    assert "all images of 'Crow' are in one group" in done.stderr
    assert done.stdout.startswith("19 train, 4 test (17.4 %)\n  1 groups; 20 images in none\n")


def test_groups_of_other_images_are_told(workspace: Workspace) -> None:
    """Rows that name no image keep nothing together: some are told, and a table of nothing else is refused."""
    write(workspace, *birds())
    table = workspace.folder / "g.csv"
    table.write_text(f"image,group\n{ref(0)},a\n{ref(1)},a\n2.jpg,a\n{ref(99)},b\n")
    done = workspace("manifest", "split", "all", *SIDES, "--groups", "g.csv")
    assert (done.returncode, done.stderr) == (0, "--groups g.csv: rows that name no image of the manifest: 2\n")
    before = [(workspace.folder / name).read_bytes() for name in ("train", "test")]
    table.write_text("image,group\n0.jpg,a\n1.jpg,a\n")
    done = workspace("manifest", "split", "all", *SIDES, "--groups", "g.csv", "--yes")
    assert done.returncode == 2
    assert "none of its rows names an image" in done.stderr
    assert [(workspace.folder / name).read_bytes() for name in ("train", "test")] == before


@pytest.mark.parametrize("text", ["a\n", "a,b,c\n", "a,\n", 'a,"b\n', b"\xff,b"])
def test_bad_groups(workspace: Workspace, text: str | bytes) -> None:
    """Exit 2."""
    write(workspace, *birds())
    (workspace.folder / "g.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, err = workspace.here("manifest", "split", "all", *SIDES, "--groups", "g.csv")
    assert code == 2
    assert "--groups g.csv: " in err


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "."])
def test_groups_are_a_regular_file(workspace: Workspace, name: str) -> None:
    """Exit 2 at once: a device may have no end, and a pipe no writer."""
    write(workspace, *birds())
    os.mkfifo(workspace.folder / "pipe")
    code, _, err = workspace.here("manifest", "split", "all", *SIDES, "--groups", name)
    assert code == 2
    assert f"--groups {name}: " in err


def test_equal_files_do_not_part(workspace: Workspace) -> None:
    """Files are found under the key, or the end of it; what is not there is told."""
    lines = [
        image_line("Robin" if index % 2 else "Wren", source_ref=f"s3://{BUCKET}/a/b/{index}.jpg") for index in range(20)
    ]
    written = write(workspace, *lines)
    folder = workspace.folder / "images" / "b"
    folder.mkdir(parents=True)
    for index in range(19):
        (folder / f"{index}.jpg").write_bytes(b"%d" % (index // 6))
    code, out, err = workspace.here("manifest", "split", "all", *SIDES, "--images", "images", "--json")
    assert (code, json.loads(out)["groups"]) == (0, 3)
    assert "1 of 20 images are not there" in err
    train = (workspace.folder / "train").read_bytes()
    for first in range(0, 18, 6):
        assert len({line in train for line in written[first : first + 6]}) == 1


def test_equal_objects_do_not_part(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """ETag and size say what is equal."""
    lines = write(workspace, *birds(12))
    with boto_client(sandbox, "s3") as client:
        for index in range(12):
            client.put_object(Bucket=BUCKET, Key=f"{index:07d}.jpg", Body=b"%d" % (index // 4))
    counts, train, _ = split(workspace, "--images", f"s3://{BUCKET}/", "--test-share", "0.4")
    assert (counts["groups"], counts["ungrouped"]) == (3, 0)
    for first in range(0, 12, 4):
        assert len({line in train for line in lines[first : first + 4]}) == 1


def test_invalid_lines(workspace: Workspace) -> None:
    """Exit 1 and nothing is written, unless they may be left out; a repeated address always ends the command."""
    lines = write(workspace, *birds(), b"{", b"", image_line(label0="x"))
    code, out, err = workspace.here("manifest", "split", "all", *SIDES)
    assert (code, out, (workspace.folder / "train").exists()) == (1, "", False)
    assert "ERROR_INVALID_JSON_LINE: line 21 cannot be used" in err
    counts, train, test = split(workspace, "--skip-invalid")
    assert (counts["rejected"], len(train) + len(test)) == (3, 20)
    write(workspace, *birds(), lines[0][:-1])
    code, _, err = workspace.here("manifest", "split", "all", *SIDES, "--skip-invalid", "--yes")
    assert code == 1
    assert "REPEATED_SOURCE_REF: line 21: " in err


def test_nothing_to_divide(workspace: Workspace) -> None:
    """Exit 1."""
    for lines in ([b""], [image_line()], [{"source-ref": ref(1)}, {"source-ref": ref(2)}]):
        write(workspace, *lines)
        code, _, err = workspace.here("manifest", "split", "all", *SIDES, "--skip-invalid")
        assert (code, (workspace.folder / "train").exists()) == (1, False)
        assert "ERROR_EMPTY_MANIFEST" in err


def test_usage(workspace: Workspace) -> None:
    """Exit 2 for what cannot be meant; 130 for files that are there."""
    write(workspace, *birds())
    for arguments in (
        (*SIDES, "--test-share", "1"),
        (*SIDES, "--test-share", "nan"),
        ("--train", "x", "--test", "./x"),
        ("--train", "-", "--test", "x"),
        ("--train", "x"),
        (*SIDES, "--images", "none"),
        (*SIDES, "--groups", "none"),
    ):
        assert workspace.here("manifest", "split", "all", *arguments)[0] == 2
    (workspace.folder / "test").write_text("kept")
    assert workspace.here("manifest", "split", "all", *SIDES)[0] == 130
    assert (workspace.folder / "test").read_text() == "kept"
