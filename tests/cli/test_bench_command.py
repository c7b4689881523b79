"""``bench`` as a command: its output, questions, payments and exit codes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.jobs import COPIES
from tests.kit.workspace import Workspace, ended, read_until

PICTURES = 500
JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [{"keep": {"any": ["Robin"], "confidence": 60}}],
    "actions": COPIES,
    "limits": {"budget_usd": 3},
    "stop": {"matches": 1},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for all tests: its quota is 40, and Service Quotas reports 50."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=40.0, announced_tps=50.0
    )
    with SandboxProcess(options) as process:
        yield process


def use_other_host(workspace: Workspace) -> None:
    """Reach the sandbox at an address that is not loopback, as a real account of a private network."""
    workspace.env["AWS_ENDPOINT_URL"] = workspace.env["AWS_ENDPOINT_URL"].replace("127.0.0.1", "0.0.0.0")
    workspace.env |= {"NO_PROXY": "*", "no_proxy": "*"}


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace."""
    return Workspace(tmp_path, sandbox, **JOB)


def test_it_measures_and_the_run_has_the_labels(workspace: Workspace) -> None:
    """The figures are those of the sandbox, and the run does not pay for these images again."""
    before = workspace.billed()
    found = workspace.json("bench", "job.yaml", "--seconds", "6", "--within", "1")
    assert (found["ended"], found["quota_tps"], found["quota_origin"], found["ceiling_tps"]) == (
        "seconds",
        50.0,
        "applied",
        75.0,
    )
    assert found["accepted_tps"] <= 40
    assert found["bound"] == "quota"
    assert found["throttled"] > 0
    assert found["spent_usd"] == pytest.approx((workspace.billed() - before) / 1000)
    assert found["labels_kept"] == found["billed_calls"]
    left = found["calls"] - found["labels_kept"] - found["refused"]  # waiting for a repetition when the time was over
    assert 0 <= left < found["throttled"]
    assert (found["request"]["quota_code"], found["request"]["region"]) == ("L-E29B542B", "us-east-1")
    assert 0 < found["demand"]["images"] <= PICTURES - found["calls"]
    assert (found["is_steady"], found["settings"]) == (False, None)
    limits = ("--set", "stop.matches=100000", "--set", f"limits.max_images={found['calls']}")
    run = workspace("run", "job.yaml", *limits, "--json")
    assert json.loads(run.stdout)["this_run"]["billed_calls"] <= left, run.stderr


def test_it_ends_with_the_budget(workspace: Workspace) -> None:
    """At most the given dollars are spent, and the output gives them as the reason of the end."""
    before = workspace.billed()
    done = workspace("bench", "job.yaml", "--budget", "0.02")
    assert done.returncode == 0, done.stderr
    assert 0 < workspace.billed() - before <= 20
    for text in ("the budget was spent", "50 calls a second (applied)", "too short"):
        assert text in " ".join(done.stdout.split())


def test_a_real_account_needs_a_yes(workspace: Workspace) -> None:
    """Without a terminal and without ``--yes`` nothing is paid or written: exit 2, and the flag is named."""
    use_other_host(workspace)
    before = workspace.billed()
    done = workspace("bench", "job.yaml", "--seconds", "2")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert workspace.billed() == before
    assert not (workspace.folder / ".asyncfilter").exists()
    assert workspace("bench", "job.yaml", "--seconds", "2", "--yes").returncode == 0
    assert workspace.billed() > before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("y\n", 0)])
def test_the_price_is_shown_before_the_question(workspace: Workspace, answer: str, code: int) -> None:
    """On a terminal the question names rate, time and dollars; nothing is paid without a yes."""
    use_other_host(workspace)
    before = workspace.billed()
    terminal = workspace.terminal("bench", "job.yaml", "--seconds", "2", has_stdout=False)
    terminal.read_until("[y/N]")
    assert "75 calls a second" in terminal.seen
    assert "at most $0.15" in terminal.seen
    terminal.type(answer)
    assert terminal.end() == code
    assert ("accepted" in terminal.out) == (workspace.billed() > before) == (code == 0)


def test_ctrl_c_shows_what_was_measured(workspace: Workspace) -> None:
    """A signal drains: exit 75, the figures so far on stdout, and the labels kept."""
    process = workspace.start(
        "bench", "job.yaml", "--seconds", "600", "--budget", "3", "--events", "events.jsonl", "--json"
    )
    read_until(process, "rate_changed")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    found = json.loads(out)
    assert code == 75
    assert found["ended"] == "interrupted"
    assert found["labels_kept"] > 0
    assert json.loads((workspace.folder / "events.jsonl").read_text().splitlines()[-1])["event"] == "run_ended"
    assert workspace.json("status", "job.yaml")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("absent.yaml",), 2, "absent.yaml"),
        (("job.yaml", "--seconds", "0"), 2, "--seconds"),
        (("job.yaml", "--budget", "-1"), 2, "--budget"),
        (("job.yaml", "--tps", "0"), 2, "--tps"),
        (("job.yaml", "--within", "0"), 2, "--within"),
        (("job.yaml", "--json", "--events", "-"), 2, "stdout"),
        (("job.yaml", "--set", "source.uri=s3://no-such-bucket/"), 4, "no-such-bucket"),
    ],
)
def test_errors_are_reported_in_a_line(workspace: Workspace, arguments: tuple[str, ...], code: int, text: str) -> None:
    """Each mistake has its exit code and a message, and no traceback."""
    done = workspace("bench", *arguments)
    assert (done.returncode, text in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
