"""A folder, run by the program as a process: killed, resumed, judged anew, exported."""

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
    """A service that takes its time."""
    with SandboxProcess(SandboxOptions(latency=Latency(0.08, 0.3))) as process:
        yield process


@pytest.fixture(scope="module")
def place(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project folder with pictures in folders of their own, some of them too small."""
    root = tmp_path_factory.mktemp("project")
    rng = random.Random(5)
    for index in range(IMAGES):
        path = root / "photos" / f"{index % 7}" / f"{index:04d} +%é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 60 if index % 10 == 0 else 90
        Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return Workspace(root, sandbox)


def finish(process: subprocess.Popen[str], code: int) -> str:
    """What the program said on stdout."""
    seen, out, err = ended(process)
    assert seen == code, err
    return out


def make_job(place: Workspace, name: str) -> str:
    """A job file; its name."""
    write_job(
        place.folder / f"{name}.yaml",
        name=name,
        source="./photos",
        near_duplicates=True,
        rules=[{"keep": {"any": ["Robin", "Bird", "Animal"], "confidence": 50}}],
        actions={"keep": {"copy": f"./{name}/{{key}}"}},
        limits={"tps": 200, "concurrency": CONCURRENCY, "budget_usd": 1, "timeout_s": 3},
    )
    return f"{name}.yaml"


def verdicts(place: Workspace, job: str) -> dict[str, Any]:
    """Outcome of every image, by key."""
    rows = [json.loads(line) for line in finish(place.start("export", job), 0).splitlines()]
    return {row["key"]: row["verdict"] or row["error"] for row in rows if row["seq"] is not None}


@pytest.mark.slow
def test_a_folder_survives_kills(place: Workspace) -> None:
    """Killed at random, the run ends as one that was left alone: same outcomes, whole copies, little paid twice."""
    calm, killed = make_job(place, "calm"), make_job(place, "killed")
    expected = json.loads(finish(place.start("run", calm, "--json"), 1))
    billed = place.sandbox.stats().operations["DetectLabels"].billed
    assert (expected["failed"], billed) == ({"image_rejected": IMAGES // 10}, IMAGES - IMAGES // 10)
    rng, kills = random.Random(11), 0
    while kills < KILLS:
        process = place.start("run", killed)
        time.sleep(rng.uniform(1.5, 2.2))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    summary = json.loads(finish(place.start("run", killed, "--json"), 1))

    names = ("examined", "keep", "reject", "failed", "copied")
    assert [summary[name] for name in names] == [expected[name] for name in names]
    assert verdicts(place, killed) == verdicts(place, calm)
    again = place.sandbox.stats().operations["DetectLabels"].billed - 2 * billed
    assert again <= kills * CONCURRENCY
    copies = {
        path.relative_to(place.folder / "killed"): path.read_bytes()
        for path in (place.folder / "killed").rglob("*")
        if path.is_file() and not path.name.startswith(".asyncfilter-")
    }
    assert len(copies) == summary["keep"] > 0
    assert all((place.folder / "photos" / key).read_bytes() == body for key, body in copies.items())


def test_a_folder_job_needs_no_account_for_stored_labels(place: Workspace) -> None:
    """Refilter copies by new rules, and export groups what looks alike, without a word to any service."""
    job = make_job(place, "small")
    duplicate = place.folder / "photos" / "0" / "0007 again.png"
    duplicate.write_bytes((place.folder / "photos" / "0" / "0007 +%é.png").read_bytes())
    finish(place.start("run", job, "--set", "limits.max_images=15"), 1)
    attempts = place.sandbox.stats().operations["DetectLabels"].attempts

    def alone(*arguments: str) -> str:
        """What a command says that knows nothing of AWS."""
        return place(*arguments, env=bare_environment(place.folder)).stdout

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
    assert place.sandbox.stats().operations["DetectLabels"].attempts == attempts


def test_a_folder_is_planned_without_a_call(place: Workspace) -> None:
    """A forecast names the folder, counts its files and costs nothing."""
    attempts = place.sandbox.stats().operations["DetectLabels"].attempts
    said = finish(place.start("plan", make_job(place, "planned")), 0)
    assert f"file://{place.folder}/photos/" in "".join(said.split())
    assert place.sandbox.stats().operations["DetectLabels"].attempts == attempts


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
def test_wrong_folders_get_a_clear_word(place: Workspace, change: str, code: int, words: str) -> None:
    """What cannot work is refused before anything is paid, with the exit code of its kind and no traceback."""
    found, _, talk = ended(place.start("run", make_job(place, "wrong"), "--set", change))
    assert found == code, talk
    assert words in " ".join(talk.split())
    assert "Traceback" not in talk
