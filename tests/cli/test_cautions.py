"""Cautions and checks of targets on the command line: where they are said, how often, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.errors import ExitCode
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.access import DenyRule
from tests.kit.workspace import Workspace

JOB: dict[str, Any] = {
    "rules": [{"review": {"any": "Robin", "confidence": 0.6}}, {"keep": {"any": "Robin", "confidence": 85}}],
    "actions": {"review": {"copy": "s3://clean/{key}"}},
    "limits": {"tps": 500},
}
TOLD = ("has confidence: 0.6, which is 0.6 percent", "rules[1] (keep) can never match")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for all tests; nothing may be written to ``locked``."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", 30),),
        buckets=(BucketSpec("clean"), BucketSpec("locked")),
        deny=(DenyRule("PutObject", "locked/*"), DenyRule("CopyObject", "locked/*")),
    )
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace."""
    return Workspace(tmp_path, sandbox, **JOB)


def test_a_run_says_them_once(workspace: Workspace) -> None:
    """On stderr, before the first image; in the summary and in the events; ``status`` repeats them."""
    code, out, err = workspace.here("run", "job.yaml", "--json", "--events", "events.jsonl")
    assert code in {ExitCode.OK, ExitCode.SOME_FAILED}
    summary = json.loads(out)
    lines = (workspace.folder / "events.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    names = [event["event"] for event in events]
    cautioned = [event["message"] for event in events if event["event"] == "cautioned"]
    assert names.index("image_examined") > max(at for at, name in enumerate(names) if name == "cautioned")
    assert cautioned == summary["cautions"]
    for told in TOLD:
        assert err.count(told) == 1
        assert sum(told in sentence for sentence in cautioned) == 1
    assert f"{len(cautioned)}, in the log of this run" in err
    assert workspace.json("status", "job.yaml")["cautions"] == cautioned
    assert TOLD[0][:20] in workspace.here("status", "job.yaml")[1]


def test_a_plan_says_them_once(workspace: Workspace) -> None:
    """In its result; with a sample on stderr too, before the question what it costs."""
    code, out, err = workspace.here("plan", "job.yaml")
    assert (code, out.count("caution")) == (0, 2)
    assert "caution" not in err
    assert (
        workspace.json("plan", "job.yaml")["cautions"]
        == workspace.json("plan", "job.yaml", "--sample", "3", "--yes")["cautions"]
    )
    terminal = workspace.terminal("plan", "job.yaml", "--sample", "8")
    terminal.read_until("[y/N]")
    terminal.type("n\n")
    assert terminal.end() == 0
    lines = terminal.lines
    said = next(at for at, line in enumerate(lines) if line.startswith("caution: rules[1]"))
    assert said < next(at for at, line in enumerate(lines) if "The sample costs" in line)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_target_that_cannot_be_written(workspace: Workspace, command: str) -> None:
    """Exit code 4 with the action and the permission, and nothing is paid."""
    before = workspace.billed()
    settings = ["--set", "actions.review.copy=s3://locked/{key}", "--set", "check_targets=write"]
    code, _, err = workspace.here(command, "job.yaml", *settings)
    assert code == ExitCode.ACCESS
    assert "actions.review: the target cannot be written" in err
    assert "s3:PutObject" in err
    assert workspace.billed() == before


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_target_that_does_not_exist(workspace: Workspace, command: str) -> None:
    """Exit code 4 with the bucket, and nothing is paid."""
    before = workspace.billed()
    code, _, err = workspace.here(command, "job.yaml", "--set", "actions.review.copy=s3://claen/{key}")
    assert code == ExitCode.ACCESS
    assert "'claen' does not exist" in err
    assert workspace.billed() == before
