"""The command line refuses a job over a store that only a program can provide."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from asyncfilter.cli.app import command_line

JOB = """\
version: 1
name: mine
source: own:photos
rules:
  - keep: {any: [Robin]}
actions:
  keep: {copy: "own:robins/{key}"}
"""


@pytest.mark.parametrize(
    "command",
    ["run", "run --dry-run", "plan", "bench --yes", "apply --dry-run", "undo --dry-run"],
)
def test_commands_refuse_a_store_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Exit code 2, with the address and the remedy; no file is made, and no AWS settings are needed."""
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        name, *options = command.split()
        code = command_line([name, str(job), *options])
    assert (code, out.getvalue()) == (2, "")
    message = " ".join(err.getvalue().split())
    assert "own:photos/ is in a store of your own, which only a program can bring" in message
    assert "Call asyncfilter from Python" in message
    assert list(tmp_path.iterdir()) == [job]
