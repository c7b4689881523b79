"""``labels`` and ``plan`` as commands: what they print, what they ask, what they pay, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.cli.app import command_line
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess

PICTURES = 60
JOB = """\
version: 1
name: robins
source: {uri: "s3://raw/raw/", order: random}
rules:
  - keep: {any: [Robin], confidence: 60}
otherwise: reject
limits: {budget_usd: 1}
stop: {hit_rate: {below: 0.01}}
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One for all tests."""
    with SandboxProcess(
        SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=200.0)
    ) as process:
        yield process


class Place:
    """A folder with a job in it."""

    def __init__(self, folder: Path, sandbox: SandboxProcess) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.env = {"HOME": str(folder), **sandbox.environment()}
        (folder / "job.yaml").write_text(JOB)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command in this process: exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name, value in self.env.items():
                patch.setenv(name, value)
            return command_line(arguments), out.getvalue(), err.getvalue()

    def json(self, *arguments: str) -> dict[str, Any]:
        """What ``--json`` prints, of a command that ends well."""
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def billed(self) -> int:
        """Detections that were billed so far."""
        operations = self.sandbox.stats().operations
        return operations["DetectLabels"].billed if "DetectLabels" in operations else 0


@pytest.fixture
def place(tmp_path: Path, sandbox: SandboxProcess) -> Place:
    """A new one."""
    return Place(tmp_path, sandbox)


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_plan_is_free(place: Place) -> None:
    """Without a sample nothing is paid and no file is written; the figures are those of the listing."""
    before = place.billed()
    found = place.json("plan", "job.yaml")
    assert found["listed"] == PICTURES
    assert found["candidates"] + sum(found["skipped"].values()) == PICTURES
    assert found["unpaid"] == found["candidates"]
    assert found["calls"] == found["unpaid"] - found["same_content"]
    assert found["cost_usd"] == pytest.approx(found["calls"] / 1000)
    assert (found["ends"], found["tps"], found["sample"]) == ("completed", 200.0, None)
    assert found["hours"] == pytest.approx(found["calls"] / 200 / 3600, abs=1e-4)
    assert found["by_hand_usd"] == pytest.approx([0.036 * found["candidates"], 0.06 * found["candidates"]])
    assert place.billed() == before
    assert not (place.folder / ".asyncfilter").exists()


def test_a_sample_is_kept_for_the_run(place: Place) -> None:
    """It is paid for once, gives estimates with intervals, and the run pays for the rest."""
    found = place.json("plan", "job.yaml", "--sample", "30", "--yes")
    sample = found["sample"]
    assert sample["examined"] == 30
    for name in ("hit_rate", "failure_share", "keep_total", "total_usd", "kept_usd"):
        assert sample[name]["low"] <= sample[name]["value"] <= (sample[name]["high"] or float("inf"))
    assert sample["confidence"] == 0.95
    code, _, err = place("plan", "job.yaml", "--sample", "30", "--yes")
    assert code == 0, err
    before = place.billed()
    code, out, err = place("run", "job.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["this_run"]["calls"] == found["calls"] - sample["calls"]
    assert place.billed() - before == json.loads(out)["this_run"]["billed_calls"]


def test_a_sample_in_a_script_needs_a_yes(place: Place) -> None:
    """Without a terminal and without ``--yes`` nothing is listed and nothing is paid: exit 2, and the flag is named."""
    result = subprocess.run(
        [sys.executable, "-m", "asyncfilter", "plan", "job.yaml", "--sample", "5"],
        cwd=place.folder,
        env=os.environ | place.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert not (place.folder / ".asyncfilter").exists()


@pytest.mark.parametrize(("answer", "calls"), [(b"n\n", 0), (b"y\n", 5)])
def test_the_price_is_said_before_it_is_asked_for(place: Place, answer: bytes, calls: int) -> None:
    """On a terminal the question names calls and dollars; only a yes pays, and the plan is shown either way."""
    before = place.billed()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncfilter", "plan", "job.yaml", "--sample", "5"],
        cwd=place.folder,
        env=os.environ | place.env | {"TERM": "dumb"},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
    )
    os.close(theirs)
    told = b""
    while b"[y/N]" not in told:
        told += os.read(ours, 1024)
    assert b"5 calls, $0.005" in told
    os.write(ours, answer)
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert b"listed" in out
    assert (b"hit rate" in out) == bool(calls)
    assert place.billed() - before <= calls


def test_a_plan_for_people(place: Place) -> None:
    """The same figures in words, with a caution where the order makes a stop rule doubtful."""
    code, out, _ = place("plan", "job.yaml", "--set", "source.order=listing", "--set", "limits.budget_usd=0.01")
    assert code == 0
    for words in ("listed", "to pay for", "for 10 calls", "ends the run", "by hand", "no sample of the rest"):
        assert words in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("plan", "absent.yaml"), 2, "absent.yaml"),
        (("plan", "job.yaml", "--sample", "-3"), 2, "--sample"),
        (("plan", "job.yaml", "--json", "--events", "-", "--sample", "1", "--yes"), 2, "stdout"),
        (("plan", "job.yaml", "--set", "source.uri=s3://no-such-bucket/"), 4, "no-such-bucket"),
        (("labels",), 2, "IMAGE"),
        (("labels", "absent.jpg"), 2, "absent.jpg"),
        (("labels", "s3://raw/absent.jpg"), 2, "no such object"),
        (("labels", "s3://no-such-bucket/x.jpg"), 4, "no-such-bucket"),
        (("labels", "s3://raw/absent.jpg", "--confidence", "101"), 2, "--confidence"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(place: Place, arguments: tuple[str, ...], code: int, word: str) -> None:
    """Each mistake has its exit code and a word about it, and no traceback."""
    found, _, err = place(*arguments)
    assert (found, word in err, "Traceback" in err) == (code, True, False), err


def test_another_source_is_refused(place: Place) -> None:
    """A plan of a job whose checkpoint is of another source says what the run would say: exit 3."""
    place("plan", "job.yaml", "--sample", "1", "--yes")
    code, _, err = place("plan", "job.yaml", "--set", "source.uri=s3://raw/raw/robin/")
    assert code == 3
    assert "source.uri" in err


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robins(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Addresses of three pictures of robins that are whole."""
    place = Place(tmp_path_factory.mktemp("robins"), sandbox)
    place("plan", "job.yaml", "--sample", str(PICTURES), "--yes")
    _, out, _ = place("export", "job.yaml", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    sure = [row["key"] for row in rows if any(label["name"] == "Robin" for label in row.get("labels") or ())]
    return [f"s3://raw/{key}" for key in sure[:3]]


def test_labels_give_a_rule_that_works(place: Place, robins: list[str]) -> None:
    """The printed rule, pasted into a job, keeps the images it came from; the second look is free."""
    Image.new("RGB", (200, 150), "red").save(place.folder / "local.jpg")
    found = place.json("labels", *robins, "local.jpg", "--confidence", "60", "--ignore", "sky")
    assert [image["uri"] for image in found["images"]] == [*robins, "local.jpg"]
    assert "Robin" in found["selected"]
    assert not {"Animal", "Bird", "Nature", "Outdoors", "Sky"} & set(found["selected"])
    assert found["calls"] == 4
    assert found["spent_usd"] == 0.004
    assert place.json("labels", *robins, "local.jpg")["calls"] == 0
    job = JOB.partition("rules:")[0] + found["rule"] + "checkpoint: pasted.db\n"
    (place.folder / "pasted.yaml").write_text(job)
    code, out, err = place("run", "pasted.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] >= 3


def test_labels_for_people(place: Place, robins: list[str]) -> None:
    """Labels, boxes, what is too general and why, the rule and the money."""
    code, out, err = place("labels", *robins, "--confidence", "60")
    assert code == 0, err
    for words in (robins[0], "Bird > Animal", "above Robin", "3 of 3", "- keep: {any: [", "3 paid calls, $0.003"):
        assert words in out


def test_a_job_that_is_like_good_images(place: Place, robins: list[str]) -> None:
    """``like`` uses what ``labels`` paid for; the log names what it came to; refilter works, and never pays."""
    place("labels", *robins)
    text = JOB.replace("any: [Robin]", f"like: {json.dumps(robins)}, ignore: [Wood]").replace("robins", "like")
    (place.folder / "like.yaml").write_text(text)
    code, out, err = place("run", "like.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] > 0
    assert "like_resolved" in err
    assert "Robin" in err
    code, _, err = place("refilter", "like.yaml", "--set", "rules[0].keep.confidence=75")
    assert code in {0, 1}, err
    code, _, err = place("refilter", "like.yaml", "--set", "rules[0].keep.like=s3://raw/other.jpg")
    assert code == 2
    assert "not known" in err
