"""``bench`` as a command: what it prints, what it asks, what it pays, how it ends."""

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
    """One for all tests: a quota of 40, of which Service Quotas says that it is 50."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=40.0, announced_tps=50.0
    )
    with SandboxProcess(options) as process:
        yield process


def use_other_host(place: Workspace) -> None:
    """Let the sandbox look like an account of a private network: not at an address of this machine alone."""
    place.env["AWS_ENDPOINT_URL"] = place.env["AWS_ENDPOINT_URL"].replace("127.0.0.1", "0.0.0.0")
    place.env |= {"NO_PROXY": "*", "no_proxy": "*"}


@pytest.fixture
def place(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new one."""
    return Workspace(tmp_path, sandbox, **JOB)


def test_it_measures_and_the_run_has_the_labels(place: Workspace) -> None:
    """The figures are those of the sandbox, and the run pays for none of these images again."""
    before = place.billed()
    found = place.json("bench", "job.yaml", "--seconds", "6", "--within", "1")
    assert (found["ended"], found["quota_tps"], found["quota_origin"], found["ceiling_tps"]) == (
        "seconds",
        50.0,
        "applied",
        75.0,
    )
    assert found["accepted_tps"] <= 40
    assert found["bound"] == "quota"
    assert found["throttled"] > 0
    assert found["spent_usd"] == pytest.approx((place.billed() - before) / 1000)
    assert found["labels_kept"] == found["billed_calls"]
    left = found["calls"] - found["labels_kept"] - found["refused"]  # waited for a repetition when time was over
    assert 0 <= left < found["throttled"]
    assert (found["request"]["quota_code"], found["request"]["region"]) == ("L-E29B542B", "us-east-1")
    assert 0 < found["demand"]["images"] <= PICTURES - found["calls"]
    assert (found["is_steady"], found["settings"]) == (False, None)
    limits = ("--set", "stop.matches=100000", "--set", f"limits.max_images={found['calls']}")
    run = place("run", "job.yaml", *limits, "--json")
    assert json.loads(run.stdout)["this_run"]["billed_calls"] <= left, run.stderr


def test_it_ends_with_the_money(place: Workspace) -> None:
    """So many dollars are spent and no more, and it says that they ended it."""
    before = place.billed()
    done = place("bench", "job.yaml", "--budget", "0.02")
    assert done.returncode == 0, done.stderr
    assert 0 < place.billed() - before <= 20
    for words in ("the money ended it", "50 calls a second (applied)", "too short"):
        assert words in " ".join(done.stdout.split())


def test_a_real_account_needs_a_yes(place: Workspace) -> None:
    """Without a terminal and without ``--yes`` nothing is paid or written: exit 2, and the flag is named."""
    use_other_host(place)
    before = place.billed()
    done = place("bench", "job.yaml", "--seconds", "2")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert place.billed() == before
    assert not (place.folder / ".asyncfilter").exists()
    assert place("bench", "job.yaml", "--seconds", "2", "--yes").returncode == 0
    assert place.billed() > before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("y\n", 0)])
def test_the_price_is_said_before_it_is_asked_for(place: Workspace, answer: str, code: int) -> None:
    """On a terminal the question names rate, time and dollars; only a yes pays."""
    use_other_host(place)
    before = place.billed()
    terminal = place.terminal("bench", "job.yaml", "--seconds", "2", has_stdout=False)
    terminal.read_until("[y/N]")
    assert "75 calls a second" in terminal.seen
    assert "at most $0.15" in terminal.seen
    terminal.type(answer)
    assert terminal.end() == code
    assert ("accepted" in terminal.out) == (place.billed() > before) == (code == 0)


def test_ctrl_c_shows_what_was_measured(place: Workspace) -> None:
    """A signal drains: exit 75, with the figures up to there on stdout and the labels kept."""
    process = place.start(
        "bench", "job.yaml", "--seconds", "600", "--budget", "3", "--events", "events.jsonl", "--json"
    )
    read_until(process, "rate_changed")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    found = json.loads(out)
    assert code == 75
    assert found["ended"] == "interrupted"
    assert found["labels_kept"] > 0
    assert json.loads((place.folder / "events.jsonl").read_text().splitlines()[-1])["event"] == "run_ended"
    assert place.json("status", "job.yaml")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
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
def test_what_is_wrong_is_told_in_a_line(place: Workspace, arguments: tuple[str, ...], code: int, word: str) -> None:
    """Each mistake has its exit code and a word about it, and no traceback."""
    done = place("bench", *arguments)
    assert (done.returncode, word in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
