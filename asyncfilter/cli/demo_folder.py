"""The folders in which the demos work, and the commands that they show."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from asyncfilter.cli.stderr import print_lines
from asyncfilter.errors import UsageError
from asyncfilter.report.program import program
from asyncfilter.sandbox import SandboxProcess

_MARK = "README"


def prepare_folder(folder: Path, command: str) -> None:
    """Make an empty folder; one that the same demo has made before is emptied.

    Args:
        folder: Where.
        command: The command to which it belongs.

    Raises:
        UsageError: The folder was not made by the demo, or cannot be written.
    """
    mark = folder / _MARK
    if folder.exists() and not (mark.exists() or (folder.is_dir() and not any(folder.iterdir()))):
        raise UsageError(
            f"{folder} exists and was not made by the demo", hint="Move it, or run the demo in another folder."
        )
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        mark.write_text(f"This folder belongs to `asyncfilter {command}`, which empties it each time.\n")
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> UsageError:
    """The error for a folder that cannot be written."""
    return UsageError(f"{folder}: {error.strerror}", hint="Run the demo in a folder that can be written.")


def use_sandbox(sandbox: SandboxProcess, variables: Mapping[str, str] | None = None) -> None:
    """Let this process, and the commands that it shows, use a sandbox and no settings of the user."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update({**sandbox.environment(), **(variables or {})})


def show_command(command: Sequence[str]) -> int:
    """Show a command as a user would give it, run it, and show what it prints; its exit code.

    Args:
        command: Its arguments.
    """
    print_lines(f"\n$ {shlex.join([program(), *command])}")
    done = run_command(command)
    print_lines(done.stdout.rstrip())
    return done.returncode


def run_command(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run this program with other arguments; its output, errors among it, is in ``stdout``."""
    return subprocess.run(  # noqa: S603  this program
        [sys.executable, "-m", "asyncfilter", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
