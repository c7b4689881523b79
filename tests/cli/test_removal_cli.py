"""``apply`` and ``undo`` from outside, in scripts and on terminals: consent, signals, ``kill -9``, real processes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncfilter.checkpoint.schema import STEPS
from asyncfilter.job import Job, load_job
from asyncfilter.model import Detection, Label, ObjectRef
from asyncfilter.records.removal import Step
from asyncfilter.sandbox import SandboxOptions, SandboxProcess
from asyncfilter.wiring import Overrides, plan_apply, plan_undo
from asyncfilter.wiring.run import run
from tests.kit.clocks import FastClock
from tests.kit.services import aws_settings, boto_client
from tests.kit.workspace import Workspace


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A sandbox with some latency, so that a process can be killed between two requests."""
    with SandboxProcess(SandboxOptions()) as process:
        yield process


@pytest.fixture(scope="module")
def s3(sandbox: SandboxProcess) -> Iterator[Any]:
    """A boto3 client of it."""
    with boto_client(sandbox, "s3") as client:
        yield client


class ByName:
    """A detector whose label follows from the key."""

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        return Detection((Label("Robin" if "robin" in image.key else "Person", 99.0),), "3.0")


class ExaminedBucket(Workspace):
    """A bucket whose images were examined, and the program; the job is the argument after the verb."""

    numbers = count(1)

    def __init__(
        self, sandbox: SandboxProcess, s3: Any, folder: Path, *, kind: str, versioned: bool, robins: int, people: int
    ) -> None:
        number = next(self.numbers)
        self.s3 = s3
        self.bucket, self.bin = f"raw-{number}", f"bin-{number}"
        action = {"move": f"s3://{self.bin}/{{key}}"} if kind == "move" else "delete"
        super().__init__(
            folder,
            sandbox,
            name=self.bucket,
            source=f"s3://{self.bucket}/",
            actions={"reject": action},
            limits={"tps": 5000},
        )
        for name in (self.bucket, self.bin):
            s3.create_bucket(Bucket=name)
        if versioned:
            s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.robins = [f"{n:04} robin.jpg" for n in range(robins)]
        self.people = [f"{n:04} person.jpg" for n in range(people)]
        for key in self.robins + self.people:
            s3.put_object(Bucket=self.bucket, Key=key, Body=key.encode())
        self._work(lambda job: run(job, overrides=Overrides(detector=ByName(), clock=FastClock())))

    def command(self, *arguments: str) -> list[str]:
        """The command line: the verb, the job, the options."""
        return super().command(arguments[0], "job.yaml", *arguments[1:])

    def pending(self, verb: str) -> int:
        """The number of images that ``verb`` would process."""
        plan = self._work(plan_apply if verb == "apply" else plan_undo)
        return int(plan.images)

    def _work(self, work: Callable[[Job], Any]) -> Any:
        """Run ``work`` in this process, with the sandbox's settings."""
        with aws_settings(**self.sandbox.environment()):
            return anyio.run(work, load_job(self.job))

    def keys(self, bucket: str | None = None) -> list[str]:
        """Keys of the objects in a bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket or self.bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    def markers(self) -> Counter[str]:
        """Delete markers by key."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        return Counter(marker["Key"] for page in pages for marker in page.get("DeleteMarkers", []))

    def steps(self) -> set[Step]:
        """The steps in the journal now, while a process writes to it."""
        path = self.folder / ".asyncfilter" / f"{self.bucket}.db"
        by_number = {number: step for step, number in STEPS.items()}
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return {by_number[number] for (number,) in db.execute("SELECT DISTINCT step FROM removal")}
        return set()


Make = Callable[..., ExaminedBucket]


@pytest.fixture
def make(sandbox: SandboxProcess, s3: Any, tmp_path: Path) -> Make:
    """A function that makes buckets, of 12 robins and 8 people by default."""

    def made(kind: str = "delete", *, versioned: bool = False, robins: int = 12, people: int = 8) -> ExaminedBucket:
        return ExaminedBucket(sandbox, s3, tmp_path, kind=kind, versioned=versioned, robins=robins, people=people)

    return made


# -- Consent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "no terminal to ask on"),
        (["--expect", "8"], "no terminal to ask on"),
        (["--yes"], "--yes alone agrees to nothing"),
        (["--yes", "--expect", "7"], "7 images were agreed to, 8 are pending"),
        (["--yes", "--expect", "0"], "0 images were agreed to, 8 are pending"),
        (["--yes", "--expect", "80"], "80 images were agreed to"),
        (["--yes", "--expect", "8", "--max-share", "0.39"], "40.0 %"),
        (["--yes", "--expect", "8", "--set", "otherwise=review"], "not those of this job"),
    ],
)
def test_without_the_right_number_nothing_is_done(make: Make, flags: list[str], expected: str) -> None:
    """Exit 2 with the cause, and every image stays."""
    bucket = make()
    ended = bucket("apply", *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert expected in " ".join(ended.stderr.split())
    assert bucket.keys() == sorted(bucket.robins + bucket.people)
    assert bucket.steps() == set()


def test_a_job_whose_rules_match_nothing_cannot_empty_a_bucket(make: Make) -> None:
    """A mistake in the rules is stopped by the share; --max-share 1 allows it."""
    bucket = make(robins=0)
    ended = bucket("apply", "--yes", "--expect", "8")
    assert ended.returncode == 2
    assert "100.0 %" in ended.stderr
    assert len(bucket.keys()) == 8
    assert bucket("apply", "--yes", "--expect", "8", "--max-share", "1").returncode == 0
    assert bucket.keys() == []


def test_scripts_agree_by_number(make: Make) -> None:
    """--yes --expect N removes the images; the JSON has the result, and nothing stays pending."""
    bucket = make("move")
    shown = json.loads(bucket("apply", "--dry-run", "--json").stdout)["plan"]
    assert (shown["images"], shown["share"], shown["exceeds"]) == (8, 0.4, False)
    ended = bucket("apply", "--yes", "--expect", "8", "--max-share", "0.4", "--json")
    result = json.loads(ended.stdout)
    assert (ended.returncode, result["moved"], result["failed"], result["left"]) == (0, 8, {}, 0)
    assert (bucket.keys(), bucket.keys(bucket.bin)) == (bucket.robins, bucket.people)
    assert bucket.pending("apply") == 0
    status = json.loads(bucket("status", "--json").stdout)
    assert (status["moved"], status["reject"], status["pending_removals"]) == (8, 8, 0)
    result = json.loads(bucket("undo", "--yes", "--expect", "8", "--json").stdout)
    assert result["restored"] == 8
    assert (bucket.keys(), bucket.keys(bucket.bin)) == (sorted(bucket.robins + bucket.people), [])
    status = json.loads(bucket("status", "--json").stdout)
    assert (status["moved"], status["reject"], status["pending_removals"]) == (0, 8, 0)


def test_a_quarantine_that_the_job_does_not_name_any_more_has_to_be_allowed(make: Make) -> None:
    """The dry run shows the place, undo refuses it with the flag that allows it, and the flag does."""
    bucket = make("move")
    assert bucket("apply", "--yes", "--expect", "8").returncode == 0
    changed = ("--set", "actions.reject=delete")
    shown = json.loads(bucket("undo", "--dry-run", "--json", *changed).stdout)["plan"]["places"]
    place = f"s3://{bucket.bin}/"
    assert shown == [
        {"place": place, "images": 8, "is_covered": False},
        {"place": f"s3://{bucket.bucket}/", "images": 8, "is_covered": True},
    ]
    refused = bucket("undo", "--yes", "--expect", "8", *changed)
    assert refused.returncode == 2
    assert f"--allow-place {place}" in refused.stderr
    assert len(bucket.keys(bucket.bin)) == 8
    assert bucket("undo", "--yes", "--expect", "8", "--allow-place", place, *changed).returncode == 0
    assert bucket.keys(bucket.bin) == []


@pytest.mark.parametrize("versioned", [False, True])
def test_the_effect_of_deletes_is_shown_before_the_question(make: Make, versioned: bool) -> None:
    """The plan shows whether deletes are permanent or make a marker; undo shows the same afterwards."""
    bucket = make(versioned=versioned)
    shown = " ".join(bucket("apply", "--dry-run").stdout.split())
    assert ("a delete marker hides each image" if versioned else "gone for ever") in shown
    assert "40.0 % of 20 examined" in shown
    bucket("apply", "--yes", "--expect", "8")
    plan = json.loads(bucket("undo", "--dry-run", "--json").stdout)["plan"]
    assert (plan["images"], sum(group["images"] for group in plan["lost"])) == ((8, 0) if versioned else (0, 8))


@pytest.mark.parametrize("typed", ["y", "08", ""])
def test_another_number_on_a_terminal_does_nothing(make: Make, typed: str) -> None:
    """Only the exact number is a consent; 130 otherwise."""
    bucket = make()
    terminal = bucket.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    terminal.type(f"{typed}\n")
    assert terminal.end() == 130
    assert "another number" in terminal.seen
    assert len(bucket.keys()) == 20


def test_the_number_on_a_terminal_does_it(make: Make) -> None:
    """Plan, question, number and result, for ``apply`` and ``undo``."""
    bucket = make("move")
    terminal = bucket.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    assert " person.jpg" in terminal.seen
    terminal.type("8\n")
    assert terminal.end() == 0
    assert "8 moved" in terminal.seen
    assert bucket.keys() == bucket.robins
    terminal = bucket.terminal("undo")
    terminal.read_until("Type 8 to continue: ")
    terminal.type("8\n")
    assert terminal.end() == 0
    assert "8 brought back" in terminal.seen
    assert bucket.keys() == sorted(bucket.robins + bucket.people)


def test_ctrl_c_at_the_question_does_nothing(make: Make) -> None:
    """Ctrl-C at the question changes nothing."""
    bucket = make()
    terminal = bucket.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 75
    assert len(bucket.keys()) == 20


def test_changed_images_are_reported_and_kept(make: Make, s3: Any) -> None:
    """Exit 1 with the cause, and the new object stays."""
    bucket = make()
    s3.put_object(Bucket=bucket.bucket, Key=bucket.people[0], Body=b"newer")
    ended = bucket("apply", "--yes", "--expect", "8", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["failed"]) == (1, {"changed": 1})
    assert "left: changed" in ended.stderr
    assert bucket.keys() == sorted([*bucket.robins, bucket.people[0]])


# -- kill -9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "versioned", "steps"),
    [
        ("delete", False, [Step.STARTED, Step.DELETED]),
        ("delete", True, [Step.STARTED, Step.DELETED]),
        ("move", False, [Step.STARTED, Step.COPIED, Step.VERIFIED, Step.DELETED]),
        ("move", True, [Step.COPIED, Step.VERIFIED]),
    ],
)
def test_kill_9_at_every_step(
    make: Make, sandbox: SandboxProcess, kind: str, versioned: bool, steps: list[Step]
) -> None:
    """A real process is killed at each step of apply and undo; resumed, nothing is lost or done twice."""
    bucket = make(kind, versioned=versioned, robins=30, people=1100 if kind == "delete" else 90)
    sandbox.control("POST", "latency", {"s3": "15ms"})
    try:
        for step in steps:
            kill_at(bucket, "apply", step)
            check_all_there(bucket, kind)
        finish(bucket, "apply")
        assert bucket.keys() == bucket.robins
        assert bucket.keys(bucket.bin) == (bucket.people if kind == "move" else [])
        assert bucket.markers() == (Counter(bucket.people) if versioned else Counter())
        if kind == "delete" and not versioned:
            return
        for step in (Step.RETURNING, Step.RETURNED, Step.UNDONE):
            kill_at(bucket, "undo", step)
            check_all_there(bucket, kind)
        finish(bucket, "undo")
    finally:
        sandbox.control("POST", "latency", {"s3": "0"})
    assert bucket.keys() == sorted(bucket.robins + bucket.people)
    assert (bucket.keys(bucket.bin), bucket.markers()) == ([], Counter())
    assert bucket.steps() == {Step.UNDONE}


def kill_at(bucket: ExaminedBucket, verb: str, step: Step) -> None:
    """Start ``verb`` and kill it when its journal has reached ``step``."""
    flags = ["--max-share", "1"] if verb == "apply" else []
    process = bucket.start(verb, "--yes", "--expect", str(bucket.pending(verb)), *flags, output=subprocess.DEVNULL)
    while process.poll() is None and step not in bucket.steps():
        time.sleep(0.001)
    process.kill()
    process.wait()


def finish(bucket: ExaminedBucket, verb: str) -> None:
    """Run ``verb`` to its end."""
    flags = ["--max-share", "1"] if verb == "apply" else []
    ended = bucket(verb, "--yes", "--expect", str(bucket.pending(verb)), *flags)
    assert ended.returncode == 0, ended.stderr


def check_all_there(bucket: ExaminedBucket, kind: str) -> None:
    """Check that each image to keep is in the source and each moved image in the source or in quarantine."""
    here = set(bucket.keys())
    assert set(bucket.robins) <= here
    assert kind != "move" or set(bucket.people) <= here | set(bucket.keys(bucket.bin))


@pytest.mark.slow
def test_ctrl_c_keeps_everything(make: Make, sandbox: SandboxProcess) -> None:
    """Exit 75; removed images stay removed, and the same command resumes."""
    bucket = make("move", robins=10, people=90)
    sandbox.control("POST", "latency", {"s3": "15ms"})
    process = bucket.start("apply", "--yes", "--expect", "90", "--max-share", "1", output=subprocess.DEVNULL)
    while Step.STARTED not in bucket.steps():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 75
    sandbox.control("POST", "latency", {"s3": "0"})
    check_all_there(bucket, "move")
    finish(bucket, "apply")
    assert (bucket.keys(), bucket.keys(bucket.bin)) == (bucket.robins, bucket.people)
