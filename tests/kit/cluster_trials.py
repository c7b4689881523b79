"""Runs on a real Ray, and what disturbs them: for ``cluster_proofs``."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from textwrap import indent
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

_WORDS = 400
"""Characters of a command's last words."""


class EndedError(Exception):
    """A run ended while something of it was waited for."""


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
        self._trials: list[Trial] = []

    def new_folder(self) -> Path:
        """A folder for one job."""
        self._folders += 1
        folder = self._folder / f"job{self._folders}"
        folder.mkdir()
        return folder

    def cluster_keys(self, workers: int | dict[str, int]) -> dict[str, Any]:
        """``cluster:`` for so many workers, spread over the nodes."""
        most = workers if isinstance(workers, int) else workers["max"]
        asked = {"cpus": max(1, 4 // most)}
        return {
            "engine": "ray", "address": self.cluster.address, "workers": workers, "per_worker": asked, "send": "all",
            "wait_s": 300,
        }  # fmt: skip

    def began(self, trial: Trial) -> None:
        """Note a trial."""
        self._trials.append(trial)

    def last_words(self) -> str:
        """What the runs that have ended wrote last to stderr."""
        return " | ".join(trial.outputs()[1][-_WORDS:] for trial in self._trials if trial.has_ended)

    def end_all(self) -> bool:
        """Kill the runs that have not ended; True where there was one."""
        trials, self._trials = self._trials, []
        left = [trial for trial in trials if trial.process is not None and trial.process.poll() is None]
        for trial in left:
            trial.kill_head()
        return bool(left)


class Trial:
    """One job in a folder of its own.

    Args:
        place: Has the cluster and the folders.
        sandbox: The service.
        workers: Workers of the fleet; None for one process.
        writes_events: Whether the run writes them to a file, for each image; without it there are none to wait for.
        sections: Of the job file.
    """

    def __init__(
        self,
        place: Place,
        sandbox: SandboxProcess,
        *,
        workers: int | None = 2,
        writes_events: bool = True,
        **sections: Any,
    ) -> None:
        folder = place.new_folder()
        self.prefix = f"{folder.name}/"
        own = {"limits": {"tps": TPS}, "actions": {"keep": {"copy": f"s3://clean/{self.prefix}{{key}}"}}}
        if workers is not None:
            own["cluster"] = place.cluster_keys(workers)
        self.workspace = Workspace(folder, sandbox, **JOB | own | sections)
        del self.workspace.env["PYTHONWARNINGS"]  # Ray has some
        self.workspace.env |= place.cluster.environment
        self.process: subprocess.Popen[str] | None = None
        self._place = place
        self._writes_events = writes_events
        self._starts = 0
        self._read_bytes = 0
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._workers: dict[str, int] = {}
        self._outputs: tuple[str, str] | None = None

    @property
    def _log(self) -> Path:
        return self.workspace.folder / f"events{self._starts}.jsonl"

    def start(self, *arguments: str) -> None:
        """Start ``run``."""
        self._read()
        self._starts, self._read_bytes, self._outputs = self._starts + 1, 0, None
        self._workers.clear()  # they join the new head anew
        log = ("--events", self._log.name) if self._writes_events else ()
        self.process = self.workspace.start("run", "job.yaml", "--json", *log, *arguments)
        self._place.began(self)

    def _read(self) -> None:
        """Read the events that are new."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        for line in whole.splitlines():
            event = json.loads(line)
            self._events[event["event"]].append(event)
            if event["event"] == "worker_joined":
                self._workers[event["worker"]] = event["pid"]
            elif event["event"] in {"worker_lost", "worker_left"}:
                self._workers.pop(event["worker"], None)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind so far, of all starts."""
        self._read()
        return self._events[kind]

    @property
    def has_ended(self) -> bool:
        """Whether it was started, and has ended."""
        return self.process is not None and self.process.poll() is not None

    def wait(self, holds: Callable[[], object]) -> None:
        """Wait while the run goes on.

        Raises:
            EndedError: It has ended, and it does not hold.
        """
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            if self.has_ended and not holds():
                raise EndedError
            assert time.monotonic() < until_s, "it takes too long"
            time.sleep(0.05)

    def examined(self, count: int) -> None:
        """Wait until ``count`` images are examined."""
        self.wait(lambda: len(self.events("image_examined")) >= count)

    def workers(self) -> list[int]:
        """Process numbers of the workers that are there."""
        self._read()
        return list(self._workers.values())

    def asks(self) -> int:
        """What was under way on workers that were lost: the bound of what is repeated."""
        return sum(event["asks"] for event in self.events("worker_lost"))

    def story(self, key: str) -> list[str]:
        """What the events of all starts say of one image."""
        lines = [line for number in range(1, self._starts + 1) for line in self._lines(number)]
        return [line for line in lines if f'"{key}"' in line]

    def _lines(self, number: int) -> list[str]:
        log = self.workspace.folder / f"events{number}.jsonl"
        return log.read_text().splitlines() if log.exists() else []

    def outputs(self) -> tuple[str, str]:
        """Stdout and stderr, once it has ended."""
        assert self.process is not None
        if self._outputs is None:
            self._outputs = self.process.communicate(timeout=PATIENCE_S)
        return self._outputs

    def end(self, *codes: int) -> dict[str, Any]:
        """The summary; the exit code must be one of ``codes``, by default 0."""
        out, err = self.outputs()
        assert self.process is not None
        assert self.process.returncode in (codes or (0,)), f"exit {self.process.returncode}: {err[-_WORDS:]}"
        found: dict[str, Any] = json.loads(out) if out.strip() else {}
        return found

    def run(self) -> dict[str, Any]:
        """Start, and wait for the end; 1 is the exit code of failed images."""
        self.start()
        return self.end(0, 1)

    @property
    def pid(self) -> int:
        """Number of the command's process."""
        assert self.process is not None
        return self.process.pid

    def kill_head(self) -> None:
        """Kill the command's process; its workers go on."""
        assert self.process is not None
        self.process.kill()
        self.outputs()

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
def service(
    images: int = IMAGES, *, latency: Latency = SLOW, seed: int = 1, **options: Any
) -> Iterator[SandboxProcess]:
    """A sandbox that counts the calls of each image."""
    given = SandboxOptions(
        synthetic=(SyntheticSpec("raw", images),),
        buckets=(BucketSpec("clean"), BucketSpec("same"), BucketSpec("pictures")),
        latency=latency,
        count_keys=True,
        seed=seed,
        **options,
    )
    with SandboxProcess(given) as sandbox:
        yield sandbox


def forget(sandbox: SandboxProcess) -> None:
    """Let the service count from 0."""
    sandbox.control("POST", "reset-stats")


def again(sandbox: SandboxProcess) -> int:
    """Calls that were made for images that had one already."""
    return sum(count - 1 for count in sandbox.stats().keys_examined_again.values())


def stories(sandbox: SandboxProcess, *trials: Trial) -> str:
    """What the events of some runs say of the images that were called about more than once."""
    keys = [name.partition("/")[2] for name in list(sandbox.stats().keys_examined_again)[:3]]
    return " ".join(f"{key}: {[trial.story(key) for trial in trials]}" for key in keys)


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
    """Store 300 pictures, of which 170 differ."""
    bodies = [plain(width=100 + number) for number in range(170)]
    with boto_client(sandbox, "s3") as s3:
        for number in range(300):
            kind = ("robin", "jay", "wren")[number % 3]
            s3.put_object(Bucket="same", Key=f"raw/{kind}/{number:03}.jpg", Body=bodies[number % len(bodies)])


def upload_pictures(sandbox: SandboxProcess, poison: int) -> int:
    """Pictures that need to be converted; returns the size of the one at ``poison``, which takes long to decode."""
    large = noise("WEBP", 3800, 3800)
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
    with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(place / file.name)) as new:
        old.backup(new)
    target.workspace.job.write_text(source.workspace.job.read_text())


def shim(trial: Trial, text: str) -> str:
    """A Python path whose processes begin with ``text``, and end at once when it fails: else nothing would show it."""
    folder = trial.workspace.folder / "shim"
    folder.mkdir()
    guarded = f"try:\n{indent(text, '    ')}except Exception:\n    import os, traceback\n"
    (folder / "sitecustomize.py").write_text(f"{guarded}    traceback.print_exc()\n    os._exit(99)\n")
    return f"{folder}:{Path.cwd()}"


def hide(trial: Trial, text: str) -> None:
    """Let the command of a trial begin with ``text``."""
    trial.workspace.env["PYTHONPATH"] = shim(trial, text)


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process that may have ended; False where it has."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
