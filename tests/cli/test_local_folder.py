"""A folder, run by the program as a process: killed, resumed, judged anew, exported."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess

IMAGES = 210
CONCURRENCY = 20
KILLS = 3

JOB = """
version: 1
name: {name}
source: ./photos
near_duplicates: true
rules:
  - keep: {{any: [Robin, Bird, Animal], confidence: 50}}
actions:
  keep: {{copy: "./{name}/{{key}}"}}
limits: {{tps: 200, concurrency: {concurrency}, budget_usd: 1, timeout_s: 3}}
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service that takes its time."""
    with SandboxProcess(SandboxOptions(latency=Latency(0.08, 0.3))) as process:
        yield process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with pictures in folders of their own, some of them too small."""
    root = tmp_path_factory.mktemp("project")
    rng = random.Random(5)
    for index in range(IMAGES):
        path = root / "photos" / f"{index % 7}" / f"{index:04d} +%é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 60 if index % 10 == 0 else 90
        Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return root


def command(sandbox: SandboxProcess, *arguments: str) -> subprocess.Popen[str]:
    """The program, in a process of its own."""
    environment = os.environ | sandbox.environment()
    line = [sys.executable, "-m", "asyncfilter", *arguments]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], code: int) -> str:
    """What the program said on stdout."""
    said, talk = process.communicate(timeout=120)
    assert process.returncode == code, talk
    return said


def make_job(folder: Path, name: str) -> str:
    """A job file; its path."""
    path = folder / f"{name}.yaml"
    path.write_text(JOB.format(name=name, concurrency=CONCURRENCY))
    return str(path)


def verdicts(sandbox: SandboxProcess, job: str) -> dict[str, Any]:
    """Outcome of every image, by key."""
    rows = [json.loads(line) for line in finish(command(sandbox, "export", job), 0).splitlines()]
    return {row["key"]: row["verdict"] or row["error"] for row in rows if row["seq"] is not None}


@pytest.mark.slow
def test_a_folder_survives_kills(sandbox: SandboxProcess, folder: Path) -> None:
    """Killed at random, the run ends as one that was left alone: same outcomes, whole copies, little paid twice."""
    calm, killed = make_job(folder, "calm"), make_job(folder, "killed")
    expected = json.loads(finish(command(sandbox, "run", calm, "--json"), 1))
    billed = sandbox.stats().operations["DetectLabels"].billed
    assert (expected["failed"], billed) == ({"image_rejected": IMAGES // 10}, IMAGES - IMAGES // 10)
    rng, kills = random.Random(11), 0
    while kills < KILLS:
        process = command(sandbox, "run", killed)
        time.sleep(rng.uniform(1.5, 2.2))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    summary = json.loads(finish(command(sandbox, "run", killed, "--json"), 1))

    names = ("examined", "keep", "reject", "failed", "copied")
    assert [summary[name] for name in names] == [expected[name] for name in names]
    assert verdicts(sandbox, killed) == verdicts(sandbox, calm)
    again = sandbox.stats().operations["DetectLabels"].billed - 2 * billed
    assert again <= kills * CONCURRENCY
    copies = {
        path.relative_to(folder / "killed"): path.read_bytes()
        for path in (folder / "killed").rglob("*")
        if path.is_file() and not path.name.startswith(".asyncfilter-")
    }
    assert len(copies) == summary["keep"] > 0
    assert all((folder / "photos" / key).read_bytes() == body for key, body in copies.items())


def test_a_folder_job_needs_no_account_for_stored_labels(sandbox: SandboxProcess, folder: Path) -> None:
    """Refilter copies by new rules, and export groups what looks alike, without a word to any service."""
    job = make_job(folder, "small")
    twin = folder / "photos" / "0" / "0007 again.png"
    twin.write_bytes((folder / "photos" / "0" / "0007 +%é.png").read_bytes())
    finish(command(sandbox, "run", job, "--set", "limits.max_images=15"), 1)
    attempts = sandbox.stats().operations["DetectLabels"].attempts

    def alone(*arguments: str) -> str:
        """What a command says that knows nothing of AWS."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        line = [sys.executable, "-m", "asyncfilter", *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False).stdout

    rules = "rules=[{keep: {none: Nothing}}]"
    summary = json.loads(alone("refilter", job, "--set", rules, "--set", "limits.max_images=15", "--json", "--yes"))
    assert (summary["keep"], summary["copied"]) == (13, 13)
    assert summary["failed"] == {"image_rejected": 2}
    alike = ["export", job, "--near-duplicates", "--distance", "0"]
    groups = [json.loads(row)["images"] for row in alone(*alike).splitlines()]
    assert [[image["key"] for image in group] for group in groups] == [["0/0007 +%é.png", "0/0007 again.png"]]
    table = alone(*alike, "--format", "csv").splitlines()
    assert table[0] == "group,seq,key,uri,size_bytes,verdict,distance,likeness"
    assert len(table) == 3
    assert sandbox.stats().operations["DetectLabels"].attempts == attempts


def test_a_folder_is_planned_without_a_call(sandbox: SandboxProcess, folder: Path) -> None:
    """A forecast names the folder, counts its files and costs nothing."""
    attempts = sandbox.stats().operations["DetectLabels"].attempts
    said = finish(command(sandbox, "plan", make_job(folder, "planned")), 0)
    assert f"file://{folder}/photos/" in "".join(said.split())
    assert sandbox.stats().operations["DetectLabels"].attempts == attempts


@pytest.mark.parametrize(
    ("change", "code", "words"),
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
def test_wrong_folders_get_a_clear_word(
    sandbox: SandboxProcess, folder: Path, change: str, code: int, words: str
) -> None:
    """What cannot work is refused before anything is paid, with the exit code of its kind and no traceback."""
    process = command(sandbox, "run", make_job(folder, "wrong"), "--set", change)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == code, talk
    assert words in " ".join(talk.split())
    assert "Traceback" not in talk
