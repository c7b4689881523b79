"""On a terminal: live progress that fits, colours that can be refused, questions, and a screen that stays whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, syntax

JOB = """\
version: 1
name: robins
source: s3://raw/raw/
rules: [{keep: {any: [Robin]}}]
actions: {keep: {copy: "s3://clean/"}}
limits: {budget_usd: 1}
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-9]|4[0-9]|9[0-7])[;m]")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A command on a terminal of so many columns; stdout is the terminal too."""

    def __init__(self, folder: Path, columns: int, *arguments: str, **env: str) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asyncfilter", *arguments],
            cwd=folder,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_own_terminal,  # noqa: PLW1509  the terminal's Ctrl-C must reach the command
        )
        os.close(slave)

    def read_until(self, word: str) -> None:
        """Read until ``word`` is on the screen."""
        while word not in self.seen:
            self.seen += self._read()

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while piece := self._read():
            self.seen += piece
        os.close(self._master)
        return self.process.wait(timeout=30)

    @property
    def lines(self) -> list[str]:
        """What was drawn, line by line, without control sequences."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", self.seen))]

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            return ""  # the other end is closed


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Thirty pictures at up to 100 a second."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", 30),),
        buckets=(BucketSpec("clean"),),
        tps=100,
        latency=syntax.parse_latency("20ms"),
    )
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def env(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """The environment of a terminal, in a folder with a job."""
    (tmp_path / "job.yaml").write_text(JOB)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **sandbox.environment(),
    }


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_live_progress_and_summary_fit(tmp_path: Path, env: dict[str, str], columns: int) -> None:
    """No line is wider than the terminal; rate, money and counts are there; the cursor comes back."""
    arguments = ("run", "job.yaml", "--log-level", "error", "--set", "limits.max_images=8")
    terminal = Terminal(tmp_path, columns, *arguments, **env)
    assert terminal.end() == 0, terminal.seen
    assert max(cell_len(line) for line in terminal.lines) <= columns
    for word in ("examining", " keep", "/s of 100", " of $1.00", "in flight", "stopped"):
        assert word in "\n".join(terminal.lines)
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert COLOUR.search(terminal.seen)


def test_colours_can_be_refused(tmp_path: Path, env: dict[str, str]) -> None:
    """NO_COLOR leaves progress and summary without any colour."""
    terminal = Terminal(tmp_path, 80, "run", "job.yaml", "--set", "limits.max_images=5", **env, NO_COLOR="1")
    terminal.end()
    assert "examining" in terminal.seen
    assert not COLOUR.search(terminal.seen)


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path, env: dict[str, str]) -> None:
    """TERM=dumb: log lines, no control sequence at all."""
    terminal = Terminal(tmp_path, 80, "run", "job.yaml", "--set", "limits.max_images=5", **{**env, "TERM": "dumb"})
    terminal.end()
    assert "run_started" in terminal.seen
    assert "\x1b" not in terminal.seen


def test_ctrl_c_leaves_a_whole_screen(tmp_path: Path, env: dict[str, str]) -> None:
    """What was drawn is gone, the cursor is back, the summary stands alone at the end; exit 75."""
    terminal = Terminal(tmp_path, 80, "run", "job.yaml", **env)
    terminal.read_until(" listed")
    terminal.type("\x03")
    code = terminal.end()
    assert code == 75
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert "Traceback" not in terminal.seen
    after = terminal.seen[terminal.seen.rindex(SHOW_CURSOR) :]
    assert "interrupted: everything paid for is kept" in after
    assert "in flight" not in after


@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("y", 0)])
def test_fresh_asks_before_paying_again(tmp_path: Path, env: dict[str, str], answer: str, code: int) -> None:
    """On a terminal the question names what was paid; no leaves everything as it was."""
    few = ("run", "job.yaml", "--set", "limits.max_images=2")
    assert Terminal(tmp_path, 80, *few, **env).end() == 0
    terminal = Terminal(tmp_path, 80, *few, "--fresh", **env)
    terminal.read_until("[y/N]")
    assert "2 paid answers ($0.002)" in terminal.seen
    terminal.type(f"{answer}\n")
    assert terminal.end() == code
    assert len(list((tmp_path / ".asyncfilter").glob("robins*.db"))) == (2 if answer == "y" else 1)


def test_help_on_a_terminal_is_pretty(tmp_path: Path, env: dict[str, str]) -> None:
    """Panels and colours; the sandbox's options stand in groups."""
    terminal = Terminal(tmp_path, 100, "sandbox", "--help", **env)
    assert terminal.end() == 0
    for word in ("Examples:", "╭─ Content", "╭─ Trouble", "╭─ Speed and limits"):
        assert word in CONTROL.sub("", terminal.seen)
