"""``bench`` as a command: what it prints, what it asks, what it pays, how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess

PICTURES = 500
JOB = """\
version: 1
name: robins
source: "s3://raw/raw/"
rules:
  - keep: {any: [Robin], confidence: 60}
otherwise: reject
actions:
  keep: {copy: "s3://clean/{key}"}
limits: {budget_usd: 3}
stop: {matches: 1}
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One for all tests: a quota of 40, of which Service Quotas says that it is 50."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=40.0, announced_tps=50.0
    )
    with SandboxProcess(options) as process:
        yield process


class Place:
    """A folder with a job in it."""

    def __init__(self, folder: Path, sandbox: SandboxProcess) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.env = os.environ | {"HOME": str(folder), "NO_PROXY": "*", "no_proxy": "*"} | sandbox.environment()
        (folder / "job.yaml").write_text(JOB)

    def elsewhere(self) -> None:
        """Let the sandbox look like an account of a private network: not at an address of this machine alone."""
        self.env["AWS_ENDPOINT_URL"] = self.env["AWS_ENDPOINT_URL"].replace("127.0.0.1", "0.0.0.0")
        self.env |= {"NO_PROXY": "*", "no_proxy": "*"}

    def command(self, *arguments: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "asyncfilter", *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        """What ``--json`` prints, of a command that ends well."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def billed(self) -> int:
        """Detections that were billed so far."""
        operations = self.sandbox.stats().operations
        return operations["DetectLabels"].billed if "DetectLabels" in operations else 0


@pytest.fixture
def place(tmp_path: Path, sandbox: SandboxProcess) -> Place:
    """A new one."""
    return Place(tmp_path, sandbox)


def test_it_measures_and_the_run_has_the_labels(place: Place) -> None:
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


def test_it_ends_with_the_money(place: Place) -> None:
    """So many dollars are spent and no more, and it says that they ended it."""
    before = place.billed()
    done = place("bench", "job.yaml", "--budget", "0.02")
    assert done.returncode == 0, done.stderr
    assert 0 < place.billed() - before <= 20
    for words in ("the money ended it", "50 calls a second (applied)", "too short"):
        assert words in " ".join(done.stdout.split())


def test_a_real_account_needs_a_yes(place: Place) -> None:
    """Without a terminal and without ``--yes`` nothing is paid or written: exit 2, and the flag is named."""
    place.elsewhere()
    before = place.billed()
    done = place("bench", "job.yaml", "--seconds", "2")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert place.billed() == before
    assert not (place.folder / ".asyncfilter").exists()
    assert place("bench", "job.yaml", "--seconds", "2", "--yes").returncode == 0
    assert place.billed() > before


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 130), (b"y\n", 0)])
def test_the_price_is_said_before_it_is_asked_for(place: Place, answer: bytes, code: int) -> None:
    """On a terminal the question names rate, time and dollars; only a yes pays."""
    place.elsewhere()
    before = place.billed()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        place.command("bench", "job.yaml", "--seconds", "2"),
        cwd=place.folder,
        env=place.env | {"TERM": "dumb"},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
    )
    os.close(theirs)
    told = b""
    while b"[y/N]" not in told:
        told += os.read(ours, 1024)
    assert b"75 calls a second" in told
    assert b"at most $0.15" in told
    os.write(ours, answer)
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == code
    assert (b"accepted" in out) == (place.billed() > before) == (code == 0)


def test_ctrl_c_shows_what_was_measured(place: Place) -> None:
    """A signal drains: exit 75, with the figures up to there on stdout and the labels kept."""
    process = subprocess.Popen(
        place.command("bench", "job.yaml", "--seconds", "600", "--budget", "3", "--events", "events.jsonl", "--json"),
        cwd=place.folder,
        env=place.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"rate_changed" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    found = json.loads(out)
    assert process.returncode == 75
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
def test_what_is_wrong_is_told_in_a_line(place: Place, arguments: tuple[str, ...], code: int, word: str) -> None:
    """Each mistake has its exit code and a word about it, and no traceback."""
    done = place("bench", *arguments)
    assert (done.returncode, word in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
