"""The policies of the ``model`` commands are true to their requests: nothing missing, nothing more."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.cli.app import command_line
from asyncfilter.policy.permissions import BucketFacts, Command, Need, commands_of, needs_of, policy_document
from asyncfilter.sandbox import BucketSpec, Sandbox
from asyncfilter.sandbox.iam.documents import matches
from asyncfilter.sandbox.pictures import draw_picture
from tests.kit import jobs
from tests.kit.manifests import image_line

pytest.importorskip("numpy", reason="trainings in the sandbox need the extra sandbox-training")

BIRDS = ("robin", "jay")
JOB = jobs.make_bare_job(source="s3://pics/", actions=None)
POLL = ("--poll", "0.05")
OUTPUT = ("--output", "s3://pics/out/", *POLL, "--yes")

STEPS = (
    (Command.MODEL_CREATE, ("create", "birds", *POLL)),
    (Command.MODEL_IMPORT, ("import", "birds", "--train", "train.manifest", "--test", "test.manifest", *POLL)),
    (Command.MODEL_TRAIN, ("train", "birds", "--version", "v1", *OUTPUT)),
    (Command.MODEL_STATUS, ("status", "birds")),
    (Command.MODEL_LIST, ("list",)),
    (Command.MODEL_EVALUATE, ("evaluate", "birds", "v1", "--html", "v1.html")),
    (Command.MODEL_START, ("start", "birds", "v1", "--for", "1h", "--no-watcher", *POLL, "--yes")),
    (
        Command.MODEL_IMPROVE,
        ("improve", "birds", "--corrections", "c.manifest", "--version", "v2", "--switch", *OUTPUT),
    ),
    (Command.MODEL_STOP, ("stop", "birds", "v2", *POLL)),
    (Command.MODEL_DELETE, ("delete", "birds", "--all", "--stop", *POLL, "--yes")),
)
NOT_NEEDED = {"HeadBucket"}
UNUSED = {
    (Command.MODEL_IMPORT, "rekognition:DeleteDataset"),  # of a dataset that the service could not make
    (Command.MODEL_IMPORT, "rekognition:ListDatasetEntries"),  # where it dropped lines
    (Command.MODEL_IMPORT, "rekognition:UpdateDatasetEntries"),  # --by entries
    (Command.MODEL_START, "rekognition:StopProjectVersion"),  # by the watcher
}


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A service with pictures of two birds, and the manifests in the working directory."""
    found = open_sandbox(buckets=(BucketSpec("pics"),), access_log=True, speed=2000.0)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    keys = [f"{BIRDS[number % 2]}/{number}.jpg" for number in range(24)]
    for key in keys:
        found.put("pics", key, draw_picture(key.partition("/")[0], key))
    right = [(key, key.partition("/")[0]) for key in keys]
    wrong = [(key, label if number % 4 < 2 else BIRDS[label == "robin"]) for number, (key, label) in enumerate(right)]
    _write(Path("train.manifest"), wrong[:16])
    _write(Path("test.manifest"), right[16:])
    _write(Path("c.manifest"), right[:16])
    return found


def _write(path: Path, labels: Sequence[tuple[str, str]]) -> None:
    lines = [image_line(label, source_ref=f"s3://pics/{key}") for key, label in labels]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _model(*arguments: str) -> tuple[int, str]:
    """Run a command here; its exit code and what it wrote to stderr."""
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        return command_line(["model", *arguments]), err.getvalue()


def _is_use(row: Mapping[str, Any], need: Need) -> bool:
    return bool(row["allowed"]) and row["action"] == need.action and matches(need.resource, row["resource"])


def test_each_policy_is_enough_and_no_more(sandbox: Sandbox) -> None:
    """From the project to its end, each command with its own policy; every permission is used."""
    used: set[tuple[Command, str]] = set()
    for command, arguments in STEPS:
        needs = needs_of(JOB, [command], BucketFacts())
        sandbox.set_policy(policy_document(needs))
        before = {tuple(row.items()) for row in sandbox.needed()}
        code, err = _model(*arguments)
        assert code == 0, (arguments, err)
        rows = [row for row in sandbox.needed() if tuple(row.items()) not in before]
        assert [row for row in rows if row["denied"] and row["operation"] not in NOT_NEEDED] == []
        used |= {(command, need.action) for need in needs if any(_is_use(row, need) for row in rows)}
    required = {
        (command, need.action)
        for command, _ in STEPS
        for need in needs_of(JOB, [command], BucketFacts())
        if need.without is None
    }
    assert required - used <= UNUSED


def test_they_are_named_and_not_of_the_job() -> None:
    """A job needs none of them by itself; the project of its model is the only one that is named."""
    assert not [command for command in commands_of(JOB) if command.startswith("model ")]
    model = "arn:aws:rekognition:us-east-1:123456789012:project/birds/version/v1/1700000000000"
    job = jobs.make_bare_job(
        source="s3://pics/", actions=None, detector={"kind": "rekognition-custom-labels", "model": model}
    )
    (need,) = [
        one for one in needs_of(job, [Command.MODEL_STOP], BucketFacts()) if one.action.endswith("StopProjectVersion")
    ]
    assert need.resource == "arn:aws:rekognition:us-east-1:123456789012:project/birds/*"
