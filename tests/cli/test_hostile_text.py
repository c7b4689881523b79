"""Hostile names on their whole way: listed, examined, logged, drawn, exported, in terminals, logs and files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

KEYS = [
    *(f"a/{n:02d}\x1b]0;PWNED\x07\x1b[5;41mBAD\x1b[H.jpg" for n in range(8)),
    "!\x1b]0;PWNED\x07.jpg",
    *("b/\u202egpj.exe.jpg", "b/x\u2028y\u200bz.jpg", "b/one\nerror: forged.jpg", "b/\x9b31m\x7f.jpg", "b/cr\rlf.jpg"),
    *("b/[red]markup[/red].jpg", "=1+1.jpg", "@SUM(1).jpg", "+cmd|x.jpg"),
]
ACTS = re.compile(r"[\x00-\x09\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters but ESC, which the program's own styles begin with, and what ends a line."""
OWN = re.compile(r"\x1b\[[0-9;?]*[mKAhlJG]")
"""What the program itself sends to a terminal."""
JOB: dict[str, Any] = {"rules": [{"keep": {"any": "Robin"}}], "limits": {"budget_usd": 1, "tps": 500}}

EVENTS = ["run", "job.yaml", "--retry-failed", "--events", "-"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A bucket of hostile names; none of the objects is an image."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("gone")))) as process:
        with boto_client(process, "s3") as s3:
            for index, key in enumerate(KEYS):
                s3.put_object(Bucket="raw", Key=key, Body=b"no image %d" % index)
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new folder with a job for all names."""
    return Workspace(tmp_path, sandbox, **JOB)


def check(seen: str) -> None:
    """Nothing but the program's own styles and line ends."""
    text = OWN.sub("", seen).replace("\r\n", "\n").replace("\r", "\n" if "\x1b[" in seen else "\r")
    assert "\x1b" not in text, repr(text)
    assert not ACTS.search(text), repr(ACTS.search(text))
    assert "\nerror: forged" not in text


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_log_is_harmless(workspace: Workspace, level: str) -> None:
    """Every line of a run with failures, and of its summary."""
    done = workspace("run", "job.yaml", "--log-level", level, "--events", "events.jsonl")
    assert done.returncode == 1
    check(done.stderr)
    assert r"!\x1b]0;PWNED\x07.jpg" in done.stderr
    events = [json.loads(line) for line in (workspace.folder / "events.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert {event["key"] for event in events if event["event"] == "image_failed"} == set(KEYS)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_terminal_is_left_alone(workspace: Workspace, term: str) -> None:
    """Live progress, messages above it, summary; then status, plan and export."""
    for command in (
        ["run", "job.yaml", "-v"],
        ["status", "job.yaml"],
        ["plan", "job.yaml"],
        ["export", "job.yaml"],
        EVENTS,
    ):
        terminal = workspace.terminal(*command, TERM=term)
        terminal.end()
        check(terminal.seen)
    terminal = workspace.terminal("export", "job.yaml", "--format", "csv")
    assert terminal.end() == 0
    check(terminal.seen)
    assert r"\x1b]0;PWNED" in terminal.seen


def test_files_are_exact(workspace: Workspace) -> None:
    """JSON Lines and CSV hold the keys letter by letter; --spreadsheet leaves no formula."""
    workspace.here("run", "job.yaml")
    lines = workspace("export", "job.yaml").stdout.split("\n")[:-1]
    assert {json.loads(line)["key"] for line in lines} == set(KEYS)
    for options, formulas in (([], 3), (["--spreadsheet"], 0)):
        assert workspace("export", "job.yaml", "--format", "csv", "-y", "-o", "all.csv", *options).returncode == 0
        with (workspace.folder / "all.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(KEYS)
        assert sum(row["key"].startswith(("=", "@", "+")) for row in rows) == formulas
        assert {row["key"].removeprefix("'") for row in rows} == set(KEYS)
    assert workspace("export", "job.yaml", "--spreadsheet").returncode == 2


HOSTILE = "\x1b]0;PWNED\x07\u202e\n\rerror: forged\x9b1m[red]"
ARGUMENTS = {
    "command": [f"x{HOSTILE}"],
    "option": ["run", "job.yaml", f"--x{HOSTILE}"],
    "extra argument": ["run", "job.yaml", f"x{HOSTILE}"],
    "choice": ["run", "job.yaml", "--log-level", HOSTILE],
    "number": ["export", "job.yaml", "--distance", HOSTILE],
    "job file": ["run", f"{HOSTILE}.yaml"],
    "setting without a value": ["run", "job.yaml", "--set", HOSTILE],
    "unknown setting": ["run", "job.yaml", "--set", f"limits.{HOSTILE}=1"],
    "setting": ["run", "job.yaml", "--set", f"limits.tps={json.dumps(HOSTILE)}"],
    "source": ["run", "job.yaml", "--set", f"source={json.dumps('s3://raw/x' + HOSTILE)}", "--set", "otherwise=x"],
    "bucket": ["plan", "job.yaml", "--set", f"source={json.dumps('s3://' + HOSTILE)}"],
    "events": ["run", "job.yaml", "--events", f"none/{HOSTILE}"],
    "checkpoint": ["status", "job.yaml", "--set", f"checkpoint={json.dumps(HOSTILE)}"],
    "output": ["export", "job.yaml", "--output", f"none/{HOSTILE}"],
    "image": ["labels", f"s3://raw/{HOSTILE}"],
    "file": ["labels", HOSTILE],
    "profile": ["quota", "--profile", HOSTILE],
    "region": ["quota", "--region", HOSTILE],
    "fault": ["sandbox", "--fault", f"{HOSTILE}=1%"],
    "folder": ["sandbox", "--load", f"a={HOSTILE}"],
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_arguments_are_repeated_harmlessly(workspace: Workspace, arguments: list[str]) -> None:
    """Errors repeat what was given, in one line."""
    code, out, err = workspace.here(*arguments)
    assert code in (0, 2, 3, 4, 70), err
    check(out + err)


def test_a_job_file_is_quoted_harmlessly(workspace: Workspace) -> None:
    """Values, keys and names of a job file that are wrong."""
    text = json.dumps({"version": 1, "name": HOSTILE, HOSTILE: 1, "rules": HOSTILE, "source": f"s3://{HOSTILE}"})
    for content in (text, f"version: {HOSTILE}", f'a: "{HOSTILE}', f"? [{HOSTILE}]\n: 1", "a: \x85\u2028&x *y"):
        workspace.job.write_text(content, "utf-8")
        code, out, err = workspace.here("run", "job.yaml")
        assert code == 2
        check(out + err)


def test_a_defect_is_reported_harmlessly(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 70: the line, the traceback of --debug and the file with the details."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"no {HOSTILE} https://me:hunter2@host")

    monkeypatch.setattr("asyncfilter.cli.status.draw_status", fail)
    workspace.here("run", "job.yaml")
    for debug in ([], ["--debug"]):
        code, out, err = workspace.here(*debug, "status", "job.yaml")
        assert code == 70
        lines = err.replace("\nerror: forged", "").splitlines() if debug else err.splitlines()
        check("\n".join(lines))
        details = Path(re.findall(r"in (\S+\.log)", err)[0])
        assert "hunter2" not in out + err + details.read_text("utf-8")
        check(details.read_text("utf-8").replace("\nerror: forged", ""))
        details.unlink()


SECRETS = [
    {"AWS_ENDPOINT_URL": "http://user:hunter2@127.0.0.1:9"},
    {"AWS_ENDPOINT_URL": "https://user:hunt/hunter2@127.0.0.1:9?X-Amz-Signature=hunter2"},
    {"HTTP_PROXY": "http://user:hunter2@127.0.0.1:9", "AWS_ENDPOINT_URL": "http://other.example:9"},
    {"HTTP_PROXY": "http://user:hunter2@nohost..:9", "AWS_ENDPOINT_URL": "http://other.example:9"},
    {"HTTP_PROXY": "socks5://user:hunter2@127.0.0.1:9", "AWS_ENDPOINT_URL": "http://other.example:9"},
]


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
@pytest.mark.parametrize("settings", SECRETS)
def test_passwords_of_urls_are_never_shown(workspace: Workspace, settings: dict[str, str], client: str) -> None:
    """Endpoints and proxies that do not answer: in no message, no event, no report."""
    workspace.env |= settings
    command = ["--debug", "run", "job.yaml", "--events", "ev", "--json", "--set", f"aws.client={client}"]
    code, out, err = workspace.here(*command, "--set", "limits.max_attempts=1")
    assert code == 4, err
    assert "hunter2" not in out + err + (workspace.folder / "ev").read_text()
    assert not [path for path in workspace.folder.rglob("*.db") if b"hunter2" in path.read_bytes()]
