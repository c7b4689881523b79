"""The command line from outside: real processes, a real sandbox, real signals."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.cli.signals import ECHO_S
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, syntax
from tests.kit.workspace import Workspace, ended, read_until, wait_until

PICTURES = 20
JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [
        {"reject": {"any": ["Person"], "confidence": 85}},
        {"keep": {"any": ["Robin"], "confidence": 93}},
        {"review": {"any": ["Robin"], "confidence": 60}},
    ],
    "actions": {"keep": {"copy": "s3://clean/robin/{relative}"}, "review": {"copy": "s3://review/robin/{relative}"}},
    "limits": {"budget_usd": 2},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for the module, with a quota that makes a run last some seconds."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", PICTURES),),
        buckets=(BucketSpec("clean"), BucketSpec("review"), BucketSpec("closed"), BucketSpec("abroad", "eu-west-1")),
        deny=(syntax.parse_deny("ListObjectsV2@closed*"),),
        tps=100,
        latency=syntax.parse_latency("20ms"),
    )
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[Workspace]:
    """A new folder, and the sandbox without faults."""
    sandbox.control("POST", "reset-stats")
    yield Workspace(tmp_path, sandbox, **JOB)
    sandbox.control("POST", "faults", {"faults": []})
    sandbox.control("POST", "latency", {"detect": "20ms", "s3": "0s"})


# -- Output -----------------------------------------------------------------------------------------------------------


COUNTS = [
    *("listed", "skipped", "examined", "overshoot", "from_checkpoint", "calls", "attempts"),
    *("throttled", "retried", "failed", "keep", "review", "reject", "copied"),
    *("deleted", "moved", "tagged", "stale", "billed_calls", "spent_usd"),
]
SUMMARY = [
    *("run_id", "name", "stop_reason", *COUNTS, "budget_usd", "tps_mean", "tps_limit", "wall_s", "resumed"),
    *("checkpoint", "this_run"),
]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> tuple[Path, dict[str, Any]]:
    """A folder of a completed run, and its summary."""
    workspace = Workspace(tmp_path_factory.mktemp("example"), sandbox, **JOB)
    return workspace.folder, workspace.summary("run", "job.yaml", "--events", "events.jsonl")


@pytest.fixture
def finished(workspace: Workspace, example: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """The summary of a completed run, whose files are copied to ``workspace``."""
    folder, summary = example
    shutil.copytree(folder, workspace.folder, dirs_exist_ok=True)
    return summary


def test_the_summary_has_the_promised_names(workspace: Workspace) -> None:
    """docs/guarantees.md, *Summary*, exactly; amounts are numbers with exact decimals; messages are on stderr."""
    done = workspace("run", "job.yaml", "--json")
    summary = json.loads(done.stdout, parse_float=Decimal)
    assert done.returncode == 1
    assert list(summary)[: len(SUMMARY)] == SUMMARY
    assert list(summary["this_run"])[: len(COUNTS)] == COUNTS
    assert summary["spent_usd"] == summary["billed_calls"] * Decimal("0.001")
    assert summary["budget_usd"] == 2
    assert summary["listed"] == PICTURES
    assert summary["examined"] == summary["keep"] + summary["review"] + summary["reject"] + sum(
        summary["failed"].values()
    )
    assert summary["copied"] == summary["keep"] + summary["review"]
    assert summary["stop_reason"] == "completed"
    assert "finished: the listing was examined to its end" in done.stderr


def test_a_second_run_costs_nothing(workspace: Workspace, finished: dict[str, Any]) -> None:
    """A finished checkpoint is continued without a call."""
    again = workspace.summary("run", "job.yaml")
    assert again["this_run"]["calls"] == 0
    assert again["spent_usd"] == finished["spent_usd"]


def test_a_limit_of_the_user_ends_with_zero(workspace: Workspace) -> None:
    """Stopped by stop.matches: exit 0, and the key that raises it is named."""
    done = workspace("run", "job.yaml", "--set", "stop.misses_in_a_row=4")
    assert done.returncode == 0
    assert "stop.misses_in_a_row: 4" in done.stderr


def test_events_are_appended_one_a_line(workspace: Workspace, finished: dict[str, Any]) -> None:
    """The file begins with run_started, ends with run_ended, and grows with the next run."""
    path = workspace.folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_ended"
    assert events[-1]["summary"]["run_id"] == finished["run_id"]
    assert sum(event["event"] == "image_examined" for event in events) == finished["examined"] - sum(
        finished["failed"].values()
    )
    streamed = workspace("run", "job.yaml", "--events", "-").stdout.splitlines()
    assert [json.loads(line)["event"] for line in streamed] == ["run_started", "draining", "run_ended"]


def test_events_of_repetitions_are_written_too(workspace: Workspace) -> None:
    """Failed attempts are in the events, and the file does not disturb the run."""
    workspace.sandbox.control("POST", "faults", {"faults": ["internal=1x"]})
    summary = workspace.summary("run", "job.yaml", "--set", "limits.max_images=3", "--events", "events.jsonl")
    reported = [json.loads(line)["event"] for line in (workspace.folder / "events.jsonl").read_text().splitlines()]
    assert summary["retried"] == 3
    assert reported.count("attempt_failed") >= 3


def test_logs_are_json_on_request(workspace: Workspace) -> None:
    """Every line on stderr is JSON with a fixed name."""
    done = workspace("run", "job.yaml", "--set", "limits.max_images=3", "--log-format", "json")
    names = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert names[0] == "run_started"
    assert names[-1] == "run_ended"


def test_failures_are_retried_on_request(workspace: Workspace, finished: dict[str, Any]) -> None:
    """--retry-failed examines the failed images again."""
    again = workspace.summary("run", "job.yaml", "--retry-failed")
    assert again["this_run"]["calls"] == sum(finished["failed"].values())


def test_a_dry_run_pays_and_copies_nothing(workspace: Workspace) -> None:
    """The labels are kept; the following real run copies and pays nothing."""
    dry = workspace.summary("run", "job.yaml", "--dry-run")
    assert dry["copied"] == 0
    assert dry["calls"] == dry["examined"]
    real = workspace.summary("run", "job.yaml")
    assert real["this_run"]["calls"] == 0
    assert real["copied"] == real["keep"] + real["review"]


def test_status_tells_the_same_as_the_run(workspace: Workspace, finished: dict[str, Any]) -> None:
    """``status`` has the counts under the same names, and prints a short text without ``--json``."""
    status = workspace.summary("status", "job.yaml")
    same = [name for name in COUNTS if name != "overshoot"]
    assert {name: status[name] for name in same} == {name: finished[name] for name in same}
    assert status["running"] is None
    assert [run["outcome"] for run in status["runs"]] == ["completed"]
    assert f"{finished['keep']} keep" in workspace("status", "job.yaml").stdout


def test_refilter_shows_before_and_after_and_calls_nothing(workspace: Workspace, finished: dict[str, Any]) -> None:
    """A lower confidence keeps more; a dry run changes nothing; copies no longer made are counted and listed."""
    lower = ["refilter", "job.yaml", "--set", "rules[1].keep.confidence=60"]
    workspace.sandbox.control("POST", "reset-stats")
    dry = workspace.summary(*lower, "--dry-run")
    assert dry["before"]["keep"] == finished["keep"]
    assert dry["keep"] > finished["keep"]
    assert workspace.summary("status", "job.yaml")["keep"] == finished["keep"]
    real = workspace.summary(*lower)
    assert real["keep"] == dry["keep"]
    assert real["stale"] == finished["review"]
    stale = workspace("export", "job.yaml", "--stale", "--set", "rules[1].keep.confidence=60").stdout.splitlines()
    assert len(stale) == real["stale"]
    assert workspace.billed() == 0
    assert "before" in workspace("refilter", "job.yaml").stdout


def test_export_selects_and_writes_files_whole(workspace: Workspace, finished: dict[str, Any]) -> None:
    """JSON Lines and CSV, by verdict or failure; an existing file needs --yes."""
    kept = [json.loads(line) for line in workspace("export", "job.yaml", "--verdict", "keep").stdout.splitlines()]
    assert len(kept) == finished["keep"]
    assert {line["verdict"] for line in kept} == {"keep"}
    wanted = ["export", "job.yaml", "--format", "csv", "--failed", "--output", "failed.csv"]
    assert workspace.summary(*wanted)["lines"] == sum(finished["failed"].values())
    with (workspace.folder / "failed.csv").open(newline="") as file:
        assert {row["error"] for row in csv.DictReader(file)} == set(finished["failed"])
    assert workspace(*wanted).returncode == 130
    assert workspace(*wanted, "--yes").returncode == 0
    assert not list(workspace.folder.glob("*.part"))


def test_quota_names_both_detectors(workspace: Workspace) -> None:
    """Rate, origin, price and hours of both, as text and as JSON."""
    found = workspace.summary("quota")
    labels = found["detectors"]["rekognition"]
    assert labels["tps"] == 100
    assert labels["hours_per_million"] == pytest.approx(2.78, abs=0.01)
    assert "rekognition-custom-labels" in found["detectors"]
    assert "DetectLabels" in workspace("quota", "--region", "eu-west-1").stdout


# -- Errors ------------------------------------------------------------------------------------------------------------


WRONG = {
    "missing file": (["run", "none.yaml"], 2, "none.yaml:1:1:"),
    "bad YAML": (["run", "bad.yaml"], 2, "bad.yaml:"),
    "two mistakes": (["run", "job.yaml", "--set", "limits.tps=-1", "--set", "name=A B"], 2, "2 problems"),
    "unknown bucket": (["run", "job.yaml", "--set", "source=s3://nowhere/"], 4, "'nowhere' does not exist"),
    "unknown target": (["run", "job.yaml", "--set", "actions.keep.copy=s3://nowhere/x/"], 4, "'nowhere'"),
    "wrong region": (["run", "job.yaml", "--set", "detector.region=eu-west-1"], 4, "us-east-1"),
    "denied permission": (["run", "job.yaml", "--set", "source=s3://closed/"], 4, "s3:ListBucket"),
    "target feeds source": (["run", "job.yaml", "--set", "actions.keep.copy=s3://raw/raw/x/"], 2, "actions.keep"),
    "no checkpoint": (["status", "job.yaml"], 3, "there is no checkpoint"),
    "nothing to refilter": (["refilter", "job.yaml"], 3, "there is no checkpoint"),
    "nothing to export": (["export", "job.yaml"], 3, "there is no checkpoint"),
    "foreign checkpoint": (["run", "job.yaml", "--set", "checkpoint=foreign.db"], 3, "not a checkpoint"),
    "empty checkpoint": (["run", "job.yaml", "--set", "checkpoint=empty.db"], 3, "empty"),
    "unknown option": (["run", "job.yaml", "--nope"], 2, "--nope"),
    "unknown command": (["fly"], 2, "fly"),
    "missing argument": (["run"], 2, "JOB"),
    "no command": ([], 2, "Usage:"),
    "two for stdout": (["run", "job.yaml", "--json", "--events", "-"], 2, "--events"),
    "unwritable events": (["run", "job.yaml", "--events", "none/x"], 2, "--events none/x"),
    "wrong fault": (["sandbox", "--fault", "fire=1%"], 2, "'fire'"),
    "wrong source of labels": (["sandbox", "--labels", "tea"], 2, "tea"),
    "missing folder": (["sandbox", "--load", "a=none"], 2, "none"),
}


@pytest.mark.parametrize(("arguments", "code", "text"), WRONG.values(), ids=WRONG.keys())
def test_errors_are_reported_in_a_line(workspace: Workspace, arguments: list[str], code: int, text: str) -> None:
    """A message, its exit code, nothing on stdout, no traceback, nothing paid."""
    (workspace.folder / "bad.yaml").write_text("version: 1\nsource: [}\n")
    (workspace.folder / "empty.db").touch()
    with closing(sqlite3.connect(workspace.folder / "foreign.db")) as db, db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    seen, out, err = workspace.here(*arguments)
    assert (seen, out) == (code, "")
    assert text in err
    assert "Traceback" not in err
    assert workspace.billed() == 0


@pytest.mark.parametrize("missing", ["credentials", "endpoint"])
def test_an_account_that_cannot_be_reached_stops_the_run(workspace: Workspace, missing: str) -> None:
    """Missing credentials and a missing server end with 4 and name the setting."""
    env = dict(workspace.env)
    if missing == "credentials":
        del env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
    else:
        env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = workspace("run", "job.yaml", env=env)
    assert done.returncode == 4
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_permission_lost_on_the_way_ends_the_run_with_its_cause(workspace: Workspace) -> None:
    """A denied copy stops the run with 4, the cause and the remedy; paid labels are kept."""
    workspace.sandbox.control("POST", "faults", {"faults": ["denied:CopyObject=100%"]})
    done = workspace("run", "job.yaml", "--json")
    assert done.returncode == 4
    assert "s3:PutObject" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"stop_reason": "failed"' in done.stdout


def test_two_runs_on_one_checkpoint(workspace: Workspace) -> None:
    """The second run is refused with 3 while the first continues; status can read meanwhile."""
    workspace.sandbox.control("POST", "latency", {"detect": "300ms"})
    first = workspace.start("run", "job.yaml", "--set", "limits.concurrency=1", "--log-level", "debug")
    read_until(first, "image_examined", 1)
    second, status = workspace.start("run", "job.yaml"), workspace.start("status", "job.yaml", "--json")
    code, out, err = ended(status)
    assert (code, f'"pid": {first.pid}' in out) == (0, True), err
    code, _, err = ended(second)
    assert (code, f"process {first.pid}" in err) == (3, True), err
    code, _, err = ended(first)
    assert code == 1, err


def test_fresh_over_paid_labels_needs_a_yes(workspace: Workspace) -> None:
    """Without a terminal it is refused and the flag named; with the flag the old file is moved, not deleted."""
    workspace.here("run", "job.yaml", "--set", "limits.max_images=3")
    refused = workspace("run", "job.yaml", "--fresh")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    fresh = workspace.summary("run", "job.yaml", "--fresh", "--yes", "--set", "limits.max_images=2")
    assert not fresh["resumed"]
    assert len(list((workspace.folder / ".asyncfilter").glob("robins*.db"))) == 2


def test_another_detector_is_refused_with_two_ways_out(workspace: Workspace) -> None:
    """Stored labels do not fit the changed detector: exit 3, and both remedies are named."""
    workspace.here("run", "job.yaml", "--set", "limits.max_images=2")
    done = workspace("run", "job.yaml", "--set", "detector.max_labels=5")
    assert done.returncode == 3
    assert "--fresh" in done.stderr
    assert "checkpoint:" in done.stderr


def test_a_failure_of_our_own_is_one_line_and_a_file(workspace: Workspace, tmp_path: Path) -> None:
    """Exit 70, one line, the traceback in a named file; on stderr with --debug only."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import asyncfilter.job.load as load\n"
        "def fail(*_, **__): raise ZeroDivisionError('a bug')\n"
        "load.load_job = fail\n"
    )
    env = {**workspace.env, "PYTHONPATH": str(broken), "TMPDIR": str(tmp_path)}
    done = workspace("run", "job.yaml", env=env)
    (details,) = tmp_path.glob("asyncfilter-*.log")
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert str(details) in done.stderr
    assert "ZeroDivisionError: a bug" in details.read_text()
    assert "Traceback" in workspace("--debug", "run", "job.yaml", env=env).stderr


@pytest.mark.usefixtures("finished")
def test_a_reader_that_leaves_is_no_error(workspace: Workspace) -> None:
    """``export | head`` and ``status | true`` report no error of the pipe."""
    for arguments in (["export", "job.yaml"], ["status", "job.yaml", "--json"], ["status", "job.yaml"]):
        process = workspace.start(*arguments)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        code, _, err = ended(process)
        assert (code, err) == (0, "")


# -- Signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains_and_the_same_command_resumes(workspace: Workspace, number: signal.Signals) -> None:
    """Exit 75, everything paid for is kept, nothing is paid twice."""
    process = workspace.start("run", "job.yaml", "--log-level", "debug", "--json")
    read_until(process, "image_examined", 3)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 75
    assert "Traceback" not in err
    assert "continues where this run stopped" in err
    interrupted = json.loads(out)
    assert interrupted["stop_reason"] == "interrupted"
    resumed = workspace.summary("run", "job.yaml", "--set", "limits.max_images=8")
    assert resumed["examined"] == 8
    assert resumed["calls"] == interrupted["calls"] + resumed["this_run"]["calls"]
    assert workspace.sandbox.stats().calls_per_key_max == 1


def test_a_second_signal_aborts(workspace: Workspace) -> None:
    """Exit 130 at once, although calls in flight are never answered; their possible cost counts as spent."""
    workspace.sandbox.control("POST", "faults", {"faults": ["timeout=100%"]})
    process = workspace.start("run", "job.yaml")
    read_until(process, "run_started")
    wait_until(lambda: "DetectLabels" in workspace.sandbox.stats().operations)
    process.send_signal(signal.SIGINT)
    read_until(process, "draining")
    time.sleep(2 * ECHO_S)  # a signal that comes sooner is the same one
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "aborted" in err
    assert "Traceback" not in err
    workspace.sandbox.control("POST", "faults", {"faults": []})
    assert (
        workspace.summary("run", "job.yaml", "--set", "limits.max_images=2")["spent_usd"]
        > workspace.billed() / 1000 - 0.0005
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_wrapper_repeats_drains(workspace: Workspace, number: signal.Signals) -> None:
    """``timeout`` sends a signal to its child and then to the whole group: one interruption, so exit 75."""
    workspace.sandbox.control("POST", "faults", {"faults": ["timeout=100%"]})
    process = workspace.start(
        "run", "job.yaml", "--json", "--set", "limits.timeout_s=1", "--set", "limits.max_attempts=1"
    )
    wait_until(lambda: "DetectLabels" in workspace.sandbox.stats().operations)
    process.send_signal(number)
    time.sleep(ECHO_S / 5)  # so that the kernel does not take both for one
    process.send_signal(number)
    code, out, err = ended(process)
    workspace.sandbox.control("POST", "faults", {"faults": []})
    assert code == 75, err
    assert json.loads(out)["stop_reason"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_began(workspace: Workspace, number: signal.Signals) -> None:
    """During the checks of access one signal ends the run with 75; no call was made."""
    workspace.sandbox.control("POST", "latency", {"s3": "20s"})
    process = workspace.start("run", "job.yaml")
    wait_until(lambda: "HeadBucket" in workspace.sandbox.stats().operations)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 75
    assert err == "interrupted before the first call\n"
    assert workspace.billed() == 0


def test_the_sandbox_ends_with_a_signal(workspace: Workspace) -> None:
    """It prints its address, writes the environment to a file, and exits with 0."""
    process = workspace.start("sandbox", "--bucket", "a", "--env-file", "sandbox.env", "--json")
    read_until(process, "serving on")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    environment = json.loads(out)["environment"]
    assert code == 0
    lines = (workspace.folder / "sandbox.env").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines) == environment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_an_export_leaves_no_part(
    workspace: Workspace, finished: dict[str, Any], number: signal.Signals
) -> None:
    """Exit 75; neither the file nor a part of it is there."""
    (workspace.folder / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "from datetime import datetime\n"
        "sys.addaudithook(lambda name, found: 'part' in str(found[0]) and name == 'os.rename' and time.sleep(20))\n"
    )
    workspace.env["PYTHONPATH"] = os.pathsep.join([str(workspace.folder), workspace.env.get("PYTHONPATH", "")])
    process = workspace.start("export", "job.yaml", "--output", "all.jsonl")
    wait_until(lambda: any(path.stat().st_size for path in workspace.folder.glob(".asyncfilter-*.part")))
    process.send_signal(number)
    assert ended(process)[0] == 75
    assert not [path for path in workspace.folder.iterdir() if "part" in path.name or path.name == "all.jsonl"]
