"""Paths that no file and no folder can have are usage errors, whichever option names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncfilter.sandbox import SandboxProcess
from tests.kit.manifests import box_line, encoded, image_line
from tests.kit.workspace import Workspace

TOO_LONG = "x" * 300


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Two manifests, a CSV file, and a folder of pictures; nothing here asks a service."""
    folder = tmp_path_factory.mktemp("paths")
    with SandboxProcess() as sandbox:
        yield Workspace(folder, sandbox)


@pytest.fixture(autouse=True)
def inputs(workspace: Workspace) -> None:
    """What the commands read."""
    folder = workspace.folder
    (folder / "a.csv").write_text("s3://pictures/a.jpg,Robin\n")
    (folder / "a.manifest").write_bytes(encoded(image_line("Robin")) + b"\n")
    (folder / "b.manifest").write_bytes(encoded(box_line()) + b"\n")
    (folder / "birds" / "Robin").mkdir(parents=True, exist_ok=True)
    (folder / "birds" / "Robin" / "a.jpg").write_bytes(b"a")


@pytest.mark.parametrize("name", ["", ".", "..", "/", TOO_LONG])
@pytest.mark.parametrize(
    "command",
    [
        "manifest from-csv a.csv -o",
        "manifest from-folders birds --s3-path s3://pictures/ -o",
        "manifest merge a.manifest -o",
        "manifest validate a.manifest --findings",
        "manifest validate a.manifest --fix",
        "init birds --yes -o",
    ],
)
def test_no_file_can_be_written(workspace: Workspace, command: str, name: str) -> None:
    """Exit code 2, and nothing is there afterwards."""
    before = set(workspace.folder.rglob("*"))
    code, out, err = workspace.here(*command.split(), name)
    assert (code, out) == (2, ""), err
    assert err.startswith("error: --")
    assert set(workspace.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "manifest from-folders {} --s3-path s3://pictures/",
        "manifest convert {} --to coco -o c.json",
        "manifest convert b.manifest --to coco -o c.json --images {}",
        "manifest split a.manifest --train t --test u --images {}",
        "manifest validate {}",
        "dataset check {}",
        "answers list {}",
        "answers import birds {}",
        "model evaluate --summary {0} --snapshot {0}",
    ],
)
def test_no_file_and_no_folder_can_be_read(workspace: Workspace, command: str) -> None:
    """A name that is too long for the system: exit code 2."""
    code, out, err = workspace.here(*command.format(TOO_LONG).split())
    assert (code, out) == (2, ""), err
    assert TOO_LONG in err
    assert not Path(workspace.folder / "c.json").exists()


def test_a_device_is_no_list_of_labels(workspace: Workspace) -> None:
    """One without an end is not read to it."""
    code, out, err = workspace.here(
        "manifest", "convert", "a.manifest", "--to", "coco", "-o", "c.json", "--classes", "/dev/zero"
    )
    assert (code, out, "over 1,048,576 bytes" in err) == (2, "", True), err


@pytest.mark.parametrize("command", ["demo", "sandbox --for job.yaml"])
def test_pictures_are_not_drawn_until_the_disk_is_full(workspace: Workspace, command: str) -> None:
    """Zeros too many are a usage error."""
    code, out, err = workspace.here(*command.split(), "--pictures", "3000000")
    assert (code, out, "--pictures" in err) == (2, "", True), err
