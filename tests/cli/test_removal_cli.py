"""``apply`` and ``undo`` as people and scripts meet them: numbers, terminals, ``kill -9``; nothing pretended."""

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
    """S3 that takes a moment, so that there is one to be killed at."""
    with SandboxProcess(SandboxOptions()) as process:
        yield process


@pytest.fixture(scope="module")
def s3(sandbox: SandboxProcess) -> Iterator[Any]:
    """Anybody's view of it."""
    with boto_client(sandbox, "s3") as client:
        yield client


class ByName:
    """Sees in an image what its key says."""

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        return Detection((Label("Robin" if "robin" in image.key else "Person", 99.0),), "3.0")


class ExaminedBucket(Workspace):
    """A bucket whose images were examined, and the program to work on it: commands name its job after the verb."""

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
        """How many images ``verb`` is about."""
        plan = self._work(plan_apply if verb == "apply" else plan_undo)
        return int(plan.images)

    def _work(self, work: Callable[[Job], Any]) -> Any:
        """Do something in this process, with the sandbox's settings."""
        with aws_settings(**self.sandbox.environment()):
            return anyio.run(work, load_job(self.job))

    def keys(self, bucket: str | None = None) -> list[str]:
        """What stands there."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket or self.bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    def markers(self) -> Counter[str]:
        """Delete markers by key."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        return Counter(marker["Key"] for page in pages for marker in page.get("DeleteMarkers", []))

    def steps(self) -> set[Step]:
        """What the journal says now, while a process writes to it."""
        path = self.folder / ".asyncfilter" / f"{self.bucket}.db"
        by_number = {number: step for step, number in STEPS.items()}
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return {by_number[number] for (number,) in db.execute("SELECT DISTINCT step FROM removal")}
        return set()


Make = Callable[..., ExaminedBucket]


@pytest.fixture
def make(sandbox: SandboxProcess, s3: Any, tmp_path: Path) -> Make:
    """Makes buckets of 12 robins and 8 people."""

    def made(kind: str = "delete", *, versioned: bool = False, robins: int = 12, people: int = 8) -> ExaminedBucket:
        return ExaminedBucket(sandbox, s3, tmp_path, kind=kind, versioned=versioned, robins=robins, people=people)

    return made


# -- What is asked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
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
def test_without_the_right_number_nothing_is_done(make: Make, flags: list[str], said: str) -> None:
    """Exit 2, the cause, and every image where it was."""
    place = make()
    ended = place("apply", *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in " ".join(ended.stderr.split())
    assert place.keys() == sorted(place.robins + place.people)
    assert place.steps() == set()


def test_a_job_whose_rules_match_nothing_cannot_empty_a_bucket(make: Make) -> None:
    """A slip in the rules stops at the share; --max-share 1 is what it takes."""
    place = make(robins=0)
    ended = place("apply", "--yes", "--expect", "8")
    assert ended.returncode == 2
    assert "100.0 %" in ended.stderr
    assert len(place.keys()) == 8
    assert place("apply", "--yes", "--expect", "8", "--max-share", "1").returncode == 0
    assert place.keys() == []


def test_scripts_agree_by_number(make: Make) -> None:
    """--yes --expect N does it; the JSON says what was done, and there is nothing left to do."""
    place = make("move")
    shown = json.loads(place("apply", "--dry-run", "--json").stdout)["plan"]
    assert (shown["images"], shown["share"], shown["exceeds"]) == (8, 0.4, False)
    ended = place("apply", "--yes", "--expect", "8", "--max-share", "0.4", "--json")
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["moved"], said["failed"], said["left"]) == (0, 8, {}, 0)
    assert (place.keys(), place.keys(place.bin)) == (place.robins, place.people)
    assert place.pending("apply") == 0
    status = json.loads(place("status", "--json").stdout)
    assert (status["moved"], status["reject"], status["pending_removals"]) == (8, 8, 0)
    said = json.loads(place("undo", "--yes", "--expect", "8", "--json").stdout)
    assert said["restored"] == 8
    assert (place.keys(), place.keys(place.bin)) == (sorted(place.robins + place.people), [])
    status = json.loads(place("status", "--json").stdout)
    assert (status["moved"], status["reject"], status["pending_removals"]) == (0, 8, 0)


@pytest.mark.parametrize("versioned", [False, True])
def test_what_deleting_means_is_said_before_it_is_asked(make: Make, versioned: bool) -> None:
    """For ever, or behind a marker; undo says the same afterwards."""
    place = make(versioned=versioned)
    shown = " ".join(place("apply", "--dry-run").stdout.split())
    assert ("a delete marker hides each image" if versioned else "gone for ever") in shown
    assert "40.0 % of 20 examined" in shown
    place("apply", "--yes", "--expect", "8")
    plan = json.loads(place("undo", "--dry-run", "--json").stdout)["plan"]
    assert (plan["images"], sum(group["images"] for group in plan["lost"])) == ((8, 0) if versioned else (0, 8))


@pytest.mark.parametrize("typed", ["y", "08", ""])
def test_another_number_on_a_terminal_does_nothing(make: Make, typed: str) -> None:
    """Only the number itself is a yes; 130 otherwise."""
    place = make()
    terminal = place.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    terminal.type(f"{typed}\n")
    assert terminal.end() == 130
    assert "another number" in terminal.seen
    assert len(place.keys()) == 20


def test_the_number_on_a_terminal_does_it(make: Make) -> None:
    """Plan, question, number, outcome; and back."""
    place = make("move")
    terminal = place.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    assert " person.jpg" in terminal.seen
    terminal.type("8\n")
    assert terminal.end() == 0
    assert "8 moved" in terminal.seen
    assert place.keys() == place.robins
    terminal = place.terminal("undo")
    terminal.read_until("Type 8 to continue: ")
    terminal.type("8\n")
    assert terminal.end() == 0
    assert "8 brought back" in terminal.seen
    assert place.keys() == sorted(place.robins + place.people)


def test_leaving_at_the_question_does_nothing(make: Make) -> None:
    """Ctrl-C where the number is asked for."""
    place = make()
    terminal = place.terminal("apply")
    terminal.read_until("Type 8 to continue: ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 75
    assert len(place.keys()) == 20


def test_changed_images_are_told_and_left(make: Make, s3: Any) -> None:
    """Exit 1, the cause by name, and the new object in its place."""
    place = make()
    s3.put_object(Bucket=place.bucket, Key=place.people[0], Body=b"newer")
    ended = place("apply", "--yes", "--expect", "8", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["failed"]) == (1, {"changed": 1})
    assert "left: changed" in ended.stderr
    assert place.keys() == sorted([*place.robins, place.people[0]])


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
    """A real process dies at each step of apply and of undo; resumed, nothing is lost and nothing is done twice."""
    place = make(kind, versioned=versioned, robins=30, people=1100 if kind == "delete" else 90)
    sandbox.control("POST", "latency", {"s3": "15ms"})
    try:
        for step in steps:
            kill_at(place, "apply", step)
            check_all_there(place, kind)
        finish(place, "apply")
        assert place.keys() == place.robins
        assert place.keys(place.bin) == (place.people if kind == "move" else [])
        assert place.markers() == (Counter(place.people) if versioned else Counter())
        if kind == "delete" and not versioned:
            return
        for step in (Step.RETURNING, Step.RETURNED, Step.UNDONE):
            kill_at(place, "undo", step)
            check_all_there(place, kind)
        finish(place, "undo")
    finally:
        sandbox.control("POST", "latency", {"s3": "0"})
    assert place.keys() == sorted(place.robins + place.people)
    assert (place.keys(place.bin), place.markers()) == ([], Counter())
    assert place.steps() == {Step.UNDONE}


def kill_at(place: ExaminedBucket, verb: str, step: Step) -> None:
    """Start ``verb`` and kill it when its journal has come to ``step``."""
    flags = ["--max-share", "1"] if verb == "apply" else []
    process = place.start(verb, "--yes", "--expect", str(place.pending(verb)), *flags, output=subprocess.DEVNULL)
    while process.poll() is None and step not in place.steps():
        time.sleep(0.001)
    process.kill()
    process.wait()


def finish(place: ExaminedBucket, verb: str) -> None:
    """Run ``verb`` to its end."""
    flags = ["--max-share", "1"] if verb == "apply" else []
    ended = place(verb, "--yes", "--expect", str(place.pending(verb)), *flags)
    assert ended.returncode == 0, ended.stderr


def check_all_there(place: ExaminedBucket, kind: str) -> None:
    """What should stay is there; what moves is here or there."""
    here = set(place.keys())
    assert set(place.robins) <= here
    assert kind != "move" or set(place.people) <= here | set(place.keys(place.bin))


@pytest.mark.slow
def test_ctrl_c_keeps_everything(make: Make, sandbox: SandboxProcess) -> None:
    """75, what is done stays done, and the same command goes on."""
    place = make("move", robins=10, people=90)
    sandbox.control("POST", "latency", {"s3": "15ms"})
    process = place.start("apply", "--yes", "--expect", "90", "--max-share", "1", output=subprocess.DEVNULL)
    while Step.STARTED not in place.steps():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 75
    sandbox.control("POST", "latency", {"s3": "0"})
    check_all_there(place, "move")
    finish(place, "apply")
    assert (place.keys(), place.keys(place.bin)) == (place.robins, place.people)
