"""Help, version and completion answer at once and completely."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["run", "bench", "status", "refilter", "export", "quota", "sandbox", "demo"]
HEAVY = ["aioboto3", "aiohttp", "botocore", "yaml", "PIL", "structlog", "sqlite3", "asyncio", "anyio"]
"""pydantic is not among them: typer itself takes it to read types, where it finds it."""


def asyncfilter(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a plain environment."""
    command = [sys.executable, "-m", "asyncfilter", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_the_first_help_names_every_command() -> None:
    """Exit 0, on stdout, plain where it is not a terminal."""
    done = asyncfilter("--help")
    assert done.returncode == 0
    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert "\x1b" not in done.stdout
    assert "╭" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_and_the_common_options(command: str) -> None:
    """Each help shows what to type, and --json and --yes."""
    done = asyncfilter(command, "--help")
    assert done.returncode == 0
    assert f"  asyncfilter {command}" in done.stdout
    assert "--json" in done.stdout
    assert "--yes" in done.stdout


def test_help_brings_nothing_heavy() -> None:
    """Neither AWS's client nor PyYAML nor an event loop is imported to show help."""
    code = (
        "import sys, json\n"
        "from asyncfilter.cli.app import command_line\n"
        "sys.stdout = sys.stderr\n"
        "assert command_line(['--help']) == command_line(['run', '--help']) == 0\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.__stdout__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == []


def test_the_version_is_the_installed_one() -> None:
    """``--version`` says the name and the number."""
    assert asyncfilter("--version").stdout.startswith("asyncfilter ")


def test_completion_offers_the_commands() -> None:
    """Bash completion lists what begins so."""
    words = {"COMP_WORDS": "asyncfilter re", "COMP_CWORD": "1", "_ASYNCFILTER_COMPLETE": "complete_bash"}
    assert asyncfilter(**words).stdout.split() == ["refilter"]


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    """A process started without stdout and stderr says nothing and keeps its exit code."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m asyncfilter run none.yaml >&- 2>&-'], cwd=tmp_path, check=False
    )
    assert done.returncode == 2
