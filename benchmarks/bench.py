"""The environment of a workload: sizes, a folder, and sandboxes and clients on separate cores."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess, SyntheticSpec
from benchmarks.answers import CLEAN, PATTERN, RAW, Answers
from benchmarks.machine import Cores, cores, pin
from benchmarks.peers.task import Task
from benchmarks.process import BenchmarkError, Process, Ran
from benchmarks.sizes import Sizes

ROOT = Path(__file__).resolve().parents[1]


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run of the benchmarks.

    Attributes:
        sizes: The amounts of work.
        folder: All files written while measuring are there.
        recorded: JSON Lines of recorded responses; None selects those that the sandbox generates.
        answers: The responses, from ``recorded``.
        cores: The cores of the client and of the server.
        written: Checkpoints written so far, by number of rows: the job file and the costs of writing.
    """

    sizes: Sizes
    folder: Path
    recorded: Path | None = None
    answers: Answers = field(init=False)
    cores: Cores = field(default_factory=cores)
    written: dict[int, tuple[Path, dict[str, Any]]] = field(default_factory=dict)
    _folders: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.answers = Answers.of(self.recorded)

    def task(self, *, tps: float, workers: int = 100) -> Task:
        """The task of the peers, at a rate of ``tps``."""
        answers = self.answers
        given = Task(source=RAW, target=CLEAN, label=answers.label, confidence_pct=answers.confidence_pct, tps=tps)
        return dataclasses.replace(given, workers=workers)

    @contextmanager
    def sandbox(self, objects: int, **options: Any) -> Iterator[SandboxProcess]:
        """A sandbox with ``objects`` images in ``RAW`` and an empty ``CLEAN``, on the server's core."""
        filled = SandboxOptions(
            synthetic=(SyntheticSpec(RAW, objects, PATTERN),),
            buckets=(BucketSpec(CLEAN),),
            count_keys=False,
            **self.answers.sandbox,
            **options,
        )
        with SandboxProcess(filled) as sandbox:
            pin(sandbox.pid, self.cores.server)
            yield sandbox

    def client(
        self, command: Sequence[str], sandbox: SandboxProcess | None = None, folder: Path | None = None
    ) -> Process:
        """A process on the client's core that uses the sandbox as AWS; not started yet."""
        env = environment(sandbox.environment() if sandbox else {})
        return Process(command, env, folder or self.new_folder(), self.cores.client)

    def run(self, command: Sequence[str], sandbox: SandboxProcess | None = None, folder: Path | None = None) -> Ran:
        """Run a client to its end.

        Raises:
            BenchmarkError: The client failed; the message has its stderr.
        """
        with self.client(command, sandbox, folder) as process:
            ran = process.wait()
            if ran.exit_code != 0:
                raise BenchmarkError(f"{list(command)} ended with {ran.exit_code}: {process.complaint()}")
            return ran

    def module(self, name: str, *arguments: object, sandbox: SandboxProcess | None = None) -> Any:
        """Run ``python -m name`` as a client; returns the JSON that it prints."""
        return json.loads(self.run([sys.executable, "-m", name, *map(str, arguments)], sandbox).stdout)

    def new_folder(self) -> Path:
        """A new, empty folder."""
        folder = self.folder / str(next(self._folders))
        folder.mkdir(parents=True)
        return folder


def environment(aws: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process, with ``aws`` instead of its AWS settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    paths = os.pathsep.join([str(ROOT), *filter(None, [own.get("PYTHONPATH")])])
    return {**own, "PYTHONPATH": paths, "NO_COLOR": "1", **aws}


def detections(sandbox: SandboxProcess) -> int:
    """DetectLabels attempts that reached the sandbox so far."""
    counts = sandbox.stats().operations.get("DetectLabels")
    return counts.attempts if counts else 0


def wait_for_first_call(sandbox: SandboxProcess, process: Process, timeout_s: float = 60.0) -> None:
    """Return as soon as a detection has reached the sandbox.

    Raises:
        BenchmarkError: No detection arrived within ``timeout_s``.
    """
    until_s = time.monotonic() + timeout_s
    while not detections(sandbox):
        if time.monotonic() > until_s:
            raise BenchmarkError(f"no call arrived in {timeout_s} s: {process.complaint()}")
        process.sample()
        time.sleep(0.005)
