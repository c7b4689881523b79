"""The whole path in a sandbox: examine, audit, answer elsewhere, import, calibrate, write, refilter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, LoadSpec, SandboxOptions, SandboxProcess
from tests.kit.audits import is_good
from tests.kit.pictures import plain
from tests.kit.workspace import Workspace

IMAGES = 180
RULES = [
    {"keep": {"any": ["Robin"], "confidence": 90}},
    {"review": {"any": ["Robin"], "confidence": 50}},
]


def pictures() -> dict[str, float]:
    """Keys with the confidence of Robin: good ones have more than 60 %, bad ones less than 55 %."""
    random = Random(7)
    found: dict[str, float] = {}
    for number in range(IMAGES):
        good = random.random() < 0.6
        low, high = (60, 100) if good else (20, 55)
        found[f"{'g' if good else 'b'}/{number:03}.jpg"] = round(random.uniform(low, high), 1)
    return found


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A bucket of pictures, each with a content of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    answers = folder / "answers.jsonl"
    for number, key in enumerate(pictures()):
        path = folder / "raw" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain("PNG", colour=f"#{number:06x}"))
    answers.write_text("".join(json.dumps({"key": k, "labels": {"Robin": v}}) + "\n" for k, v in pictures().items()))
    options = SandboxOptions(
        buckets=(BucketSpec("clean"),), load=(LoadSpec("raw", str(folder / "raw")),), answers=str(answers)
    )
    with SandboxProcess(options) as running:
        yield running


def annotated(tasks: Path) -> Path:
    """The tasks as Label Studio exports them when somebody has chosen the truth in each."""
    found: list[dict[str, Any]] = json.loads(tasks.read_bytes())
    for number, task in enumerate(found, 1):
        word = "keep" if is_good(task["data"]["asyncfilter"]["key"]) else "reject"
        value = {"from_name": "verdict", "to_name": "image", "type": "choices", "value": {"choices": [word]}}
        task |= {"id": number, "annotations": [{"id": number, "completed_by": 7, "result": [value]}]}
    path = tasks.with_name("export.json")
    path.write_text(json.dumps(found))
    return path


def test_from_a_run_to_a_certified_threshold_that_is_acted_on(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Nothing but the run is paid for, and the images that the certified threshold keeps are copied."""
    sections = {"source": {"uri": "s3://raw/"}, "actions": {"keep": {"copy": "s3://clean/{key}"}}}
    workspace = Workspace(tmp_path, sandbox, rules=RULES, otherwise="reject", **sections)
    before = workspace.json("run", "job.yaml")
    paid = workspace.billed()
    certain = sum(pct >= 90 for pct in pictures().values())
    assert (before["keep"], paid) == (certain, IMAGES)

    tasks = tmp_path / "tasks.json"
    targets = ("--precision", "0.9", "--recall", "0.9", "--milestones", "50,100")
    for options in (targets, ()):
        workspace.json("audit", "job.yaml", "-o", str(tasks), "--yes", *options)
        taken = workspace.json("answers", "import", "job.yaml", str(annotated(tasks)))
        assert taken["imported"] == taken["read"] > 0

    rule = workspace.json("calibrate", "job.yaml")["rules"][0]
    advice = rule["advice"]
    assert rule["certified"]["keep_from"] == advice["keep_from"] < 90
    kept = [key for key, pct in pictures().items() if pct >= advice["keep_from"]]
    assert sum(map(is_good, kept)) >= 0.9 * len(kept)
    assert workspace.json("calibrate", "job.yaml", "--write", "--yes")["written"] is True

    after = workspace.json("refilter", "job.yaml")
    assert (after["billed_calls"], workspace.billed()) == (IMAGES, paid)
    assert after["copied"] > certain
    assert after["keep"] >= len([key for key in kept if is_good(key)])
    (again,) = workspace.json("calibrate", "job.yaml")["rules"]
    assert (again["keep_from"], again["outdated"], again["advice"]["patch"]) == (advice["keep_from"], False, [])
