"""Kills of ``model start``, ``model stop`` and runs with a model, at random moments, each with real processes.

What must hold: a model that runs has an open row in the ledger; after its lease it is stopped by its watcher, or, where
that is killed too, by the next look.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from asyncfilter.custom_labels.lease import LATE_S, Lease
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.ledger import existing_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess, SyntheticSpec
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.services import boto_client
from tests.kit.sweep import JOB, Sweep
from tests.kit.workspace import Workspace, ended

SPEED = 200.0
LEASE_S = 6.0
PATIENCE_S = 60.0
"""On a busy machine a process may need seconds to begin."""

TROUBLE = (
    "late:StartProjectVersion=20%", "twice:StartProjectVersion=10%", "internal:StartProjectVersion=10%",
    "late:StopProjectVersion=20%", "throttle:StopProjectVersion=20%", "throttle=3%", "internal=2%",
)  # fmt: skip
"""Faults of the service: answers that are lost, carried out twice, refused for their rate, or errors."""

COSTLY = {"STARTING", "RUNNING"}
MODEL = ModelArn.parse(DEFAULT_MODEL_ARN)
START = ("model", "start", MODEL.project, MODEL.version, "--for", f"{LEASE_S:.0f}s", "--poll", "0.1", "--yes")
EXPIRED = ("model", "stop", "--expired", "--poll", "0.1", "--json")
BY_NAME = ("model", "stop", MODEL.project, MODEL.version, "--poll", "0.1", "--yes")
RUN = ("run", "job.yaml")


class LeaseSweep:
    """Kills commands at random moments, and looks what runs afterwards.

    Args:
        sandbox: A service with one model, which is stopped.
        folder: For state folders and jobs, one folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int) -> None:
        self.sweep = Sweep()
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
        workspace = self._workspace("undisturbed")
        began_s = time.monotonic()
        code, _, err = ended(workspace.start(*START))
        self._start_s = time.monotonic() - began_s
        assert code == 0, err
        self._wait_stopped("undisturbed", workspace)
        sandbox.control("POST", "faults", {"faults": list(TROUBLE)})

    def moment(self, name: str) -> None:
        """One command that is killed, sometimes with its watcher, and what comes after it."""
        workspace = self._workspace(name)
        command, prepared = self._command(workspace)
        process = workspace.start(*command)
        at_s = self._rng.uniform(0.2, self._start_s + (3 if command is RUN else 1))
        with suppress(subprocess.TimeoutExpired):
            process.wait(at_s)
        process.kill()
        code, _, _ = ended(process)
        what = f"{name}, {' '.join(command[:2])} {prepared} at {at_s:.3f} s, exit {code}: "
        self.sweep.counts[f"{' '.join(command[:2])} {prepared} {'killed' if code == -signal.SIGKILL else code}"] += 1
        self._check_row(what, workspace)
        if self._rng.random() < 0.5:
            self._wait_stopped(what, workspace)
        else:
            self._kill_watchers(workspace)
            self._look(what, workspace)

    def _command(self, workspace: Workspace) -> tuple[tuple[str, ...], str]:
        """What is killed, and what was done before."""
        kind = self._rng.choice(("start", "start", "run", "stop", "expired"))
        if kind == "start":
            return START, ""
        if kind == "run":
            return RUN, ""
        code, _, _ = ended(workspace.start(*START, "--no-watcher"))
        self.sweep.counts[f"prepared {code}"] += 1  # on a busy machine a lease may end before its model runs
        if kind == "stop":
            return BY_NAME, "by name"
        time.sleep(LEASE_S)
        return EXPIRED, "after its time"

    def _check_row(self, what: str, workspace: Workspace) -> None:
        if self._status() in COSTLY:
            self.sweep.counts["ran after the kill"] += 1
            self.sweep.check(self._leases(workspace), what + "a model runs, and no row says so")

    def _wait_stopped(self, what: str, workspace: Workspace) -> None:
        """With nobody there: the watcher of the lease stops the model, if there is one; else a look does."""
        if not any(lease.watcher is not None for lease in self._leases(workspace)):
            self._look(what, workspace)
            return
        self.sweep.counts["stopped by a watcher"] += 1
        give_up_s = time.monotonic() + LEASE_S + PATIENCE_S
        while self._status() != "STOPPED" and time.monotonic() < give_up_s:
            time.sleep(0.2)
        self.sweep.check(self._status() == "STOPPED", f"{what}{self._status()} after the lease, in spite of a watcher")
        give_up_s = time.monotonic() + LATE_S + PATIENCE_S  # a start that was sent may take effect so late
        while self._leases(workspace) and time.monotonic() < give_up_s:
            time.sleep(0.2)
        self.sweep.check(not self._leases(workspace), what + "a lease is open after its model was stopped")

    def _look(self, what: str, workspace: Workspace) -> None:
        """After the time of every lease, one command looks."""
        time.sleep(max([0.0, *[lease.expires_at - time.time() for lease in self._leases(workspace)]]))
        self.sweep.counts["stopped by a look"] += 1
        code, out, err = workspace.here(*EXPIRED)
        self.sweep.check(code == 0, f"{what}a look gave {code}: {err}")
        self.sweep.check(code != 0 or not json.loads(out)["failed"], f"{what}{out}")
        self.sweep.check(self._status() not in COSTLY, f"{what}{self._status()} after a look: {out}{err}")

    def _kill_watchers(self, workspace: Workspace) -> None:
        for lease in self._leases(workspace):
            if lease.watcher is not None:
                with suppress(ProcessLookupError):
                    os.kill(lease.watcher.pid, signal.SIGKILL)
                    self.sweep.counts["watcher killed"] += 1

    def _leases(self, workspace: Workspace) -> list[Lease]:
        ledger = existing_ledger(Path(workspace.env["ASYNCFILTER_STATE"]))
        if ledger is None:
            return []
        with ledger:
            return Leases(ledger, ThisHost()).open()

    def _status(self) -> str:
        with boto_client(self._sandbox, "rekognition") as client:
            project = client.describe_projects(ProjectNames=[MODEL.project])["ProjectDescriptions"][0]["ProjectArn"]
            (version,) = client.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
            return str(version["Status"])

    def _workspace(self, name: str) -> Workspace:
        folder = self._folder / name
        folder.mkdir()
        start = {"for": f"{LEASE_S:.0f}s", "poll_s": 0.1}
        detector = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN, "start": start}
        limits = {"tps": 5, "timeout_s": 1, "budget_usd": 1}
        workspace = Workspace(folder, self._sandbox, **JOB | {"detector": detector, "limits": limits})
        workspace.env["ASYNCFILTER_STATE"] = str(folder / "state")
        return workspace


def sweep_leases(folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` kills."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 8),),
        buckets=(BucketSpec("clean"),),
        model_status="STOPPED",
        speed=SPEED,
    )
    with SandboxProcess(options) as sandbox:
        leases = LeaseSweep(sandbox, folder, seed)
        for index in range(moments):
            leases.moment(f"moment{index}")
            leases.sweep.over(f"moment {index}")
    return leases.sweep
