"""The machine is lost with its disk at random moments, again and again, and the same command goes on elsewhere.

``kill -9`` and the folder of the job removed; the next machine is another folder. What must hold: nothing that was
committed is paid for again, repeated calls are at most those that no commit had, the bill is within the budget and
never told too low, and the copies are those of one run that nothing disturbed.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.jobs import COPIES
from tests.kit.services import boto_client
from tests.kit.sweep import Sweep
from tests.kit.workspace import Workspace, ended

IMAGES = 400
TPS = 80
CONCURRENCY = 20
PRICE_USD = 0.001
BUDGET_USD = 1.0
SEGMENT_S = 5.0 + 2.0
"""Between two commits, with the writes of both on a busy machine."""

JOB: dict[str, Any] = {
    "source": "s3://raw/",
    "rules": [{"keep": {"any": "Robin", "confidence": 60}}, {"review": {"any": "Robin", "confidence": 40}}],
    "actions": COPIES,
    "limits": {"tps": TPS, "concurrency": CONCURRENCY, "budget_usd": BUDGET_USD},
}


class StateSweep:
    """Loses machines at random moments.

    Args:
        sandbox: The service, which counts calls by key.
        folder: For the machines, a folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int) -> None:
        self.sweep, self.losses = Sweep(), 0
        self._sandbox, self._folder = sandbox, folder
        self._random = random.Random(seed)
        self._jobs = self._machines = self._losses_of_job = 0
        self._calls: dict[str, int] = {}
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
        with boto_client(self._sandbox, "s3") as s3:
            for bucket in ("clean", "state"):
                for one in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                    s3.delete_object(Bucket=bucket, Key=one["Key"])
        self._calls, self._losses_of_job = {}, min(wanted - self.losses, self._random.randrange(1, 4))
        for _ in range(self._losses_of_job):
            if not self._lose():
                break
        self._end()

    def _lose(self) -> bool:
        """Run on a new machine and lose it; False when the run ended before."""
        machine = self._machine()
        process = machine.start("run", "job.yaml", "--json")
        before = self._billed()
        while process.poll() is None and self._billed() == before:
            time.sleep(0.05)
        time.sleep(self._random.random() * (IMAGES / TPS + 3))
        process.send_signal(signal.SIGKILL)
        code, _, _ = ended(process)
        shutil.rmtree(machine.folder)
        self.losses += 1
        self.sweep.counts["lost" if code == -signal.SIGKILL else "ended before"] += 1
        committed = self._check_committed()
        self.sweep.counts["committed at a loss"] += len(committed)
        self.sweep.counts["billed at a loss"] += self._billed()
        return code == -signal.SIGKILL

    def _check_committed(self) -> set[str]:
        """What an earlier commit had was not paid for again; remembers what the last one has."""
        what = f"job {self._jobs}, {self.losses} losses"
        calls = self._sandbox.stats().keys_examined_again
        twice = [key for key, before in self._calls.items() if calls.get(key, 1) > before]
        self.sweep.check(not twice, f"{what}: {len(twice)} committed images were paid for again")
        committed = self._committed()
        missing = self._calls.keys() - committed
        self.sweep.check(not missing, f"{what}: {len(missing)} committed verdicts are lost")
        self._calls = {key: calls.get(key, 1) for key in committed}
        return committed

    def _end(self) -> None:
        what = f"job {self._jobs}, {self.losses} losses"
        lost = self._billed() - len(self._calls)
        most = (self._losses_of_job + 1) * (CONCURRENCY + SEGMENT_S * TPS * 1.05 + 1)
        self.sweep.counts["paid again"] += lost
        self.sweep.check(lost <= most, f"{what}: {lost} calls that no commit has, at most {most:.0f}")
        machine = self._machine()
        code, out, err = ended(machine.start("run", "job.yaml", "--json"))
        self.sweep.check(code in {0, 1}, f"{what}: exit {code}: {err[-400:]}")
        if code not in {0, 1}:
            return
        summary, billed = json.loads(out), self._billed()
        is_whole = summary["stop_reason"] != "budget"
        self.sweep.counts[summary["stop_reason"]] += 1
        if self._is_truth:  # a copy follows the money, too, and may be behind it
            self.sweep.check(billed * PRICE_USD <= BUDGET_USD, f"{what}: {billed} calls billed, beyond the budget")
            self.sweep.check(summary["spent_usd"] >= billed * PRICE_USD - 1e-9, f"{what}: told too low")
        self.sweep.check(not is_whole or summary["examined"] == IMAGES, f"{what}: {summary['examined']} examined")
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
        with boto_client(self._sandbox, "s3") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="clean")
            return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def _billed(self) -> int:
        operations = self._sandbox.stats().operations
        return operations["DetectLabels"].billed if "DetectLabels" in operations else 0

    def _machine(self) -> Workspace:
        self._machines += 1
        folder = self._folder / f"machine-{self._machines}"
        folder.mkdir()
        key = "checkpoint" if self._is_truth else "checkpoint_copy"
        return Workspace(folder, self._sandbox, **JOB, **{key: f"s3://state/jobs-{self._jobs}/"})

    @property
    def _is_truth(self) -> bool:
        """Whether S3 is the truth in this job; a copy in each third one."""
        return self._jobs % 3 != 2


def sweep_states(folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` lost machines, in as many jobs as they take."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", IMAGES),),
        buckets=(BucketSpec("clean"), BucketSpec("state")),
        latency=Latency(0.1, 0.4),
        seed=seed,
        count_keys=True,
    )
    with SandboxProcess(options) as sandbox:
        states = StateSweep(sandbox, folder, seed)
        while states.losses < moments:
            states.round(moments)
    return states.sweep
