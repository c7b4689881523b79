"""The machine is lost with its disk at random moments, again and again, and the same command goes on elsewhere.

On the sandbox, which counts the calls of each image, or with the state in moto, another S3 server: then images are sent
from a folder that outlives the machines, and calls are counted as a whole.

``kill -9`` and the folder of the job removed; the next machine is another folder. What must hold: nothing that was
committed is paid for again, repeated calls are at most those that no commit had, the bill is within the budget and
never told too low, and the copies are those of one run that nothing disturbed.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.jobs import COPIES
from tests.kit.pictures import write_distinct
from tests.kit.services import boto_client, client_with, moto_server
from tests.kit.sweep import Sweep
from tests.kit.workspace import Workspace, ended

IMAGES = 300
TPS = 25
CONCURRENCY = 20
PRICE_USD = 0.001
BUDGET_USD = 1.0
SEGMENT_S = 5.0 + 2.0
"""Between two commits, with the writes of both on a busy machine."""
CUT_OFF = 0.3
"""Share of the machines that are cut off and wake up later, where S3 is the truth."""

JOB: dict[str, Any] = {
    "source": "s3://raw/",
    "rules": [{"keep": {"any": "Robin", "confidence": 60}}, {"review": {"any": "Robin", "confidence": 40}}],
    "actions": COPIES,
    "limits": {"tps": TPS, "concurrency": CONCURRENCY, "budget_usd": BUDGET_USD},
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where images, copies and states are.

    Attributes:
        client: boto3 at the store.
        source: The images.
        environment: Settings with which commands use the store.
        counts_keys: Whether the calls of each image are counted.
    """

    client: Any
    source: str = "s3://raw/"
    environment: Mapping[str, str] = field(default_factory=dict)
    counts_keys: bool = True


class Frozen(NamedTuple):
    """A machine that stands still; it may have let the state go before."""

    machine: Workspace
    process: subprocess.Popen[str]
    owns: bool


class StateSweep:
    """Loses machines at random moments.

    Args:
        sandbox: The service, which counts calls.
        place: Where the rest is.
        folder: For the machines, a folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, place: Place, folder: Path, seed: int) -> None:
        self.sweep, self.losses = Sweep(), 0
        self._sandbox, self._place, self._folder = sandbox, place, folder
        self._random = random.Random(seed)
        self._jobs = self._machines = 0
        self._calls: dict[str, int] = {}
        self._paid_again = self._committed_images = 0
        self._frozen: Frozen | None = None
        quiet = self._machine()
        code, _, err = quiet.here(
            "run", "job.yaml", "--dry-run", "--set", "limits.tps=2000", "--set", "checkpoint=q.db"
        )
        assert code == 0, err
        self._verdicts = {
            image.key: image.decision.verdict.value
            for image in read_images(quiet.folder / "q.db")
            if image.decision is not None
        }

    def round(self, wanted: int) -> None:
        """One job: a few machines are lost, the last one ends it."""
        self._jobs += 1
        self._sandbox.control("POST", "reset-stats")
        for bucket in ("clean", "state"):
            for key in self._keys(bucket):
                self._place.client.delete_object(Bucket=bucket, Key=key)
        self._calls, self._paid_again, self._committed_images = {}, 0, 0
        for _ in range(min(wanted - self.losses, self._random.randrange(1, 4))):
            if not self._lose():
                break
        self._end()
        self.sweep.over(f"job {self._jobs}, {self.losses} losses, its end")

    def _lose(self) -> bool:
        """Run on a new machine and lose it; False when the run ended before.

        Where S3 is the truth, some machines are cut off instead: they stand still, and wake up beside the next one.
        """
        machine = self._machine()
        process = self._started(machine)
        time.sleep(self._random.random() * (IMAGES / TPS + 3))
        is_cut_off = self._is_authoritative and self._random.random() < CUT_OFF
        process.send_signal(signal.SIGSTOP if is_cut_off else signal.SIGKILL)
        if is_cut_off and process.poll() is None:
            self._frozen = Frozen(machine, process, owns=self._has_owner())
            self.sweep.counts["cut off"] += 1
        else:
            code, _, _ = ended(process)
            shutil.rmtree(machine.folder)
            self.sweep.counts["lost" if code == -signal.SIGKILL else "ended before"] += 1
        self.losses += 1
        self._check_lost()
        self.sweep.over(f"job {self._jobs}, {self.losses} losses")
        return process.poll() in {None, -signal.SIGKILL}

    def _started(self, machine: Workspace) -> subprocess.Popen[str]:
        """A run that has paid for something, or has ended; the machine that was cut off before is awake by then.

        Its own calls count: those that a machine had sent before it was cut off may be billed later, and would wake it
        before another one has the state.
        """
        process = machine.start("run", "job.yaml", "--json")
        while process.poll() is None and not self._attempts(machine):
            time.sleep(0.05)
        if self._frozen is not None:
            self._wake(self._frozen)
            self._frozen = None
        return process

    def _wake(self, frozen: Frozen) -> None:
        """Another machine pays by now: this one must not."""
        before = self._attempts(frozen.machine)
        frozen.process.send_signal(signal.SIGCONT)
        code, _, err = ended(frozen.process)
        what = f"job {self._jobs}, {self.losses} losses: the machine that was cut off"
        after = self._attempts(frozen.machine)
        paid = f"{what} paid {after - before} times beside the next one, exit {code}: {err[-400:]}"
        self.sweep.check(after == before, paid)
        self.sweep.check(code == 3 or not frozen.owns, f"{what} gave exit {code}: {err[-400:]}")
        shutil.rmtree(frozen.machine.folder)

    def _has_owner(self) -> bool:
        key = f"jobs-{self._jobs}/robins.state/head.json"
        return json.load(self._place.client.get_object(Bucket="state", Key=key)["Body"])["owner"] is not None

    def _check_lost(self) -> None:
        """What a lost machine has paid for and no commit has: at most what was in flight and one segment."""
        what = f"job {self._jobs}, {self.losses} losses"
        while self._sandbox.stats().operations["DetectLabels"].in_flight:
            time.sleep(0.05)
        self._check_committed()
        billed = self._billed()
        lost = billed - self._committed_images - self._paid_again
        self._paid_again += lost
        self.sweep.counts["committed at a loss"] += self._committed_images
        self.sweep.counts["billed at a loss"] += billed
        self.sweep.counts["paid again"] += lost
        self.sweep.counts["most paid again at one loss"] = max(lost, self.sweep.counts["most paid again at one loss"])
        most = CONCURRENCY + SEGMENT_S * TPS * 1.05 + 1
        self.sweep.check(lost <= most, f"{what}: {lost} calls that no commit has, at most {most:.0f}")

    def _check_committed(self) -> None:
        """What an earlier commit had was not paid for again; remembers what the last one has."""
        what = f"job {self._jobs}, {self.losses} losses"
        committed = self._committed()
        self._committed_images = len(committed)
        calls = self._sandbox.stats().keys_examined_again if self._place.counts_keys else {}
        twice = [key for key, before in self._calls.items() if calls.get(key, 1) > before]
        self.sweep.check(not twice, f"{what}: {len(twice)} committed images were paid for again")
        missing = self._calls.keys() - committed
        self.sweep.check(not missing, f"{what}: {len(missing)} committed verdicts are lost")
        self._calls = {key: calls.get(key, 1) for key in committed}

    def _end(self) -> None:
        what = f"job {self._jobs}, {self.losses} losses"
        before, committed = self._billed(), self._committed_images
        machine = self._machine()
        code, out, err = ended(self._started(machine))
        self.sweep.check(code in {0, 1}, f"{what}: exit {code}: {err[-400:]}")
        if code not in {0, 1}:
            return
        summary, billed = json.loads(out), self._billed()
        is_whole = summary["stop_reason"] != "budget"
        self.sweep.counts[summary["stop_reason"]] += 1
        if self._is_authoritative:  # a copy follows the money, too, and may be behind it
            self.sweep.check(billed * PRICE_USD <= BUDGET_USD, f"{what}: {billed} calls billed, beyond the budget")
            self.sweep.check(summary["spent_usd"] >= billed * PRICE_USD - 1e-9, f"{what}: told too low")
        self.sweep.check(not is_whole or summary["examined"] == IMAGES, f"{what}: {summary['examined']} examined")
        again = billed - before + committed - IMAGES
        self.sweep.check(not is_whole or again == 0, f"{what}: {again} committed images were paid for at the end")
        self.sweep.check(not is_whole or self._kept() == self._copies(), f"{what}: copies")
        self.sweep.check(summary["state"]["behind_rows"] == 0, f"{what}: behind")
        self._check_committed()
        shutil.rmtree(machine.folder)

    def _kept(self) -> set[str]:
        """The images that one run keeps."""
        return {key for key, verdict in self._verdicts.items() if verdict == "keep"}

    def _committed(self) -> set[str]:
        """The keys whose answers the state has."""
        machine = self._machine()
        code, _, _ = machine.here("state", "pull", "job.yaml", "-o", "pulled.db")
        if code:
            return set()
        found = {image.key for image in read_images(machine.folder / "pulled.db") if image.detection is not None}
        shutil.rmtree(machine.folder)
        return found

    def _copies(self) -> set[str]:
        return set(self._keys("clean"))

    def _keys(self, bucket: str) -> list[str]:
        pages = self._place.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def _billed(self) -> int:
        operations = self._sandbox.stats().operations
        return operations["DetectLabels"].billed if "DetectLabels" in operations else 0

    def _attempts(self, machine: Workspace) -> int:
        """The calls of one machine, which has an access key of its own."""
        key = machine.env["AWS_ACCESS_KEY_ID"]
        return sum(one.attempts for name, one in self._sandbox.stats().pairs.items() if name.startswith(f"{key}@"))

    def _machine(self) -> Workspace:
        self._machines += 1
        folder = self._folder / f"machine-{self._machines}"
        folder.mkdir()
        key = "checkpoint" if self._is_authoritative else "checkpoint_copy"
        own = {"source": self._place.source, key: f"s3://state/jobs-{self._jobs}/"}
        machine = Workspace(folder, self._sandbox, **JOB | own)
        machine.env |= self._place.environment
        machine.env["AWS_ACCESS_KEY_ID"] = f"AKIAMACHINE{self._machines:09}"
        return machine

    @property
    def _is_authoritative(self) -> bool:
        """Whether S3 is the truth in this job; a copy in each third one."""
        return self._jobs % 3 != 2


def sweep_states(folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` lost machines, in as many jobs as they take, with images, copies and state on the sandbox."""
    with _sandbox(seed) as sandbox, boto_client(sandbox, "s3") as client:
        return _swept(StateSweep(sandbox, Place(client=client), folder, seed), moments)


def sweep_states_elsewhere(folder: Path, *, moments: int, seed: int) -> Sweep:
    """The same with copies and state on moto, another S3 server."""
    photos = folder / "photos"
    write_distinct(photos, IMAGES)
    with (
        _sandbox(seed) as sandbox,
        moto_server() as settings,
        client_with(settings, "s3") as client,
    ):
        for bucket in ("clean", "state"):
            client.create_bucket(Bucket=bucket)
        environment = {"AWS_ENDPOINT_URL_S3": settings["AWS_ENDPOINT_URL"]}
        place = Place(client=client, source=f"{photos}/", environment=environment, counts_keys=False)
        return _swept(StateSweep(sandbox, place, folder, seed), moments)


def _sandbox(seed: int) -> SandboxProcess:
    return SandboxProcess(
        SandboxOptions(
            synthetic=(SyntheticSpec("raw", IMAGES),),
            buckets=(BucketSpec("clean"), BucketSpec("state")),
            latency=Latency(0.1, 0.4),
            seed=seed,
            count_keys=True,
        )
    )


def _swept(states: StateSweep, moments: int) -> Sweep:
    while states.losses < moments:
        states.round(moments)
    return states.sweep
