"""``model improve`` from end to end: wrong labels in drawn pictures are corrected, and the new version is better."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.pictures import draw_picture
from tests.kit.manifests import image_line
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

pytest.importorskip("numpy", reason="trainings in the sandbox need the extra sandbox-training")

BIRDS = ("blackbird", "jay", "robin")
PICTURES = 48
OUTPUT = ("--output", "s3://models/out/", "--poll", "0.05", "--yes")
SPEED = 5000.0


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    """A service with buckets of pictures and of models."""
    options = SandboxOptions(buckets=(BucketSpec("pictures"), BucketSpec("models")), speed=SPEED)
    with SandboxProcess(options) as running, boto_client(running, "s3") as s3:
        for number in range(PICTURES):
            s3.put_object(Bucket="pictures", Key=_key(number), Body=draw_picture(BIRDS[number % 3], _key(number)))
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """Files of manifests, and a project with a version ``v1`` that was trained with wrong labels."""
    found = Workspace(tmp_path, sandbox)
    train = [number for number in range(PICTURES) if number // 3 % 4 != 3]
    test = [number for number in range(PICTURES) if number // 3 % 4 == 3]
    _write(found.folder / "train.manifest", {number: BIRDS[(number + (number % 5 < 3)) % 3] for number in train})
    _write(found.folder / "test.manifest", {number: BIRDS[number % 3] for number in test})
    right = {number: BIRDS[number % 3] for number in train if number % 5 < 3}
    _write(found.folder / "corrections.manifest", {**right, test[0]: BIRDS[0]})
    found.json("model", "create", "birds", "--poll", "0.05")
    found.json("model", "import", "birds", "--train", "train.manifest", "--test", "test.manifest", "--poll", "0.05")
    found.json("model", "train", "birds", "--version", "v1", *OUTPUT)
    return found


def _key(number: int) -> str:
    return f"{BIRDS[number % 3]}/{number}.jpg"


def _write(file: Path, labels: dict[int, str]) -> None:
    lines = [image_line(label, source_ref=f"s3://pictures/{_key(number)}") for number, label in labels.items()]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def improve(workspace: Workspace, *more: str, corrections: str = "corrections.manifest") -> dict[str, Any]:
    """The result of the command."""
    return workspace.json("model", "improve", "birds", "--corrections", corrections, *OUTPUT, *more)


def test_better(workspace: Workspace) -> None:
    """F1 on the same test images is higher; then a switch replaces the model that runs, and pays for no training."""
    old = workspace.json("model", "evaluate", "birds", "v1")
    found = improve(workspace, "--version", "v2")
    assert (found["added"], found["skipped"]) == (0, {"in_test_set": 1})
    assert found["replaced"] == len((workspace.folder / "corrections.manifest").read_text().splitlines()) - 1
    assert (found["old"]["version"], found["new"]["version"]) == ("v1", "v2")
    assert found["old"]["f1"] == pytest.approx(old["f1"])
    assert found["new"]["f1"] > found["old"]["f1"]
    assert (found["test_sets_equal"], found["better"], found["proposal"]) == (True, True, "switch")
    assert (found["switched"], found["errors"]) == (False, [])

    started = workspace.json("model", "start", "birds", "v1", "--for", "1h", "--poll", "0.05", "--yes")
    found = improve(workspace, "--switch")
    assert (found["switched"], found["new"]["version"]) == (True, "v2")
    assert found["lease"]["expires_at"][:15] == started["lease"]["expires_at"][:15]
    states = {one["version"]: one["status"] for one in workspace.json("model", "status", "birds")["versions"]}
    assert states == {"v1": "STOPPED", "v2": "RUNNING"}
    workspace.json("model", "stop", "birds", "v2", "--poll", "0.05")  # with its watcher


def test_text(workspace: Workspace) -> None:
    """What people read; a second run says that the corrections are in, and asks."""
    code, out, err = workspace.here("model", "improve", "birds", "--corrections", "corrections.manifest", *OUTPUT)
    assert code == 0, err
    assert "proposal: switch to birds." in out
    assert "in the test dataset, and never enter training: s3://pictures/" in err
    assert "a training costs $1 an hour" in err
    arguments = [one for one in OUTPUT if one != "--yes"]
    code, out, err = workspace.here("model", "improve", "birds", "--corrections", "corrections.manifest", *arguments)
    assert (code, out) == (130, "")
    assert "these corrections are in the training dataset already: birds." in err
    assert len(workspace.json("model", "status", "birds")["versions"]) == 2
