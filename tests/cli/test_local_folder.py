"""A local folder, processed by the program as a process: killed, resumed, refiltered, exported."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.mounts import bind_mount
from tests.kit.workspace import Workspace, bare_environment, ended

IMAGES = 210
CONCURRENCY = 20
KILLS = 3


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service with a high latency."""
    with SandboxProcess(SandboxOptions(latency=Latency(0.08, 0.3))) as process:
        yield process


@pytest.fixture(scope="module")
def workspace(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project folder with pictures in subfolders, some of them too small."""
    root = tmp_path_factory.mktemp("project")
    rng = random.Random(5)
    for index in range(IMAGES):
        path = root / "photos" / f"{index % 7}" / f"{index:04d} +%é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 60 if index % 10 == 0 else 90
        Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return Workspace(root, sandbox)


def finish(process: subprocess.Popen[str], code: int) -> str:
    """Wait for the end with exit code ``code``; the output on stdout."""
    seen, out, err = ended(process)
    assert seen == code, err
    return out


def make_job(workspace: Workspace, name: str) -> str:
    """Write a job file; its name."""
    write_job(
        workspace.folder / f"{name}.yaml",
        name=name,
        source="./photos",
        near_duplicates=True,
        rules=[{"keep": {"any": ["Robin", "Bird", "Animal"], "confidence": 50}}],
        actions={"keep": {"copy": f"./{name}/{{key}}"}},
        limits={"tps": 200, "concurrency": CONCURRENCY, "budget_usd": 1, "timeout_s": 3},
    )
    return f"{name}.yaml"


def verdicts(workspace: Workspace, job: str) -> dict[str, Any]:
    """Outcome of every image, by key."""
    rows = [json.loads(line) for line in finish(workspace.start("export", job), 0).splitlines()]
    return {row["key"]: row["verdict"] or row["error"] for row in rows if row["seq"] is not None}


@pytest.mark.slow
def test_a_folder_survives_kills(workspace: Workspace) -> None:
    """Killed at random, the run ends as an undisturbed one: same outcomes, whole copies, little paid twice."""
    undisturbed, killed = make_job(workspace, "undisturbed"), make_job(workspace, "killed")
    expected = json.loads(finish(workspace.start("run", undisturbed, "--json"), 1))
    billed = workspace.sandbox.stats().operations["DetectLabels"].billed
    assert (expected["failed"], billed) == ({"image_rejected": IMAGES // 10}, IMAGES - IMAGES // 10)
    rng, kills = random.Random(11), 0
    while kills < KILLS:
        process = workspace.start("run", killed)
        time.sleep(rng.uniform(1.5, 2.2))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    summary = json.loads(finish(workspace.start("run", killed, "--json"), 1))

    names = ("examined", "keep", "reject", "failed", "copied")
    assert [summary[name] for name in names] == [expected[name] for name in names]
    assert verdicts(workspace, killed) == verdicts(workspace, undisturbed)
    again = workspace.sandbox.stats().operations["DetectLabels"].billed - 2 * billed
    assert again <= kills * CONCURRENCY
    copies = {
        path.relative_to(workspace.folder / "killed"): path.read_bytes()
        for path in (workspace.folder / "killed").rglob("*")
        if path.is_file() and not path.name.startswith(".asyncfilter-")
    }
    assert len(copies) == summary["keep"] > 0
    assert all((workspace.folder / "photos" / key).read_bytes() == body for key, body in copies.items())


def test_a_folder_job_needs_no_account_for_stored_labels(workspace: Workspace) -> None:
    """Refilter copies by new rules, and export groups near duplicates, without a request to any service."""
    job = make_job(workspace, "small")
    duplicate = workspace.folder / "photos" / "0" / "0007 again.png"
    duplicate.write_bytes((workspace.folder / "photos" / "0" / "0007 +%é.png").read_bytes())
    finish(workspace.start("run", job, "--set", "limits.max_images=15"), 1)
    attempts = workspace.sandbox.stats().operations["DetectLabels"].attempts

    def alone(*arguments: str) -> str:
        """The output of a command without any AWS settings."""
        return workspace(*arguments, env=bare_environment(workspace.folder)).stdout

    rules = "rules=[{keep: {none: Nothing}}]"
    summary = json.loads(alone("refilter", job, "--set", rules, "--set", "limits.max_images=15", "--json", "--yes"))
    assert (summary["keep"], summary["copied"]) == (13, 13)
    assert summary["failed"] == {"image_rejected": 2}
    similar = ["export", job, "--near-duplicates", "--distance", "0"]
    groups = [json.loads(row)["images"] for row in alone(*similar).splitlines()]
    assert [[image["key"] for image in group] for group in groups] == [["0/0007 +%é.png", "0/0007 again.png"]]
    table = alone(*similar, "--format", "csv").splitlines()
    assert table[0] == "group,seq,key,uri,size_bytes,verdict,distance,likeness"
    assert len(table) == 3
    assert workspace.sandbox.stats().operations["DetectLabels"].attempts == attempts


def test_a_folder_is_planned_without_a_call(workspace: Workspace) -> None:
    """A forecast names the folder, counts its files and costs nothing."""
    attempts = workspace.sandbox.stats().operations["DetectLabels"].attempts
    output = finish(workspace.start("plan", make_job(workspace, "planned")), 0)
    assert f"file://{workspace.folder}/photos/" in "".join(output.split())
    assert workspace.sandbox.stats().operations["DetectLabels"].attempts == attempts


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ("source=./nowhere", 4, "there is no such folder"),
        ("actions={keep: {link: s3://clean/}}", 2, "expected a folder, since only files can be linked"),
        ("actions={keep: {copy: s3://clean/}}", 4, "Bucket 'clean' does not exist"),
        ("actions={keep: {copy: ./photos/clean/}}", 2, "expected a destination outside the source"),
        ("actions={keep: {copy: ./clean}}", 2, "expected a folder that ends in /"),
        ("actions={keep: {tag: {a: b}}}", 2, "files of a folder have no tags"),
        ("source=photos", 2, "expected s3://bucket/prefix, or a folder such as ./photos"),
        ("source=file://elsewhere/photos", 2, "expected a folder of this machine"),
    ],
)
def test_wrong_folders_get_a_clear_message(workspace: Workspace, change: str, code: int, text: str) -> None:
    """An impossible job is refused before anything is paid, with its exit code and no traceback."""
    found, _, err = ended(workspace.start("run", make_job(workspace, "wrong"), "--set", change))
    assert found == code, err
    assert text in " ".join(err.split())
    assert "Traceback" not in err


def tiny_job(root: Path, **changes: Any) -> None:
    """Three pictures, two files that cannot be read, and a job."""
    (root / "photos" / "robin").mkdir(parents=True)
    for index in range(3):
        Image.new("RGB", (90, 90), (index * 40, 1, 2)).save(root / "photos" / "robin" / f"{index}.jpg")
    (root / "photos" / "robin" / "loop.jpg").symlink_to("loop.jpg")
    (root / "photos" / "a.jpg").symlink_to("b.jpg")
    (root / "photos" / "b.jpg").symlink_to("a.jpg")
    os.mkfifo(root / "photos" / "pipe.jpg")
    actions = {"keep": {"copy": "./out/{key}"}}
    job = {"name": "odd", "source": "./photos", "otherwise": "keep", "actions": actions, "limits": {"budget_usd": 1}}
    write_job(root / "job.yaml", **job | changes)


def test_odd_files_fail_alone(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Links in a circle are failed images, the pictures beside them are examined and copied; again at no cost."""
    workspace = Workspace(tmp_path, sandbox)
    tiny_job(tmp_path)
    for _ in range(2):
        summary = workspace.summary("run", "job.yaml")
        assert summary["failed"] == {"invalid_link": 3}
        assert (summary["examined"], summary["copied"], summary["calls"]) == (6, 3, 3)
        assert (summary["stop_reason"], summary["exit_code"]) == ("completed", 1)
    assert sorted(path.name for path in (tmp_path / "out" / "robin").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_closed_folder_fails_alone(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """It is one failed image; once it is open, its pictures are examined as new ones."""
    workspace = Workspace(tmp_path, sandbox)
    tiny_job(tmp_path)
    closed = tmp_path / "photos" / "closed"
    closed.mkdir()
    Image.new("RGB", (90, 90)).save(closed / "x.jpg")
    closed.chmod(0)
    try:
        assert workspace.summary("run", "job.yaml")["failed"] == {"invalid_link": 3, "access_denied": 1}
    finally:
        closed.chmod(0o700)
    assert workspace.summary("run", "job.yaml")["calls"] == 4


@pytest.mark.parametrize("how", ["link", "mount"])
@pytest.mark.parametrize("command", [["run"], ["plan"], ["refilter"], ["apply", "--dry-run"]])
def test_the_source_by_another_path_is_no_target(
    sandbox: SandboxProcess, tmp_path: Path, how: str, command: list[str]
) -> None:
    """Refused before a call, by every command that opens the folders."""
    workspace = Workspace(tmp_path, sandbox)
    tiny_job(tmp_path)
    before = workspace.billed()
    if command[0] in {"refilter", "apply"}:
        workspace.summary("run", "job.yaml", "--dry-run")
        before = workspace.billed()
    write_job(
        tmp_path / "job.yaml",
        name="odd",
        source="./photos",
        otherwise="keep",
        actions={"keep": {"copy": "./view/copies/{key}"}},
        limits={"budget_usd": 1},
    )
    with ExitStack() as stack:
        if how == "link":
            (tmp_path / "view").symlink_to("photos")
        else:
            (tmp_path / "view").mkdir()
            stack.enter_context(bind_mount(tmp_path / "photos", tmp_path / "view"))
        code, _, err = workspace.here(command[0], "job.yaml", *command[1:])
    assert code == 2, err
    assert "is inside the source" in err
    assert workspace.billed() == before
