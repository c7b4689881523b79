"""A role that needs the code of an MFA device: asked for on a terminal, and on a terminal only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.workspace import Workspace

PROMPT = "MFA code"
ROLE = """
[profile p]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = q
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile q]
aws_access_key_id = AKIASOURCE
aws_secret_access_key = s
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A few pictures."""
    with SandboxProcess(SandboxOptions(samples=(SamplesSpec("raw", 5),), buckets=(BucketSpec("clean"),))) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A folder with a job whose credentials are those of the role."""
    workspace = Workspace(tmp_path, sandbox, source="s3://raw/raw/", limits={"tps": 100}, aws={"profile": "p"})
    (tmp_path / "config").write_text(ROLE)
    del workspace.env["AWS_ACCESS_KEY_ID"], workspace.env["AWS_SECRET_ACCESS_KEY"]
    workspace.env["AWS_CONFIG_FILE"] = str(tmp_path / "config")
    return workspace


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
@pytest.mark.parametrize("arguments", [("run", "job.yaml"), ("plan", "job.yaml")])
def test_the_code_is_asked_for_on_a_terminal(workspace: Workspace, arguments: tuple[str, ...], term: str) -> None:
    """It is not shown, a live display does not overwrite the question, and the command goes on."""
    terminal = workspace.terminal(*arguments, TERM=term)
    terminal.read_until(PROMPT)
    terminal.type("987654\n")
    assert terminal.end() == 0, terminal.seen
    assert re.search(rf"\n[^\r\n]*{PROMPT}[^\r\n]*:\r?\n", terminal.seen)
    assert "987654" not in terminal.seen


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [("\x03", 130, "Interrupted"), ("\x04", 4, "No code"), ("\n", 4, "TokenCode"), ("12\n", 4, "TokenCode")],
    ids=["Ctrl-C", "Ctrl-D", "Enter", "too short"],
)
def test_no_code_is_no_traceback(workspace: Workspace, typed: str, code: int, words: str) -> None:
    """One line says what happened; nothing was paid."""
    terminal = workspace.terminal("run", "job.yaml")
    terminal.read_until(PROMPT)
    terminal.type(typed)
    assert terminal.end() == code, terminal.seen
    assert words in terminal.seen
    assert "Traceback" not in terminal.seen


def test_without_a_terminal_nobody_is_asked(workspace: Workspace) -> None:
    """Two lines and exit code 4."""
    ended = workspace("run", "job.yaml")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (4, 2), ended.stderr
    assert PROMPT not in ended.stderr
