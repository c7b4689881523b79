"""A local folder, processed by the program as a process: killed, resumed, refiltered, exported."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
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
        ("actions={keep: {copy: s3://clean/}}", 2, "expected a folder, as the source is one"),
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
