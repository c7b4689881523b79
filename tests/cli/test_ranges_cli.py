"""``source.ranges`` with the program and the sandbox as processes: kills, requests, ends, and what is refused."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import Quirk, SandboxOptions, SandboxProcess, SyntheticSpec, parse_latency
from tests.kit.workspace import Workspace, ended

IMAGES = 12_000
RANGES = 4
JOB: dict[str, Any] = {
    "source": {"uri": "s3://raw/", "ranges": RANGES},
    "limits": {"tps": 5000, "budget_usd": 1000, "max_images": 40},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Twelve pages, each of which takes some time."""
    options = SandboxOptions(synthetic=(SyntheticSpec("raw", IMAGES),), list_latency=parse_latency("20ms"))
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A job that stops after some images."""
    sandbox.control("POST", "faults", {"faults": []})
    sandbox.control("POST", "reset-stats")
    return Workspace(tmp_path, sandbox, **JOB)


def lists(sandbox: SandboxProcess) -> int:
    """Listing requests since the last reset."""
    return sandbox.stats().operations["ListObjectsV2"].attempts


def listed_keys(workspace: Workspace) -> list[str]:
    """The keys of the stored listing; empty before there is one."""
    file = workspace.folder / ".asyncfilter" / "robins.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return [key for (key,) in db.execute("SELECT key FROM listing ORDER BY key")]


def test_a_killed_listing_is_completed(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """``order: random``: killed on its way, at most one page a range is listed again, and no key is kept twice."""
    order = ["--set", "source.order=random"]
    for _ in range(2):
        process = workspace.start("run", "job.yaml", *order)
        until = time.monotonic() + 60
        had = len(listed_keys(workspace))
        while process.poll() is None and len(listed_keys(workspace)) <= had and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        ended(process)
    summary = workspace.json("run", "job.yaml", *order)
    assert (summary["examined"], summary["stop_reason"]) == (40, "max_images")
    assert len(listed_keys(workspace)) == IMAGES
    assert lists(sandbox) <= 1.2 * (IMAGES / 1000 + 1) + 16 * RANGES + 2 * RANGES


def test_a_plan_counts_as_with_one_range(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Also while the store throttles and loses answers."""
    whole = workspace.json("plan", "job.yaml", "--set", "source.ranges=1")
    sandbox.control("POST", "faults", {"faults": ["slowdown:ListObjectsV2=10%", "reset:ListObjectsV2=5%"]})
    found = workspace.json("plan", "job.yaml")
    assert found == whole
    assert found["listed"] == IMAGES


def test_a_store_that_ignores_start_after_is_refused(tmp_path: Path) -> None:
    """The first page that begins elsewhere shows it, with one range or many."""
    options = SandboxOptions(synthetic=(SyntheticSpec("raw", IMAGES),), quirks=(Quirk.IGNORE_START_AFTER,))
    with SandboxProcess(options) as odd:
        workspace = Workspace(tmp_path, odd, **JOB)
        code, _, err = workspace.here("plan", "job.yaml")
    assert code == 4
    assert "cannot be followed" in err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"uri": "./photos", "ranges": 2}, "source.ranges: expected 1 for a folder"),
        ({"uri": "./photos", "ranges": "auto"}, "source.ranges: expected 1 for a folder"),
        ({"inventory": "s3://inv/manifest.json", "ranges": 2}, "source.ranges: expected 1 beside a list"),
        ({"uri": "s3://raw/", "ranges": 65}, "source.ranges"),
        ({"uri": "s3://raw/", "ranges": 0}, "source.ranges"),
    ],
)
def test_what_has_no_ranges(workspace: Workspace, source: dict[str, Any], words: str) -> None:
    """Exit 2, with the key."""
    (workspace.folder / "photos").mkdir()
    code, _, err = workspace.here("plan", "job.yaml", "--set", f"source={json.dumps(source)}")
    assert code == 2
    assert words in err


def test_one_range_on_a_folder_is_no_mistake(workspace: Workspace) -> None:
    """``ranges: 1`` is what every source has."""
    (workspace.folder / "photos").mkdir()
    _, _, err = workspace.here("plan", "job.yaml", "--set", 'source={"uri": "./photos", "ranges": 1}')
    assert "source.ranges" not in err
