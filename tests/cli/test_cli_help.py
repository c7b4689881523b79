"""Help, version and completion are fast and complete."""

from __future__ import annotations

import inspect
import json
import math
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

import asyncfilter.cli
from asyncfilter.cli import deferred
from asyncfilter.cli.app import COMMANDS, command_line
from asyncfilter.cli.lazy import Group
from asyncfilter.cli.model import verbs
from asyncfilter.errors import ExitCode, UsageError

HEAVY = ["aioboto3", "aiohttp", "botocore", "yaml", "PIL", "structlog", "sqlite3", "asyncio", "anyio"]
"""pydantic is not among them: typer itself takes it to read types, where it finds it."""
AWS_CLIENT = ["aioboto3", "aiobotocore", "aiohttp", "boto3", "botocore"]


LEAVES = {
    f"{name} {inner}" if inner else name: leaf
    for name, entry in COMMANDS.items()
    for inner, leaf in (entry.commands.items() if isinstance(entry, Group) else [("", entry)])
}
"""Every command that does something, by its words."""
GROUPS = {name: entry for name, entry in COMMANDS.items() if isinstance(entry, Group)}


def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a plain environment."""
    command = [sys.executable, "-m", "asyncfilter", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_the_first_help_names_every_command() -> None:
    """Help exits with 0 and is on stdout, without control sequences where that is not a terminal."""
    done = call("--help")
    assert done.returncode == 0
    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert "\x1b" not in done.stdout
    assert "╭" not in done.stdout


@pytest.mark.parametrize("command", GROUPS)
def test_the_help_of_a_group_names_its_commands(command: str) -> None:
    """Each with its line, and examples."""
    done = call(command, "--help")
    lines = done.stdout.partition("Commands:")[2].strip().splitlines()
    expected = [[name, entry.short_help] for name, entry in GROUPS[command].commands.items()]
    assert [line.split(maxsplit=1) for line in lines] == expected
    assert f"  asyncfilter {command}" in done.stdout
    assert call(command).returncode == ExitCode.USAGE


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_examples_and_the_common_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each help shows examples, and --json and --yes."""
    assert command_line([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"  asyncfilter {command}" in shown
    assert "--json" in shown
    assert "--yes" in shown


NUMBERS = [
    pytest.param(callback, name, id=f"{words} {name}")
    for words, leaf in LEAVES.items()
    for one in import_module(leaf.module).app.registered_commands
    if (callback := one.callback) is not None and one.name == words.split()[-1]
    for name, parameter in inspect.signature(callback).parameters.items()
    if float in (get_args(get_args(parameter.annotation)[0]) or get_args(parameter.annotation)[:1])
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("callback", "name"), NUMBERS)
def test_every_number_is_finite(callback: Callable[..., None], name: str, value: float) -> None:
    """Said before anything is read, with the name of the option."""
    with pytest.raises(UsageError, match=r"^--[a-z-]+: expected a number, found "):
        callback(**{name: value})


def imported_by(*command_lines: list[str]) -> set[str]:
    """The modules that a process has imported after these command lines, which must end with 0."""
    code = (
        "import sys, json\n"
        "from asyncfilter.cli.app import command_line\n"
        "sys.stdout = sys.stderr\n"
        f"assert all(command_line(line) == 0 for line in {list(command_lines)})\n"
        "print(json.dumps(list(sys.modules)), file=sys.__stdout__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(done.stdout))


def test_every_command_of_the_package_is_in_the_table() -> None:
    """All commands of the modules of ``cli`` are in ``COMMANDS``, under their own names."""
    found: set[tuple[str | None, str]] = set()
    for info in pkgutil.walk_packages(asyncfilter.cli.__path__, "asyncfilter.cli."):
        app = getattr(import_module(info.name), "app", None)
        if isinstance(app, typer.Typer):
            found |= {(command.name, info.name) for command in app.registered_commands}
    assert found == {(command.split()[-1], leaf.module) for command, leaf in LEAVES.items()}


def test_the_first_help_imports_no_command() -> None:
    """Help is made from the table: neither the module of a command nor its dependencies are imported."""
    imported = imported_by(["--help"])
    assert not imported & {leaf.module for leaf in LEAVES.values()}
    assert not imported & {*HEAVY, *AWS_CLIENT, "pydantic", "msgspec", "rich.progress", "rich.console"}


def test_the_first_help_has_whole_sentences() -> None:
    """No short help is truncated at the width of a terminal."""
    lines = call("--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, entry.short_help] for name, entry in COMMANDS.items()]


def test_the_help_of_a_command_imports_no_client_of_aws() -> None:
    """Importing it takes half a second, which help and completion must not take."""
    lines = [[*command.split(), "--help"] for command in LEAVES]
    if imported_by(*lines) & set(AWS_CLIENT):  # one process for all; only to name the command, one for each
        assert [line for line in lines if imported_by(line) & set(AWS_CLIENT)] == []


def test_a_group_without_a_command_shows_its_help() -> None:
    """Exit 2, and the help on stderr; a word that is no command is named."""
    done = call("config")
    assert (done.returncode, done.stdout) == (2, "")
    assert "check" in done.stderr
    done = call("config", "chek", "job.yaml")
    assert done.returncode == 2
    assert "chek" in done.stderr


@pytest.mark.parametrize("module", [deferred, verbs])
def test_every_deferred_name_exists(module: Any) -> None:
    """All names that are imported late exist, so that none is missing at its first use."""
    assert sorted(module.__all__) == sorted(module._HOMES)
    assert all(getattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError, match="nowhere"):
        module.nowhere  # noqa: B018


def test_an_interrupt_before_the_handlers_ends_the_process(tmp_path: Path) -> None:
    """As a KeyboardInterrupt in a callback of the import system it would be lost, and the command would go on."""
    early = "import sys, signal, weakref\n"
    early += "class Held: pass\n"
    early += "class Early:\n"
    early += "    def find_spec(self, name, path, target=None):\n"
    early += "        if name == 'asyncfilter.cli.signals':\n"
    early += "            one = Held()\n"
    early += "            ref = weakref.ref(one, lambda _: signal.raise_signal(signal.SIGINT))\n"
    early += "            del one\n"
    early += "sys.meta_path.insert(0, Early())\n"
    (tmp_path / "sitecustomize.py").write_text(early)
    package = str(Path(asyncfilter.cli.__file__).parents[2])
    done = call("--version", PATH=os.environ["PATH"], PYTHONPATH=os.pathsep.join([str(tmp_path), package]))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_command_is_imported(tmp_path: Path, number: signal.Signals) -> None:
    """Exit 75 without output: nothing was begun, and the same command can be given again."""
    slow = "import sys, time\n"
    slow += "class Slow:\n"
    slow += "    def find_spec(self, name, path, target=None):\n"
    slow += "        if name == 'asyncfilter.cli.run': open('importing', 'w').close(); time.sleep(20)\n"
    slow += "sys.meta_path.insert(0, Slow())\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    package = str(Path(asyncfilter.cli.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncfilter", "run", "job.yaml"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(tmp_path), package])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline_s = time.monotonic() + 20
    while not (tmp_path / "importing").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (ExitCode.INTERRUPTED, b"", b"")


def test_help_imports_nothing_heavy() -> None:
    """Help imports neither AWS's client nor PyYAML nor an event loop."""
    assert not imported_by(["--help"], ["run", "--help"]) & set(HEAVY)


def test_the_version_is_the_installed_one() -> None:
    """``--version`` prints the name and the number."""
    assert call("--version").stdout.startswith("asyncfilter ")


def test_completion_offers_the_commands() -> None:
    """Bash completion lists the commands with the prefix."""
    words = {"COMP_WORDS": "asyncfilter re", "COMP_CWORD": "1", "_ASYNCFILTER_COMPLETE": "complete_bash"}
    assert call(**words).stdout.split() == ["refilter", "review"]
    words = {"COMP_WORDS": "asyncfilter config ch", "COMP_CWORD": "2", "_ASYNCFILTER_COMPLETE": "complete_bash"}
    assert call(**words).stdout.split() == ["check"]


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    """A process started without stdout and stderr keeps its exit code."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m asyncfilter run none.yaml >&- 2>&-'], cwd=tmp_path, check=False
    )
    assert done.returncode == 2
