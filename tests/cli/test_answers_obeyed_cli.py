"""People's answers from outside: real commands, a real file, and a writer that is stopped in its transaction."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.answers import open_answers
from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.answers import box, new_answer, subject
from tests.kit.workspace import Workspace

PICTURES = 12
ANSWERS = Path(".asyncfilter") / "robins.answers.db"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for the module."""
    buckets = (BucketSpec("clean"), BucketSpec("review"))
    with SandboxProcess(SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=buckets)) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A job that keeps robins and rejects all others."""
    return Workspace(
        tmp_path,
        sandbox,
        source="s3://raw/raw/",
        rules=[{"keep": {"any": ["Robin"], "confidence": 80}}],
        actions={"keep": {"copy": f"s3://clean/{tmp_path.name}/{{relative}}"}, "reject": "delete"},
        limits={"tps": 5000},
    )


def by_verdict(workspace: Workspace) -> dict[str, list[str]]:
    """Keys by final verdict."""
    found: dict[str, list[str]] = {"keep": [], "review": [], "reject": []}
    for image in read_images(workspace.folder / ".asyncfilter" / "robins.db"):
        assert image.decision is not None
        found[image.decision.verdict.value].append(image.key)
    return found


def say(workspace: Workspace, key: str, verdict: str | None, **parts: Any) -> None:
    """An answer of anna, as the page would store it."""
    rows = {image.key: image for image in read_images(workspace.folder / ".asyncfilter" / "robins.db")}
    about = subject(key, etag=rows[key].etag, size_bytes=rows[key].size_bytes)
    with open_answers(workspace.folder / ANSWERS) as file:
        file.add([new_answer(verdict, about, **parts)])


def test_a_whole_job_with_answers(workspace: Workspace) -> None:
    """Summary, status, plan, export and apply tell what people said, what was taken over, and what waits."""
    summary = workspace.json("run", "job.yaml")
    assert summary["answers"] is None
    assert summary["reviewed"] == {"keep": 0, "reject": 0, "unsure": 0, "overruled": 0}
    before = by_verdict(workspace)
    kept, spared, doubtful = before["keep"][0], before["reject"][0], before["reject"][1]
    say(workspace, kept, "reject", labels=("Wren",), boxes=(box("Wren"),))
    say(workspace, spared, "keep")
    say(workspace, doubtful, "unsure")

    status = workspace.json("status", "job.yaml")
    assert (status["answers"]["serial"], status["answers"]["pending"]) == (0, 3)
    assert Path(status["answers"]["file"]).name == ANSWERS.name
    assert len(status["answers"]["id"]) == 32
    assert workspace.json("plan", "job.yaml")["answers"] == status["answers"]
    assert "3 answers wait for run or refilter" in workspace.here("status", "job.yaml")[1]
    plan = workspace.json("apply", "job.yaml", "--dry-run")["plan"]
    pending = len(before["reject"]) - 2
    assert (plan["images"], plan["new_answers"], plan["spared"]) == (pending, 3, 2)

    found = workspace.json("refilter", "job.yaml")
    assert found["reviewed"] == {"keep": 1, "reject": 1, "unsure": 1, "overruled": 2}
    assert (found["keep"], found["review"], found["reject"]) == (len(before["keep"]), 1, len(before["reject"]) - 1)
    assert (found["answers"]["serial"], found["answers"]["pending"], found["stale"]) == (3, 0, 1)
    status = workspace.json("status", "job.yaml")
    assert {name: status[name] for name in ("reviewed", "answers")} == {
        name: found[name] for name in ("reviewed", "answers")
    }
    text = workspace.here("status", "job.yaml")[1]
    assert "1 keep, 1 reject, 1 unsure by people (2 against the rules)" in " ".join(text.split())
    assert workspace.json("apply", "job.yaml", "--dry-run")["plan"]["new_answers"] == 0


def test_export_tells_what_people_said(workspace: Workspace) -> None:
    """The columns after the present ones; ``--verdict`` goes by the final verdict, ``--reviewed`` by answers."""
    workspace.json("run", "job.yaml")
    kept = by_verdict(workspace)["keep"][0]
    say(workspace, kept, "reject", labels=("Wren", "Tit"), boxes=(box("Wren"),))
    workspace.json("refilter", "job.yaml")
    say(workspace, kept, "keep")
    code, out, err = workspace.here("export", "job.yaml", "--reviewed", "--verdict", "reject")
    assert (code, len(out.splitlines())) == (0, 1)
    assert "1 answer waits for run or refilter" in err
    line = json.loads(out)
    added = ["rule_verdict", "reviewed_by", "reviewed_at", "reviewed_labels", "reviewed_boxes"]
    assert list(line)[-5:] == added
    assert (line["verdict"], line["rule_verdict"], line["rule"], line["label"]) == ("reject", "keep", 0, "Wren")
    assert (line["reviewed_by"], line["reviewed_labels"]) == ("anna", ["Wren", "Tit"])
    assert line["reviewed_boxes"] == [{"label": "Wren", "left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}]
    assert line["reviewed_at"].endswith("Z")
    rows = list(csv.DictReader(workspace.here("export", "job.yaml", "--format", "csv")[1].splitlines()))
    assert list(rows[0])[-5:] == added
    by_key = {row["key"]: row for row in rows}
    assert json.loads(by_key[kept]["reviewed_labels"]) == ["Wren", "Tit"]
    assert json.loads(by_key[kept]["reviewed_boxes"]) == line["reviewed_boxes"]
    others = [row for key, row in by_key.items() if key != kept]
    assert {row[name] for row in others for name in added} == {""}
    written = workspace.json("export", "job.yaml", "-o", "all.jsonl")
    assert (written["lines"], written["answers"]["pending"]) == (PICTURES, 1)
    assert workspace.here("export", "job.yaml", "--reviewed", "--duplicates")[0] == 2


def test_fresh_keeps_the_answers(workspace: Workspace) -> None:
    """``--fresh`` moves the checkpoint aside and leaves the answers file, which the new one obeys."""
    workspace.json("run", "job.yaml")
    key = by_verdict(workspace)["reject"][0]
    say(workspace, key, "keep")
    summary = workspace.json("run", "job.yaml", "--fresh", "--yes")
    assert key in by_verdict(workspace)["keep"]
    assert (summary["reviewed"]["keep"], summary["answers"]["serial"]) == (1, 1)


def test_another_file_or_a_damaged_one_ends_with_3(workspace: Workspace) -> None:
    """Nothing is paid and nothing changed; without the file what was taken over holds, with one caution."""
    workspace.json("run", "job.yaml")
    key = by_verdict(workspace)["reject"][0]
    say(workspace, key, "keep")
    workspace.json("refilter", "job.yaml")
    path = workspace.folder / ANSWERS
    away = path.rename(workspace.folder / "away.db")
    summary = workspace.json("refilter", "job.yaml")
    assert (summary["answers"], summary["reviewed"]["keep"]) == (None, 1)
    assert [caution for caution in summary["cautions"] if "answers file" in caution]
    assert "is not there" in " ".join(workspace.here("status", "job.yaml")[1].split())
    (workspace.folder / "answers.csv").write_text(f"key,verdict\n{key},keep\n", "utf-8")
    for arguments in (("import", "job.yaml", "answers.csv", "--dry-run"), ("import", "job.yaml", "answers.csv")):
        code, _, err = workspace.here("answers", *arguments)
        assert (code, "made anew" in err) == (0, "--dry-run" not in arguments)
    path.unlink()
    code, _, err = workspace.here("answers", "set", "job.yaml", key, "reject")
    assert (code, "made anew" in err) == (0, True)
    assert workspace.here("answers", "set", "job.yaml", key, "keep")[2] == ""
    for command in ("run", "refilter", "apply", "status", "plan"):
        code, _, err = workspace.here(command, "job.yaml")
        assert (code, "another answers file" in err) == (3, True), command
    path.write_bytes(b"no database")
    assert workspace.here("refilter", "job.yaml")[0] == 3
    assert path.read_bytes() == b"no database"
    away.replace(path)
    assert workspace.json("refilter", "job.yaml")["reviewed"]["keep"] == 1


WRITER = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO setting VALUES ('of the writer', '1')")
print("within", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
db.execute("COMMIT")
"""


def test_a_writer_stopped_within_its_transaction_delays_nothing(workspace: Workspace) -> None:
    """A run, a refilter and every look take over what is committed, while the writer holds the lock all along."""
    workspace.json("run", "job.yaml")
    key = by_verdict(workspace)["reject"][0]
    say(workspace, key, "keep")
    path = workspace.folder / ANSWERS
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "within\n"
            with closing(sqlite3.connect(path, timeout=0)) as db, pytest.raises(sqlite3.OperationalError, match="lock"):
                db.execute("BEGIN IMMEDIATE")
            summary = workspace.json("run", "job.yaml")
            assert (summary["reviewed"]["keep"], summary["answers"]["pending"]) == (1, 0)
            for command in ("refilter", "status", "plan"):
                assert workspace.json(command, "job.yaml")["answers"]["serial"] == 1
            assert workspace.json("run", "job.yaml", "--fresh", "--yes")["reviewed"]["keep"] == 1
        finally:
            writer.send_signal(signal.SIGCONT)
        assert writer.wait() == 0
