"""``manifest from-folders``: folders and buckets become lines, and everything else is accounted for."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import MOMENT
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

CLOTHING = Path(__file__).parents[3] / "shared/data/photos/clothing"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One bucket."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("pictures"),))) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def line(source_ref: str, label: str) -> str:
    """The line that the contract has for an image with one label."""
    return (
        f'{{"source-ref":"{source_ref}","label0":1,"label0-metadata":{{"class-name":"{label}","confidence":1,'
        f'"type":"groundtruth/image-classification","job-name":"labeling-job/label","human-annotated":"yes",'
        f'"creation-date":"{MOMENT}"}}}}\n'
    )


def fill(folder: Path, *names: str) -> None:
    """Files of one byte."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def from_folder(workspace: Workspace, *more: str) -> tuple[int, str, str]:
    """Run it over the folder ``src``."""
    return workspace.here(
        *("manifest", "from-folders", "src", "--s3-path", "s3://pictures/in/", "--creation-date", MOMENT, *more)
    )


def test_a_folder_byte_for_byte(workspace: Workspace) -> None:
    """The label is the first folder, verbatim; deeper ones do not matter; UTF-8 order; any case of extensions."""
    fill(
        workspace.folder / "src", "Wren é/deep/deeper/b c.PNG", "Robin/a.jpg", "Robin/ü%20.JPEG", "Robin/n.txt", "t.jpg"
    )
    (workspace.folder / "src/Robin/empty.jpg").touch()
    (workspace.folder / "src/Robin/link.jpg").symlink_to("a.jpg")
    (workspace.folder / "src/dir").symlink_to("Robin")
    code, out, err = from_folder(workspace)
    assert code == 0, err
    assert out == (
        line("s3://pictures/in/Robin/a.jpg", "Robin")
        + line("s3://pictures/in/Robin/ü%20.JPEG", "Robin")
        + line("s3://pictures/in/Wren é/deep/deeper/b c.PNG", "Wren é")
    )
    assert from_folder(workspace)[1] == out
    code, out, _ = from_folder(workspace, "-o", "a.manifest", "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "lines": 3,
            "images": 3,
            "labels": {"Robin": 2, "Wren é": 1},
            "boxes": 0,
            "skipped": {"empty": 1, "link": 2, "not_included": 1, "unlabelled": 1},
            "duplicates": 0,
            "rejected": 0,
            "output": "a.manifest",
            "duplicates_file": None,
            "rejected_file": None,
        },
    )
    assert sorted(path.name for path in workspace.folder.glob("a*")) == ["a.manifest"]


def test_a_bucket(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """A slash that is missing is added, so that a prefix is a folder; keys are raw; markers of folders are skipped."""
    keys = (
        "birds/Robin/1.jpg",
        "birds/Robin/a+b %.png",
        "birds/Wren/",
        "birds/top.jpg",
        "birds2/Owl/1.jpg",
        "birds//x.jpg",
    )
    with boto_client(sandbox, "s3") as s3:
        for key in keys:
            s3.put_object(Bucket="pictures", Key=key, Body=b"" if key.endswith("/") else b"x")
    command = ("manifest", "from-folders", "s3://pictures/birds", "--creation-date", MOMENT)
    code, out, err = workspace.here(*command)
    assert code == 0, err
    assert out == line("s3://pictures/birds/Robin/1.jpg", "Robin") + line(
        "s3://pictures/birds/Robin/a+b %.png", "Robin"
    )
    found = workspace.json(*command, "-o", "b.manifest")
    assert found["skipped"] == {"folder": 1, "unlabelled": 2}
    assert workspace.here(*command, "--s3-path", "s3://pictures/x")[0] == 2
    assert workspace.here("manifest", "from-folders", "s3://none-such/")[0] == 4


@pytest.mark.parametrize(
    ("choice", "code", "lines", "rejected"), [("skip", 0, 1, 0), ("keep", 0, 2, 0), ("error", 1, 1, 1)]
)
def test_unlabelled(workspace: Workspace, choice: str, code: int, lines: int, rejected: int) -> None:
    """Files right at the source: left out, bare lines, or rejected."""
    fill(workspace.folder / "src", "Robin/a.jpg", "t.jpg")
    found, out, _ = from_folder(workspace, "--unlabelled", choice, "-o", "a.manifest", "--json")
    assert (found, json.loads(out)["lines"], json.loads(out)["rejected"]) == (code, lines, rejected)
    text = (workspace.folder / "a.manifest").read_text()
    assert ('{"source-ref":"s3://pictures/in/t.jpg"}\n' in text) is (choice == "keep")
    errors = workspace.folder / "a-errors.csv"
    assert (errors.read_bytes() == b"s3://pictures/in/t.jpg,NO_LABEL\r\n") if rejected else not errors.exists()


def test_labels_that_cannot_be_used(workspace: Workspace) -> None:
    """Over 255 characters (S3 alone has them), unknown to ``--classes``, and names that are not UTF-8."""
    fill(workspace.folder / "src", "Robin/a.jpg", "Wren/a.jpg")
    (workspace.folder / "classes.txt").write_text("Robin\n")
    Path(os.fsdecode(os.fsencode(workspace.folder) + b"/src/Robin/\xff.jpg")).write_bytes(b"x")
    code, _, err = from_folder(workspace, "-o", "a.manifest", "--classes", "classes.txt")
    assert code == 1
    assert "rejected: 2, in a-errors.csv" in err
    with (workspace.folder / "a-errors.csv").open(newline="") as stream:
        assert [row[1] for row in csv.reader(stream)] == ["NAME_NOT_UTF8", "UNKNOWN_CLASS"]


def test_a_long_label_is_rejected(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """255 characters are taken, 256 are not."""
    with boto_client(sandbox, "s3") as s3:
        for length in (255, 256):
            s3.put_object(Bucket="pictures", Key=f"long/{'x' * length}/1.jpg", Body=b"x")
    code, _, _ = workspace.here("manifest", "from-folders", "s3://pictures/long/", "-o", "a.manifest")
    assert code == 1
    assert (workspace.folder / "a.manifest").read_bytes().count(b"\n") == 1
    assert (workspace.folder / "a-errors.csv").read_text().strip().endswith(",LABEL_TOO_LONG")


def test_nothing_to_write(workspace: Workspace) -> None:
    """Exit 1 with the code, and no manifest; what there was stays."""
    fill(workspace.folder / "src", "t.jpg")
    code, out, err = from_folder(workspace, "-o", "a.manifest")
    assert (code, out) == (1, "")
    assert err.startswith("error: ERROR_EMPTY_MANIFEST: there is no line to write (1 unlabelled)")
    assert not (workspace.folder / "a.manifest").exists()
    fill(workspace.folder, "a.manifest")
    assert from_folder(workspace, "-o", "a.manifest", "--yes")[0] == 1
    assert (workspace.folder / "a.manifest").read_bytes() == b"x"


def test_an_existing_file_is_a_question(workspace: Workspace) -> None:
    """No terminal and no ``--yes``: exit 130, untouched."""
    fill(workspace.folder / "src", "Robin/a.jpg")
    fill(workspace.folder, "a.manifest")
    code, _, err = from_folder(workspace, "-o", "a.manifest")
    assert (code, (workspace.folder / "a.manifest").read_bytes()) == (130, b"x")
    assert "--yes" in err
    assert from_folder(workspace, "-o", "a.manifest", "--yes")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("src",),
        ("none", "--s3-path", "s3://pictures/x"),
        ("src", "--s3-path", "pictures"),
        ("src", "--s3-path", "s3://pictures", "--json"),
        ("src", "--s3-path", "s3://pictures", "--attribute", "x-metadata"),
        ("src", "--s3-path", "s3://pictures", "--unlabelled", "drop"),
        ("s3://A_B/x",),
    ],
)
def test_usage(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    """Exit 2, before anything is written."""
    fill(workspace.folder / "src", "Robin/a.jpg")
    code, out, err = workspace.here("manifest", "from-folders", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_include(workspace: Workspace) -> None:
    """Globs of the user replace the default."""
    fill(workspace.folder / "src", "Robin/a.jpg", "Robin/b.JPG", "Robin/c.webp", "Wren/a.jpg")
    found = json.loads(
        from_folder(workspace, "--include", "robin/*.jpg", "--include", "*.webp", "-o", "a", "--json")[1]
    )
    assert (found["lines"], found["skipped"]) == (3, {"not_included": 1})


def test_local_work_needs_no_account(workspace: Workspace) -> None:
    """Neither credentials nor a network."""
    fill(workspace.folder / "src", "Robin/a.jpg")
    workspace.env = {name: value for name, value in workspace.env.items() if not name.startswith("AWS")}
    workspace.env |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
    assert from_folder(workspace)[0] == 0


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."}
)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(
        st.tuples(st.lists(NAMES, max_size=2), NAMES, st.sampled_from([".jpg", ".PNG", ".txt", ""])), max_size=8
    )
)
def test_every_file_is_accounted_for(sandbox: SandboxProcess, names: list[tuple[list[str], str, str]]) -> None:
    """Files = lines + skipped + rejected, whatever their names; all lines are of one form."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), sandbox)
        source = workspace.folder / "src"
        source.mkdir()
        written = set()
        for folders, name, extension in names:
            try:
                fill(source, "/".join([*folders, name + extension]))
            except OSError:
                continue
            written.add("/".join([*folders, name + extension]))
        code, out, err = from_folder(workspace, "-o", "a.manifest", "--json")
        if code == 1 and "ERROR_EMPTY_MANIFEST" in err:
            assert not any("/" in name and name.lower().endswith((".jpg", ".png")) for name in written)
            return
        found: dict[str, Any] = json.loads(out)
        assert found["lines"] + sum(found["skipped"].values()) + found["rejected"] == len(written)
        lines = (workspace.folder / "a.manifest").read_bytes().split(b"\n")[:-1]
        refs = {json.loads(one)["source-ref"].removeprefix("s3://pictures/in/") for one in lines}
        assert refs == {name for name in written if "/" in name and name.lower().endswith((".jpg", ".png"))}


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="needs ../shared/data/photos/clothing")
def test_real_folders(workspace: Workspace) -> None:
    """150 photographs in ten folders become a manifest without a finding of severity error."""
    code, out, err = workspace.here(
        *("manifest", "from-folders", str(CLOTHING), "--s3-path", "s3://pictures/c", "-o", "c.manifest", "--json")
    )
    assert code == 0, err
    found = json.loads(out)
    assert (found["lines"], set(found["labels"].values()), len(found["labels"])) == (150, {15}, 10)
    assert workspace.here("manifest", "validate", "c.manifest")[0] == 0
