"""Output on a terminal: live progress that fits, colours that can be disabled, questions, and a clean screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, syntax
from tests.kit.terminal import CONTROL
from tests.kit.workspace import Workspace

JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [{"keep": {"any": ["Robin"]}}],
    "actions": {"keep": {"copy": "s3://clean/"}},
    "limits": {"budget_usd": 1},
}
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-9]|4[0-9]|9[0-7])[;m]")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


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
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A folder with a job; its terminals have colours."""
    workspace = Workspace(tmp_path, sandbox, **JOB)
    workspace.env["TERM"] = "xterm-256color"
    return workspace


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_live_progress_and_summary_fit(workspace: Workspace, columns: int) -> None:
    """No line is wider than the terminal; rate, amounts and counts are shown; the cursor is restored."""
    arguments = ("run", "job.yaml", "--log-level", "error", "--set", "limits.max_images=8")
    terminal = workspace.terminal(*arguments, columns=columns)
    assert terminal.end() == 0, terminal.seen
    assert max(cell_len(line) for line in terminal.lines) <= columns
    for text in ("examining", " keep", "/s of 100", " of $1.00", "in flight", "stopped"):
        assert text in "\n".join(terminal.lines)
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert COLOUR.search(terminal.seen)


def test_colours_can_be_refused(workspace: Workspace) -> None:
    """NO_COLOR removes all colours from progress and summary."""
    terminal = workspace.terminal("run", "job.yaml", "--set", "limits.max_images=5", NO_COLOR="1")
    terminal.end()
    assert "examining" in terminal.seen
    assert not COLOUR.search(terminal.seen)


def test_a_dumb_terminal_gets_plain_lines(workspace: Workspace) -> None:
    """TERM=dumb: log lines without any control sequence."""
    terminal = workspace.terminal("run", "job.yaml", "--set", "limits.max_images=5", TERM="dumb")
    terminal.end()
    assert "run_started" in terminal.seen
    assert "\x1b" not in terminal.seen


def test_ctrl_c_leaves_a_whole_screen(workspace: Workspace) -> None:
    """Live progress is erased, the cursor restored, only the summary stays at the end; exit 75."""
    terminal = workspace.terminal("run", "job.yaml")
    terminal.read_until(" listed")
    terminal.type("\x03")
    code = terminal.end()
    assert code == 75
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert "Traceback" not in terminal.seen
    after = terminal.seen[terminal.seen.rindex(SHOW_CURSOR) :]
    assert "interrupted: all paid labels are kept" in after
    assert "in flight" not in after


@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("y", 0)])
def test_fresh_asks_before_paying_again(workspace: Workspace, answer: str, code: int) -> None:
    """On a terminal the question names the amount paid; ``no`` changes nothing."""
    few = ("run", "job.yaml", "--set", "limits.max_images=2")
    assert workspace.terminal(*few).end() == 0
    terminal = workspace.terminal(*few, "--fresh")
    terminal.read_until("[y/N]")
    assert "2 paid calls ($0.002)" in terminal.seen
    terminal.type(f"{answer}\n")
    assert terminal.end() == code
    assert len(list((workspace.folder / ".asyncfilter").glob("robins*.db"))) == (2 if answer == "y" else 1)


def test_help_on_a_terminal_is_pretty(workspace: Workspace) -> None:
    """Help has panels and colours; the sandbox's options are grouped."""
    terminal = workspace.terminal("sandbox", "--help", columns=100)
    assert terminal.end() == 0
    for text in ("Examples:", "╭─ Content", "╭─ Trouble", "╭─ Speed and limits"):
        assert text in CONTROL.sub("", terminal.seen)
