"""A folder with a job file, and a sandbox; runs the program there as a process, on a terminal, or in this process."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.cli.app import command_line
from asyncfilter.sandbox import SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.pace import hurry
from tests.kit.terminal import Terminal

PATIENCE_S = 120.0
COMMAND = (sys.executable, "-m", "asyncfilter")


class Workspace:
    """A folder with ``job.yaml`` in it.

    Args:
        folder: Working and home directory of the commands.
        sandbox: The service that the commands use instead of AWS.
        sections: The sections of the job file that differ from ``job_document``.

    Attributes:
        job: The job file.
        env: All environment variables of the commands; nothing else of this machine's settings is inherited.
    """

    def __init__(self, folder: Path, sandbox: SandboxProcess, **sections: Any) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.job = write_job(folder / "job.yaml", **sections)
        self.env = bare_environment(folder) | {"PYTHONWARNINGS": "error"} | sandbox.environment()

    def command(self, *arguments: str) -> list[str]:
        """The command line of the program."""
        return [*COMMAND, *arguments]

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.env if env is None else env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command without a terminal.

        Args:
            arguments: Arguments of the program.
            output: The destination of stdout and stderr; read a pipe with ``read_until`` and ``ended``.
        """
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )

    def terminal(self, *arguments: str, columns: int = 80, has_stdout: bool = True, **env: str) -> Terminal:
        """Start a command on a terminal; ``TERM`` is ``dumb`` by default."""
        whole = {"TERM": "dumb"} | self.env | env
        return Terminal(self.command(*arguments), folder=self.folder, env=whole, columns=columns, has_stdout=has_stdout)

    def here(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command in this process, which is faster; returns exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        thresholds = gc.get_threshold()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            hurry(patch)
            for name, value in self.env.items():
                patch.setenv(name, value)
            try:
                return command_line(arguments), out.getvalue(), err.getvalue()
            finally:
                # A run freezes what is loaded, and collects seldom, since its process ends with it; here it would last.
                gc.unfreeze()
                gc.set_threshold(*thresholds)

    def json(self, *arguments: str) -> dict[str, Any]:
        """The output of ``--json``; the exit code must be 0."""
        return self._json(arguments, {0})

    def summary(self, *arguments: str) -> dict[str, Any]:
        """The output of ``--json``; the exit code must be 0, or 1 for failed images."""
        return self._json(arguments, {0, 1})

    def _json(self, arguments: tuple[str, ...], codes: set[int]) -> dict[str, Any]:
        code, out, err = self.here(*arguments, "--json")
        assert code in codes, err
        found: dict[str, Any] = json.loads(out)
        return found

    def billed(self) -> int:
        """Detections that the sandbox has billed since it was started or reset."""
        operations = self.sandbox.stats().operations
        return operations["DetectLabels"].billed if "DetectLabels" in operations else 0


def bare_environment(folder: Path) -> dict[str, str]:
    """Environment variables that hold nothing of this machine but the paths of programs and Python modules."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | {"HOME": str(folder), "LANG": "C.UTF-8"}


def read_until(process: subprocess.Popen[str], word: str, times: int = 1) -> None:
    """Read the log until ``times`` lines contained ``word``; fail when the program ends first."""
    assert process.stderr is not None
    for line in process.stderr:
        times -= word in line
        if not times:
            return
    pytest.fail(f"the program ended with {process.wait()} before it wrote {word!r}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait until the process ends; returns exit code, stdout and the rest of stderr."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def wait_until(holds: Callable[[], object]) -> None:
    """Return once ``holds`` is true; fail when it does not become so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "the condition did not become true"
        time.sleep(0.02)
