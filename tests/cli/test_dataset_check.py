"""``dataset check`` as a command: exit codes, fields, images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import D, encoded, image_line
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One bucket."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("pictures"),))) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, name: str, lines: list[D]) -> None:
    """A manifest in the folder."""
    (workspace.folder / name).write_bytes(b"".join(encoded(line) + b"\n" for line in lines))


def test_a_dataset(workspace: Workspace) -> None:
    """Exit 0 when no limit of severity error is broken, with all fields."""
    write(workspace, "train.manifest", [image_line("a" if number % 2 else "b") for number in range(40)])
    write(workspace, "test.manifest", [image_line("a" if number % 2 else "b") for number in range(10)])
    found = workspace.json("dataset", "check", "train.manifest", "test.manifest")
    assert found["ok"] is True
    assert list(found["limits"][0]) == [
        *("id", "limit", "value", "ok", "severity", "dataset", "examples", "advice", "source")
    ]
    by_id = {(limit["id"], limit["dataset"]): limit for limit in found["limits"]}
    assert by_id["test_share", "both"]["limit"] == [0.1, 0.3]
    assert by_id["test_share", "both"]["value"] == 0.2
    code, out, _ = workspace.here("dataset", "check", "train.manifest", "test.manifest")
    assert code == 0
    assert "notice train images_per_label_advised: 20, advised 100 (b, a)" in out
    assert "ok both test_share 0.2, limit 0.1 to 0.3" in out


def test_a_broken_limit(workspace: Workspace) -> None:
    """Exit 1, and what to do."""
    write(workspace, "train.manifest", [image_line("a") for _ in range(10)])
    code, out, _ = workspace.here("dataset", "check", "train.manifest", "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)
    code, out, _ = workspace.here("dataset", "check", "train.manifest")
    assert out.startswith("error train labels_min: 1, limit 2\n  Use at least two image-level labels")


def test_images(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """``--images`` looks at them, and tells which are refused."""
    lines = [image_line("a" if number % 2 else "b") for number in range(20)]
    write(workspace, "train.manifest", lines)
    with boto_client(sandbox, "s3") as s3:
        for number, line in enumerate(lines):
            body = plain("GIF" if number == 3 else "JPEG", width=50 if number == 4 else 200)
            s3.put_object(Bucket="pictures", Key=line["source-ref"].removeprefix("s3://pictures/"), Body=body)
    code, out, _ = workspace.here("dataset", "check", "train.manifest", "--images", "--json")
    found = {limit["id"]: limit for limit in json.loads(out)["limits"]}
    assert code == 1
    assert found["image_format"]["examples"] == [lines[3]["source-ref"]]
    assert found["image_px"]["examples"] == [lines[4]["source-ref"]]
    assert found["image_px"]["value"] == [50, 200]
    assert found["image_bytes"]["ok"] is True


def test_a_manifest_that_is_not_there(workspace: Workspace) -> None:
    """Exit 2."""
    assert workspace.here("dataset", "check", "none.manifest")[0] == 2
    assert workspace.here("dataset", "check", "s3://pictures/none.manifest")[0] == 2
