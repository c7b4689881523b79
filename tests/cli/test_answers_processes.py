"""Several processes at one answers file: nothing is lost, nothing is there twice, and a run waits for nobody."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from asyncfilter.answers import file, open_reader
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.workspace import Workspace, wait_until

WRITE = """
import sys
from pathlib import Path
from asyncfilter.answers import open_answers
from tests.kit.answers import new_answer, subject

path, name, first, last, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
with open_answers(Path(path)) as file:
    for start in range(first, last, batch):
        numbers = range(start, min(start + batch, last))
        file.add([new_answer("keep", subject(f"{n:05}"), uid=f"{name}-{n:08}", reviewer=name) for n in numbers])
        print(*(f"{name}-{n:08}" for n in numbers), flush=True)
"""
"""Adds rows FIRST to LAST in batches, and names those of a batch once it is durable."""

STOP_INSIDE = """
import os, signal, sys
from pathlib import Path
from asyncfilter.answers import open_answers
from tests.kit.answers import new_answer, subject

with open_answers(Path(sys.argv[1])) as file, file.transaction() as writing:
    writing.add([new_answer("reject", subject("b.jpg"), uid="of-the-stopped")])
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def writer(path: Path, name: str, first: int, last: int, *, batch: int = 1) -> subprocess.Popen[str]:
    """A process that writes."""
    command = [sys.executable, "-c", WRITE, str(path), name, *map(str, (first, last, batch))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def uids(path: Path) -> list[str]:
    """All uids by serial; the file must be whole."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [uid for (uid,) in db.execute("SELECT uid FROM answer ORDER BY serial")]


def test_four_processes_write_eight_hundred_answers(tmp_path: Path) -> None:
    """docs/guarantees.md, *Answers are durable, and never changed*: 800 rows, each person's in their order."""
    path = tmp_path / "a.answers.db"
    started = [writer(path, f"person{number}", 0, 200, batch=number * 3 + 1) for number in range(4)]
    for one in started:
        one.communicate(timeout=120)
    assert [one.returncode for one in started] == [0] * 4
    found = uids(path)
    assert len(found) == len(set(found)) == 800
    for number in range(4):
        own = [uid for uid in found if uid.startswith(f"person{number}-")]
        assert own == [f"person{number}-{n:08}" for n in range(200)]


def test_acknowledged_rows_survive_kill_9_once(tmp_path: Path) -> None:
    """A writer is killed at any moment, again and again, and repeats what was not acknowledged: each row is there once.

    docs/guarantees.md, *Answers are durable, and never changed*.
    """
    path, moments = tmp_path / "a.answers.db", random.Random(14)
    acknowledged: list[str] = []
    for _ in range(8):
        process = writer(path, "anna", len(acknowledged), len(acknowledged) + 10_000, batch=3)
        assert process.stdout is not None
        acknowledged += process.stdout.readline().split()
        time.sleep(moments.random() * 0.05)
        process.kill()
        acknowledged += process.stdout.read().split()
        process.communicate()
    found = uids(path)
    assert len(found) == len(set(found))
    assert found[: len(acknowledged)] == acknowledged
    # What was durable and not acknowledged any more is at most one batch.
    assert len(found) <= len(acknowledged) + 3


# -- A writer that was stopped -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Some drawn pictures."""
    options = SandboxOptions(samples=(SamplesSpec("raw", 30),), buckets=(BucketSpec("clean"),))
    with SandboxProcess(options) as running:
        yield running


@pytest.fixture
def workspace(sandbox: SandboxProcess, tmp_path: Path) -> Workspace:
    """A job whose rules reject every picture; a few of them are examined, and a person keeps one."""
    found = Workspace(tmp_path, sandbox, rules=[{"keep": {"any": "Zebra"}}])
    found.summary("run", str(found.job), "--set", "limits.max_images=3")
    key = exported_keys(found)[0]
    found.json("answers", "set", str(found.job), key, "keep")
    return found


def exported_keys(workspace: Workspace) -> list[str]:
    """The keys of all examined images."""
    _, out, _ = workspace.here("export", str(workspace.job))
    return [json.loads(line)["key"] for line in out.splitlines()]


@contextmanager
def stopped_inside(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is stopped in the middle of a transaction on the file; it goes on at the end."""
    process = subprocess.Popen([sys.executable, "-c", STOP_INSIDE, str(path)])
    try:
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        yield process
    finally:
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0


def test_a_stopped_writer_does_not_disturb_a_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, a refilter and list read what is durable; another writer is told after some seconds (exit 3)."""
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.05)
    job = str(workspace.job)
    with stopped_inside(workspace.folder / ".asyncfilter" / "robins.answers.db"):
        summary = workspace.summary("run", job)
        assert (summary["stop_reason"], summary["examined"], summary["keep"]) == ("completed", 30, 1)
        assert workspace.summary("refilter", job)["keep"] == 1
        listed = workspace.json("answers", "list", job)
        assert (listed["rows"], listed["pending"]) == (1, 0)
        code, _, err = workspace.here("answers", "set", job, exported_keys(workspace)[1], "keep")
        assert code == 3
        assert "locked" in err
    assert workspace.json("answers", "list", job)["pending"] == 1


def test_a_writer_that_is_stopped_during_a_run_does_not_disturb_it(workspace: Workspace) -> None:
    """The writer begins its transaction while images are being examined, and holds it until the run has ended."""
    process = workspace.start("run", str(workspace.job), "--json", "--set", "limits.tps=40")
    with stopped_inside(workspace.folder / ".asyncfilter" / "robins.answers.db"):
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err  # one of the pictures is broken
    summary = json.loads(out)
    assert (summary["stop_reason"], summary["examined"], summary["keep"]) == ("completed", 30, 1)


def test_a_reader_sees_every_row_that_was_durable(tmp_path: Path) -> None:
    """A reader opened before, beside a writer at work: rows only ever come after those that were there."""
    path = tmp_path / "a.answers.db"
    process = writer(path, "anna", 0, 300, batch=5)
    assert process.stdout is not None
    process.stdout.readline()
    reader = open_reader(path)
    assert reader is not None
    with reader:
        seen = 0
        while seen < 300:
            serial = reader.last_serial()
            assert serial >= seen
            assert reader.count(0, up_to=serial) == serial
            seen = serial
    assert process.wait(60) == 0
    process.stdout.close()
