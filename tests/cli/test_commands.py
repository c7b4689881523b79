"""The command line as a user meets it: real processes, a real sandbox, real signals."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

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
    """One sandbox a module, with a quota that makes a run last some seconds."""
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
def place(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[Workspace]:
    """A folder of its own and a sandbox in good order."""
    sandbox.control("POST", "reset-stats")
    yield Workspace(tmp_path, sandbox, **JOB)
    sandbox.control("POST", "faults", {"faults": []})
    sandbox.control("POST", "latency", {"detect": "20ms", "s3": "0s"})


# -- What commands answer ----------------------------------------------------------------------------------------------


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
    """A folder in which a whole run ended, and its summary."""
    place = Workspace(tmp_path_factory.mktemp("example"), sandbox, **JOB)
    return place.folder, place.summary("run", "job.yaml", "--events", "events.jsonl")


@pytest.fixture
def finished(place: Workspace, example: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """The summary of a whole run that ended in ``place``."""
    folder, summary = example
    shutil.copytree(folder, place.folder, dirs_exist_ok=True)
    return summary


def test_the_summary_has_the_promised_names(place: Workspace) -> None:
    """docs/guarantees.md, *Summary*, to the letter; money is a number with exact decimals; talk is on stderr."""
    done = place("run", "job.yaml", "--json")
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


def test_a_second_run_costs_nothing(place: Workspace, finished: dict[str, Any]) -> None:
    """A finished checkpoint is continued without a call."""
    again = place.summary("run", "job.yaml")
    assert again["this_run"]["calls"] == 0
    assert again["spent_usd"] == finished["spent_usd"]


def test_a_limit_of_the_user_ends_with_zero(place: Workspace) -> None:
    """Stopped by stop.matches: exit 0, and the key that raises it is named."""
    done = place("run", "job.yaml", "--set", "stop.misses_in_a_row=4")
    assert done.returncode == 0
    assert "stop.misses_in_a_row: 4" in done.stderr


def test_events_are_appended_one_a_line(place: Workspace, finished: dict[str, Any]) -> None:
    """The file begins with run_started, ends with run_ended, and grows with the next run."""
    path = place.folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_ended"
    assert events[-1]["summary"]["run_id"] == finished["run_id"]
    assert sum(event["event"] == "image_examined" for event in events) == finished["examined"] - sum(
        finished["failed"].values()
    )
    streamed = place("run", "job.yaml", "--events", "-").stdout.splitlines()
    assert [json.loads(line)["event"] for line in streamed] == ["run_started", "draining", "run_ended"]


def test_events_of_repetitions_are_written_too(place: Workspace) -> None:
    """Attempts that fail are told, and the file does not disturb the run."""
    place.sandbox.control("POST", "faults", {"faults": ["internal=1x"]})
    summary = place.summary("run", "job.yaml", "--set", "limits.max_images=3", "--events", "events.jsonl")
    reported = [json.loads(line)["event"] for line in (place.folder / "events.jsonl").read_text().splitlines()]
    assert summary["retried"] == 3
    assert reported.count("attempt_failed") >= 3


def test_logs_are_json_when_asked_for(place: Workspace) -> None:
    """Every line on stderr is JSON with a fixed name; nothing else is said there."""
    done = place("run", "job.yaml", "--set", "limits.max_images=3", "--log-format", "json")
    names = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert names[0] == "run_started"
    assert names[-1] == "run_ended"


def test_failures_are_tried_again_when_asked_for(place: Workspace, finished: dict[str, Any]) -> None:
    """--retry-failed calls for the failed images once more."""
    again = place.summary("run", "job.yaml", "--retry-failed")
    assert again["this_run"]["calls"] == sum(finished["failed"].values())


def test_a_dry_run_pays_and_copies_nothing(place: Workspace) -> None:
    """The labels are kept; the real run afterwards copies and pays for nothing."""
    dry = place.summary("run", "job.yaml", "--dry-run")
    assert dry["copied"] == 0
    assert dry["calls"] == dry["examined"]
    real = place.summary("run", "job.yaml")
    assert real["this_run"]["calls"] == 0
    assert real["copied"] == real["keep"] + real["review"]


def test_status_tells_the_same_as_the_run(place: Workspace, finished: dict[str, Any]) -> None:
    """Counts under the same names; and a few lines for people."""
    status = place.summary("status", "job.yaml")
    same = [name for name in COUNTS if name != "overshoot"]
    assert {name: status[name] for name in same} == {name: finished[name] for name in same}
    assert status["running"] is None
    assert [run["outcome"] for run in status["runs"]] == ["completed"]
    assert f"{finished['keep']} keep" in place("status", "job.yaml").stdout


def test_refilter_shows_before_and_after_and_calls_nothing(place: Workspace, finished: dict[str, Any]) -> None:
    """Lower confidence keeps more; a dry run changes nothing; copies no longer made are counted and listed."""
    lower = ["refilter", "job.yaml", "--set", "rules[1].keep.confidence=60"]
    place.sandbox.control("POST", "reset-stats")
    dry = place.summary(*lower, "--dry-run")
    assert dry["before"]["keep"] == finished["keep"]
    assert dry["keep"] > finished["keep"]
    assert place.summary("status", "job.yaml")["keep"] == finished["keep"]
    real = place.summary(*lower)
    assert real["keep"] == dry["keep"]
    assert real["stale"] == finished["review"]
    stale = place("export", "job.yaml", "--stale", "--set", "rules[1].keep.confidence=60").stdout.splitlines()
    assert len(stale) == real["stale"]
    assert place.billed() == 0
    assert "before" in place("refilter", "job.yaml").stdout


def test_export_selects_and_writes_files_whole(place: Workspace, finished: dict[str, Any]) -> None:
    """JSON Lines and CSV, by verdict or failed; an existing file needs a yes."""
    kept = [json.loads(line) for line in place("export", "job.yaml", "--verdict", "keep").stdout.splitlines()]
    assert len(kept) == finished["keep"]
    assert {line["verdict"] for line in kept} == {"keep"}
    wanted = ["export", "job.yaml", "--format", "csv", "--failed", "--output", "failed.csv"]
    assert place.summary(*wanted)["lines"] == sum(finished["failed"].values())
    with (place.folder / "failed.csv").open(newline="") as file:
        assert {row["error"] for row in csv.DictReader(file)} == set(finished["failed"])
    assert place(*wanted).returncode == 2
    assert place(*wanted, "--yes").returncode == 0
    assert not list(place.folder.glob("*.part"))


def test_quota_names_both_detectors(place: Workspace) -> None:
    """Rate, origin, price and hours of both, for people and for scripts."""
    found = place.summary("quota")
    labels = found["detectors"]["rekognition"]
    assert labels["tps"] == 100
    assert labels["hours_per_million"] == pytest.approx(2.78, abs=0.01)
    assert "rekognition-custom-labels" in found["detectors"]
    assert "DetectLabels" in place("quota", "--region", "eu-west-1").stdout


# -- What is wrong -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("arguments", "code", "word"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_in_a_line(place: Workspace, arguments: list[str], code: int, word: str) -> None:
    """A clear word, its exit code, nothing on stdout, no traceback, nothing paid."""
    (place.folder / "bad.yaml").write_text("version: 1\nsource: [}\n")
    (place.folder / "empty.db").touch()
    with sqlite3.connect(place.folder / "foreign.db") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    seen, out, err = place.here(*arguments)
    assert (seen, out) == (code, "")
    assert word in err
    assert "Traceback" not in err
    assert place.billed() == 0


@pytest.mark.parametrize("gone", ["credentials", "endpoint"])
def test_an_account_that_cannot_be_reached_stops_the_run(place: Workspace, gone: str) -> None:
    """No credentials and no server end with 4 and say what to set."""
    env = dict(place.env)
    if gone == "credentials":
        del env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
    else:
        env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = place("run", "job.yaml", env=env)
    assert done.returncode == 4
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_permission_lost_on_the_way_ends_the_run_with_its_cause(place: Workspace) -> None:
    """A denied copy stops the run with 4, the cause and what to do, and what was paid is kept."""
    place.sandbox.control("POST", "faults", {"faults": ["denied:CopyObject=100%"]})
    done = place("run", "job.yaml", "--json")
    assert done.returncode == 4
    assert "s3:PutObject" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"stop_reason": "failed"' in done.stdout


def test_two_runs_on_one_checkpoint(place: Workspace) -> None:
    """The second is refused with 3 while the first goes on; status may look on meanwhile."""
    place.sandbox.control("POST", "latency", {"detect": "300ms"})
    first = place.start("run", "job.yaml", "--set", "limits.concurrency=1", "--log-level", "debug")
    read_until(first, "image_examined", 1)
    second, looked = place.start("run", "job.yaml"), place.start("status", "job.yaml", "--json")
    code, out, err = ended(looked)
    assert (code, f'"pid": {first.pid}' in out) == (0, True), err
    code, _, err = ended(second)
    assert (code, f"process {first.pid}" in err) == (3, True), err
    code, _, err = ended(first)
    assert code == 1, err


def test_fresh_over_paid_labels_needs_a_yes(place: Workspace) -> None:
    """Without a terminal the answer is no and names the flag; with the flag the old file is moved, not deleted."""
    place.here("run", "job.yaml", "--set", "limits.max_images=3")
    refused = place("run", "job.yaml", "--fresh")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    fresh = place.summary("run", "job.yaml", "--fresh", "--yes", "--set", "limits.max_images=2")
    assert not fresh["resumed"]
    assert len(list((place.folder / ".asyncfilter").glob("robins*.db"))) == 2


def test_another_detector_is_refused_with_two_ways_out(place: Workspace) -> None:
    """Stored labels are answers to another question: exit 3, and both ways out are named."""
    place.here("run", "job.yaml", "--set", "limits.max_images=2")
    done = place("run", "job.yaml", "--set", "detector.max_labels=5")
    assert done.returncode == 3
    assert "--fresh" in done.stderr
    assert "checkpoint:" in done.stderr


def test_a_failure_of_our_own_is_one_line_and_a_file(place: Workspace, tmp_path: Path) -> None:
    """Exit 70, one line, the traceback in a file that is named; on stderr only with --debug."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import asyncfilter.job.load as load\n"
        "def fail(*_, **__): raise ZeroDivisionError('a bug')\n"
        "load.load_job = fail\n"
    )
    env = {**place.env, "PYTHONPATH": str(broken), "TMPDIR": str(tmp_path)}
    done = place("run", "job.yaml", env=env)
    (details,) = tmp_path.glob("asyncfilter-*.log")
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert str(details) in done.stderr
    assert "ZeroDivisionError: a bug" in details.read_text()
    assert "Traceback" in place("--debug", "run", "job.yaml", env=env).stderr


@pytest.mark.usefixtures("finished")
def test_a_reader_that_leaves_is_no_error(place: Workspace) -> None:
    """``export | head`` and ``status | true`` say nothing about the pipe."""
    for arguments in (["export", "job.yaml"], ["status", "job.yaml", "--json"], ["status", "job.yaml"]):
        process = place.start(*arguments)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        code, _, err = ended(process)
        assert (code, err) == (0, "")


# -- Signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains_and_the_same_command_resumes(place: Workspace, number: signal.Signals) -> None:
    """Exit 75, everything paid for is kept, nothing is paid twice."""
    process = place.start("run", "job.yaml", "--log-level", "debug", "--json")
    read_until(process, "image_examined", 3)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 75
    assert "Traceback" not in err
    assert "goes on where this run left off" in err
    interrupted = json.loads(out)
    assert interrupted["stop_reason"] == "interrupted"
    resumed = place.summary("run", "job.yaml", "--set", "limits.max_images=8")
    assert resumed["examined"] == 8
    assert resumed["calls"] == interrupted["calls"] + resumed["this_run"]["calls"]
    assert place.sandbox.stats().calls_per_key_max == 1


def test_a_second_signal_aborts(place: Workspace) -> None:
    """Exit 130 at once, although calls in flight are never answered; what they may have cost counts as spent."""
    place.sandbox.control("POST", "faults", {"faults": ["timeout=100%"]})
    process = place.start("run", "job.yaml")
    read_until(process, "run_started")
    wait_until(lambda: "DetectLabels" in place.sandbox.stats().operations)
    process.send_signal(signal.SIGINT)
    read_until(process, "draining")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "aborted" in err
    assert "Traceback" not in err
    place.sandbox.control("POST", "faults", {"faults": []})
    assert (
        place.summary("run", "job.yaml", "--set", "limits.max_images=2")["spent_usd"] > place.billed() / 1000 - 0.0005
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_began(place: Workspace, number: signal.Signals) -> None:
    """While access is still being checked one signal ends the run with 75; nothing was called."""
    place.sandbox.control("POST", "latency", {"s3": "20s"})
    process = place.start("run", "job.yaml")
    wait_until(lambda: "HeadBucket" in place.sandbox.stats().operations)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 75
    assert err == "interrupted before the first call\n"
    assert place.billed() == 0


def test_the_sandbox_ends_with_a_signal(place: Workspace) -> None:
    """It says where it serves, writes the environment to a file, and exits with 0."""
    process = place.start("sandbox", "--bucket", "a", "--env-file", "sandbox.env", "--json")
    read_until(process, "serving on")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    environment = json.loads(out)["environment"]
    assert code == 0
    lines = (place.folder / "sandbox.env").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines) == environment
