"""Runs over a fleet on a real Ray, and what disturbs them: for ``cluster_proofs``."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.decoding import decoders_of
from tests.kit.pictures import noise, plain
from tests.kit.ray_cluster import RayCluster
from tests.kit.services import boto_client
from tests.kit.sweep import JOB
from tests.kit.workspace import Workspace

PATIENCE_S = 900.0
IMAGES = 400
PICTURES = 40
TPS = 100.0
SLOW = Latency(0.3, 1.2)
"""Latency that leaves many calls under way, so that a kill meets some."""


class Place:
    """Where trials are made.

    Args:
        cluster: The cluster.
        folder: For the jobs.
    """

    def __init__(self, cluster: RayCluster, folder: Path) -> None:
        self.cluster = cluster
        self._folder = folder
        self._folders = 0

    def new_folder(self) -> Path:
        """A folder for one job."""
        self._folders += 1
        folder = self._folder / f"job{self._folders}"
        folder.mkdir()
        return folder

    def cluster_keys(self, workers: int) -> dict[str, Any]:
        """``cluster:`` for so many workers, spread over the nodes."""
        asked = {"cpus": max(1, 4 // workers)}
        return {
            "engine": "ray", "address": self.cluster.address, "workers": workers, "per_worker": asked, "send": "all",
            "wait_s": 300,
        }  # fmt: skip


class Trial:
    """One job in a folder of its own.

    Args:
        place: Has the cluster and the folders.
        sandbox: The service.
        workers: Workers of the fleet; None for one process.
        sections: Of the job file.
    """

    def __init__(self, place: Place, sandbox: SandboxProcess, *, workers: int | None = 2, **sections: Any) -> None:
        folder = place.new_folder()
        self.prefix = f"{folder.name}/"
        own = {"limits": {"tps": TPS}, "actions": {"keep": {"copy": f"s3://clean/{self.prefix}{{key}}"}}}
        if workers is not None:
            own["cluster"] = place.cluster_keys(workers)
        self.workspace = Workspace(folder, sandbox, **JOB | own | sections)
        del self.workspace.env["PYTHONWARNINGS"]  # Ray has some
        self.workspace.env |= place.cluster.environment
        self.log = folder / "events.jsonl"
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        """Start ``run``."""
        self.process = self.workspace.start("run", "job.yaml", "--json", "--events", str(self.log), *arguments)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind so far."""
        lines = self.log.read_bytes().splitlines(keepends=True) if self.log.exists() else []
        found = [json.loads(line) for line in lines if line.endswith(b"\n") and b'"' + kind.encode() + b'"' in line]
        return [event for event in found if event["event"] == kind]

    def wait(self, holds: Callable[[], object]) -> None:
        """Wait while the run goes on."""
        assert self.process is not None
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert self.process.poll() is None, f"it ended early: {self.process.communicate()}"
            assert time.monotonic() < until_s
            time.sleep(0.05)

    def examined(self, count: int) -> None:
        """Wait until ``count`` images are examined."""
        self.wait(lambda: len(self.events("image_examined")) >= count)

    def workers(self) -> list[int]:
        """Process numbers of the workers that are there."""
        gone = {event["worker"] for kind in ("worker_lost", "worker_left") for event in self.events(kind)}
        return [event["pid"] for event in self.events("worker_joined") if event["worker"] not in gone]

    def end(self, *codes: int) -> dict[str, Any]:
        """The summary; the exit code must be one of ``codes``, by default 0."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode in (codes or (0,)), f"exit {self.process.returncode}: {err}"
        found: dict[str, Any] = json.loads(out) if out.strip() else {}
        return found

    def run(self) -> dict[str, Any]:
        """Start, and wait for the end; 1 is the exit code of failed images."""
        self.start()
        return self.end(0, 1)

    def answer(self) -> set[tuple[int, str, str]]:
        """What was decided, in order."""
        code, out, err = self.workspace.here("export", "job.yaml")
        assert code == 0, err
        rows = [json.loads(line) for line in out.splitlines()]
        return {(row["seq"], row["key"], row["verdict"]) for row in rows if row["seq"] is not None}

    def copies(self) -> set[str]:
        """Keys that were copied."""
        with boto_client(self.workspace.sandbox, "s3") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="clean", Prefix=self.prefix)
            return {item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", [])}


@contextmanager
def service(images: int = IMAGES, *, latency: Latency = SLOW, seed: int = 1) -> Iterator[SandboxProcess]:
    """A sandbox that counts the calls of each image."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", images),),
        buckets=(BucketSpec("clean"), BucketSpec("same"), BucketSpec("pictures")),
        latency=latency,
        count_keys=True,
        seed=seed,
    )
    with SandboxProcess(options) as sandbox:
        yield sandbox


def again(sandbox: SandboxProcess) -> int:
    """Calls that were made for images that had one already."""
    return sum(count - 1 for count in sandbox.stats().keys_examined_again.values())


def kill_decoders(worker: int, size: int) -> set[int]:
    """Kill the decoding processes of a worker that have a picture of ``size`` bytes."""
    killed = set()
    for pid in decoders_of(worker):
        with suppress(OSError):
            if any(path.stat().st_size == size for path in Path(f"/proc/{pid}/fd").iterdir()):
                send(pid, signal.SIGKILL)
                killed.add(pid)
    return killed


def upload_equal_pictures(sandbox: SandboxProcess) -> None:
    """Store 60 pictures, of which 17 differ."""
    with boto_client(sandbox, "s3") as s3:
        for number in range(60):
            kind = ("robin", "jay", "wren")[number % 3]
            body = plain(width=20 + number % 17)
            s3.put_object(Bucket="same", Key=f"raw/{kind}/{number:03}.jpg", Body=body)


def upload_pictures(sandbox: SandboxProcess, poison: int) -> int:
    """Pictures that need to be converted; returns the size of the one at ``poison``, which takes long to decode."""
    large = noise("WEBP", 3000, 3000)
    with boto_client(sandbox, "s3") as s3:
        for number in range(PICTURES):
            body = large if number == poison else noise("WEBP", 100 + number, 100)
            s3.put_object(Bucket="pictures", Key=f"raw/robin/{number:03}.webp", Body=body)
    return len(large)


def copy_checkpoint(source: Trial, target: Trial) -> None:
    """The file of a run that goes on, as a second host would have it from a shared disk."""
    place = target.workspace.folder / ".asyncfilter"
    place.mkdir(exist_ok=True)
    (file,) = (source.workspace.folder / ".asyncfilter").glob("*.db")
    with sqlite3.connect(file) as old, sqlite3.connect(place / file.name) as new:
        old.backup(new)
    target.workspace.job.write_text(source.workspace.job.read_text())


def shim(trial: Trial, text: str) -> str:
    """A Python path whose processes begin with ``text``."""
    folder = trial.workspace.folder / "shim"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return f"{folder}:{Path.cwd()}"


def hide(trial: Trial, text: str) -> None:
    """Let the command of a trial begin with ``text``."""
    trial.workspace.env["PYTHONPATH"] = shim(trial, text)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
