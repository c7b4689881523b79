"""A misspelt label, a missing reference and a wrong address, as a user meets them on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.errors import ExitCode
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.workspace import Workspace

PICTURES = 40


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for all tests."""
    options = SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=500.0)
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace."""
    return Workspace(tmp_path, sandbox, source="s3://raw/raw/")


def cautions(workspace: Workspace, command: str, *options: str) -> list[str]:
    """The cautions of a command."""
    found: list[str] = workspace.summary(command, "job.yaml", *options)["cautions"]
    return found


def test_a_misspelt_label_is_told_everywhere_and_stops_nothing(workspace: Workspace) -> None:
    """In ``plan``, ``run``, ``status``, ``refilter`` and the summary, with the nearest name; in the log once."""
    write_job(workspace.job, source="s3://raw/raw/", rules=[{"keep": {"any": "Robbin", "category": "Pets"}}])
    said = cautions(workspace, "plan")
    assert ["'Robbin'" in sentence for sentence in said] == [True, False]
    assert said[0].endswith("the nearest is 'Robin'")
    assert said[1].endswith("the nearest is 'Animals and Pets'")
    _, shown, _ = workspace.here("plan", "job.yaml")
    assert "'Robbin'" in shown
    done = workspace("run", "job.yaml", "--json")
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["cautions"] == said
    assert summary["complete"] is True
    assert done.stderr.count("Robbin") == 1
    assert done.stderr.index("Robbin") < done.stderr.index("run_ended")
    assert cautions(workspace, "status") == said
    _, shown, _ = workspace.here("status", "job.yaml")
    assert shown.count("'Robbin'") == 1


def test_a_right_job_has_no_caution(workspace: Workspace) -> None:
    """An alias and another case are right; the sandbox's own names are right once an answer has them."""
    write_job(workspace.job, source="s3://raw/raw/", rules=[{"keep": {"any": ["robin", "HUMAN"]}}])
    assert cautions(workspace, "plan") == cautions(workspace, "run") == cautions(workspace, "status") == []


def test_a_reference_that_is_not_there(workspace: Workspace) -> None:
    """A plan tells it, at no cost; the run is refused before anything is paid."""
    write_job(workspace.job, source="s3://raw/raw/", rules=[{"keep": {"like": ["s3://raw/none.jpg", "./none.jpg"]}}])
    before = workspace.billed()
    said = cautions(workspace, "plan")
    assert len(said) == 2
    assert said[0].startswith("like: the reference s3://raw/none.jpg cannot be examined")
    assert workspace.here("run", "job.yaml")[0] == ExitCode.USAGE
    assert workspace.billed() == before


def test_nothing_to_examine(workspace: Workspace) -> None:
    """Exit code 1, the cause and the nearest prefix; the corrected job goes on with the same checkpoint."""
    write_job(workspace.job, source="s3://raw/Raw/")
    code, shown, _ = workspace.here("plan", "job.yaml")
    assert code == 0
    assert "nothing to examine: no object is listed in" in " ".join(shown.split())
    assert "Set source.uri to s3://raw/raw/" in shown
    planned = workspace.json("plan", "job.yaml")
    assert planned["ends"] == "nothing_to_examine"
    done = workspace("run", "job.yaml", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["exit_code"]) == (1, 1)
    assert (summary["stop_reason"], summary["complete"]) == ("nothing_to_examine", False)
    assert summary["nothing_to_examine"] == planned["nothing_to_examine"]
    assert summary["nothing_to_examine"]["nearest_prefix"] == "s3://raw/raw/"
    assert "upper and lower case" in done.stderr
    assert "asyncfilter plan job.yaml" in done.stderr
    write_job(workspace.job, source={"uri": "s3://raw/raw/", "include": ["*.{jpg,png}"]})
    again = workspace.summary("run", "job.yaml")
    keys = again["nothing_to_examine"]["skipped_keys"]["not_included"]
    assert len(keys) == 3
    assert all(key in again["error"] for key in keys)
    write_job(workspace.job, source="s3://raw/raw/")
    assert workspace.summary("run", "job.yaml")["complete"] is True
    write_job(workspace.job, source="s3://raw/Raw/")
    assert workspace.here("run", "job.yaml")[0] == ExitCode.CHECKPOINT
