"""On a terminal: live progress that fits, colours that can be refused, questions, and a screen that stays whole."""

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
def place(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A folder with a job; terminals there have colours."""
    place = Workspace(tmp_path, sandbox, **JOB)
    place.env["TERM"] = "xterm-256color"
    return place


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_live_progress_and_summary_fit(place: Workspace, columns: int) -> None:
    """No line is wider than the terminal; rate, money and counts are there; the cursor comes back."""
    arguments = ("run", "job.yaml", "--log-level", "error", "--set", "limits.max_images=8")
    terminal = place.terminal(*arguments, columns=columns)
    assert terminal.end() == 0, terminal.seen
    assert max(cell_len(line) for line in terminal.lines) <= columns
    for word in ("examining", " keep", "/s of 100", " of $1.00", "in flight", "stopped"):
        assert word in "\n".join(terminal.lines)
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert COLOUR.search(terminal.seen)


def test_colours_can_be_refused(place: Workspace) -> None:
    """NO_COLOR leaves progress and summary without any colour."""
    terminal = place.terminal("run", "job.yaml", "--set", "limits.max_images=5", NO_COLOR="1")
    terminal.end()
    assert "examining" in terminal.seen
    assert not COLOUR.search(terminal.seen)


def test_a_dumb_terminal_gets_plain_lines(place: Workspace) -> None:
    """TERM=dumb: log lines, no control sequence at all."""
    terminal = place.terminal("run", "job.yaml", "--set", "limits.max_images=5", TERM="dumb")
    terminal.end()
    assert "run_started" in terminal.seen
    assert "\x1b" not in terminal.seen


def test_ctrl_c_leaves_a_whole_screen(place: Workspace) -> None:
    """What was drawn is gone, the cursor is back, the summary stands alone at the end; exit 75."""
    terminal = place.terminal("run", "job.yaml")
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
def test_fresh_asks_before_paying_again(place: Workspace, answer: str, code: int) -> None:
    """On a terminal the question names what was paid; no leaves everything as it was."""
    few = ("run", "job.yaml", "--set", "limits.max_images=2")
    assert place.terminal(*few).end() == 0
    terminal = place.terminal(*few, "--fresh")
    terminal.read_until("[y/N]")
    assert "2 paid calls ($0.002)" in terminal.seen
    terminal.type(f"{answer}\n")
    assert terminal.end() == code
    assert len(list((place.folder / ".asyncfilter").glob("robins*.db"))) == (2 if answer == "y" else 1)


def test_help_on_a_terminal_is_pretty(place: Workspace) -> None:
    """Panels and colours; the sandbox's options stand in groups."""
    terminal = place.terminal("sandbox", "--help", columns=100)
    assert terminal.end() == 0
    for word in ("Examples:", "╭─ Content", "╭─ Trouble", "╭─ Speed and limits"):
        assert word in CONTROL.sub("", terminal.seen)
