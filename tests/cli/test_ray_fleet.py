"""``run --on ray`` on a local Ray: a killed head loses nothing, and nothing of it is left at the end.

``make test-cluster`` has the long form.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess, SyntheticSpec, syntax
from tests.kit.ray_cluster import below, command_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed"),
]

JOB = """
version: 1
name: birds
source: s3://raw/
rules: [{keep: {any: [Bird]}}]
cluster: {engine: ray, workers: 2, send: all}
"""


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    """The events of one kind so far."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [event for event in found if event["event"] == kind]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until a condition holds, while a process runs."""
    until_s = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < until_s
        time.sleep(0.05)


def ray_processes(folder: str) -> list[str]:
    """Processes of a Ray in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in command:
            found.append(command[:200])
    return found


def test_head_killed_and_continued(tmp_path: Path) -> None:
    """The second run adopts what the workers kept: no call is made twice. Ray is ours: a token, and one address."""
    (tmp_path / "job.yaml").write_text(JOB)
    log = tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "asyncfilter", "run", "job.yaml", "--json", "--events", str(log)]
    options = SandboxOptions(
        buckets=(BucketSpec("raw"),),
        synthetic=(SyntheticSpec("raw", 240),),
        tps=100.0,
        latency=syntax.parse_latency("p50=300ms,p99=1200ms"),
    )
    with SandboxProcess(options) as sandbox:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **sandbox.environment(),
        }
        first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: len(events(log, "image_examined")) > 40, first)
        note = json.loads((tmp_path / ".asyncfilter" / "birds.db.ray").read_bytes())
        folder = Path(note["folder"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
        assert (folder / "r" / "ray_current_cluster").read_text().startswith("127.0.0.1:")
        niceness = {os.getpriority(os.PRIO_PROCESS, event["pid"]) for event in events(log, "worker_joined")}
        assert niceness == {os.getpriority(os.PRIO_PROCESS, 0)}  # else they would come after all else on a busy machine
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert ray_processes(folder.name)
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=150, check=False)
        assert second.returncode == 0, second.stderr.decode()
        summary = json.loads(second.stdout)
        stats = sandbox.stats()
    assert summary["examined"] == 240
    assert stats.calls_per_key_max == 1
    assert summary["workers"]["joined"] == 2
    assert summary["epoch"] == 2
    (adopted,) = events(log, "answers_adopted")
    assert adopted["adopted"] == summary["adopted"] == summary["this_run"]["adopted"] > 0
    assert not folder.exists()
    assert not ray_processes(folder.name)
    assert not list((tmp_path / ".asyncfilter").glob("*.ray"))


def test_head_killed_and_begun_afresh(tmp_path: Path) -> None:
    """The workers of the checkpoint that was moved aside make room at once; that is told before anything is paid."""
    (tmp_path / "job.yaml").write_text(JOB)
    log = tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "asyncfilter", "run", "job.yaml", "--json", "--yes", "--events", str(log)]
    options = SandboxOptions(buckets=(BucketSpec("raw"),), synthetic=(SyntheticSpec("raw", 120),), tps=50.0)
    with SandboxProcess(options) as sandbox:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment = kept | sandbox.environment()
        first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: len(events(log, "image_examined")) > 10, first)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = subprocess.run(
            [*command, "--fresh"], cwd=tmp_path, env=environment, capture_output=True, timeout=150, check=False
        )
    assert second.returncode == 0, second.stderr.decode()
    summary = json.loads(second.stdout)
    assert (summary["examined"], summary["adopted"], summary["workers"]["joined"]) == (120, 0, 2)
    assert [caution for caution in summary["cautions"] if caution.startswith("ended: 2 workers of a killed run")]
    assert [event["message"] for event in events(log, "fleet_awaited")][1:3] == [
        "starting a Ray here",
        "joining the Ray",
    ]
    assert not list((tmp_path / ".asyncfilter").glob("*.ray"))


def keeper_folder(pid: int) -> Path | None:
    """The folder of the Ray that a command is starting; None while it does not."""
    for process in below(pid):
        if "keeper.py" in (command := command_of(process)):
            return Path(command.split("keeper.py ")[1].split()[0])
    return None


def test_signal_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM before the first call: exit 75, no traceback, nothing paid, and the Ray that was to be is gone."""
    (tmp_path / "job.yaml").write_text(JOB)
    options = SandboxOptions(buckets=(BucketSpec("raw"),), synthetic=(SyntheticSpec("raw", 5),))
    with SandboxProcess(options) as sandbox:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncfilter", "run", "job.yaml"],
            cwd=tmp_path,
            env=kept | sandbox.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_for(lambda: keeper_folder(process.pid), process)
        folder = keeper_folder(process.pid)
        assert folder is not None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert "DetectLabels" not in sandbox.stats().operations
    *waiting, last = err.decode().splitlines()
    assert (process.returncode, last) == (75, "interrupted before the first call")
    assert all("fleet_awaited" in line for line in waiting), waiting
    assert not folder.exists()
    until_s = time.monotonic() + 60
    while ray_processes(folder.name):  # the keeper ends a moment after its folder
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert not list((tmp_path / ".asyncfilter").glob("*.ray"))
