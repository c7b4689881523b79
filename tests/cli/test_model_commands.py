"""``model create | import | train | status | list | delete | permissions`` on the sandbox, with its errors by name."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import encoded as line_of
from tests.kit.manifests import image_line
from tests.kit.pictures import encoded
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

pytest.importorskip("numpy", reason="training in the sandbox needs the extra sandbox-training")

COLOURS = {"berry": "firebrick", "leaf": "forestgreen"}
SHARED = "shared"
"""A project for tests that leave it as it is."""
POLL = ("--poll", "0.05")
OUTPUT = ("--output", "s3://models/out/")
IMPORT = ("import", "P", "--train", "train.manifest")
TRAIN = ("train", "P", *OUTPUT, "--yes")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A fast service, and pictures of two labels."""
    buckets = (BucketSpec("pictures"), BucketSpec("models"))
    with SandboxProcess(SandboxOptions(buckets=buckets, speed=2_000)) as running, boto_client(running, "s3") as s3:
        chance = random.Random(0)
        for number in range(40):
            label = sorted(COLOURS)[number % 2]
            picture = Image.effect_noise((128, 96), 20).convert("RGB")
            left = chance.randrange(10, 50)
            ImageDraw.Draw(picture).ellipse((left, 20, left + 60, 80), fill=COLOURS[label])
            s3.put_object(Bucket="pictures", Key=f"{label}/{number:02d}.jpg", Body=encoded(picture))
        with boto_client(running, "rekognition") as service:
            service.create_project(ProjectName=SHARED)
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[Workspace]:
    """Manifests of the pictures, a state folder of their own, and no faults at the service."""
    made = Workspace(tmp_path, sandbox)
    made.env["ASYNCFILTER_STATE"] = str(tmp_path / "state")
    (tmp_path / "train.manifest").write_bytes(lines(range(28)))
    (tmp_path / "test.manifest").write_bytes(lines(range(28, 40)))
    yield made
    faults(sandbox)


def lines(numbers: Sequence[int]) -> bytes:
    """Lines of the pictures."""
    made = []
    for number in numbers:
        label = sorted(COLOURS)[number % 2]
        made.append(line_of(image_line(label, source_ref=f"s3://pictures/{label}/{number:02d}.jpg")))
    return b"".join(line + b"\n" for line in made)


def faults(sandbox: SandboxProcess, *wanted: str) -> None:
    """Let calls fail as these rules say, and no others."""
    sandbox.control("POST", "faults", {"faults": list(wanted)})


def unique(request: pytest.FixtureRequest) -> str:
    """A name of a project, for this test alone."""
    return f"p{abs(hash(request.node.name)) % 10**9}"


@pytest.fixture
def project(request: pytest.FixtureRequest, workspace: Workspace) -> str:
    """A project that is there."""
    name = unique(request)
    workspace.json("model", "create", name, *POLL)
    return name


def versions(sandbox: SandboxProcess, project: str) -> list[dict[str, Any]]:
    """The versions that the service has."""
    with boto_client(sandbox, "rekognition") as service:
        (found,) = service.describe_projects(ProjectNames=[project])["ProjectDescriptions"]
        described: list[dict[str, Any]] = service.describe_project_versions(ProjectArn=found["ProjectArn"])[
            "ProjectVersionDescriptions"
        ]
        return described


def imported(workspace: Workspace, project: str) -> dict[str, Any]:
    """Import both manifests."""
    return workspace.json("model", "import", project, "--train", "train.manifest", "--test", "test.manifest", *POLL)


# -- The path ----------------------------------------------------------------------------------------------------------


def test_the_whole_path(workspace: Workspace, sandbox: SandboxProcess, request: pytest.FixtureRequest) -> None:
    """From nothing to a trained model that is told in figures, and back to nothing."""
    name = unique(request)
    made = workspace.json("model", "create", name, *POLL)
    assert (made["project"], made["created"]) == (name, True)
    assert workspace.json("model", "create", made["arn"], *POLL) == {**made, "created": False}
    found = imported(workspace, name)
    assert found["ok"]
    train = found["datasets"]["train"]
    assert (train["status"], train["lines"], train["entries"], train["labels"]) == ("CREATE_COMPLETE", 28, 28, 2)
    assert (train["batches"], train["missing"], train["errors"]) == (0, [], [])
    again = imported(workspace, name)["datasets"]["test"]
    assert (again["status"], again["entries"], again["batches"]) == ("UPDATE_COMPLETE", 12, 1)
    trained = workspace.json("model", "train", name, *OUTPUT, *POLL, "--yes")
    assert trained["status"] == "TRAINING_COMPLETED"
    assert trained["version"].startswith(f"{name}.20")
    assert trained["f1"] > 0.7
    assert (trained["billable_s"], trained["usd"], trained["attached"], trained["errors"]) == (1800, 0.5, False, [])
    state = workspace.json("model", "status", name)
    assert [one["version"] for one in state["versions"]] == [trained["version"]]
    assert state["datasets"]["test"]["entries"] == 12
    listed = workspace.json("model", "list", name)
    assert listed["models"][0]["f1"] == trained["f1"]
    assert (listed["models"][0]["foreign"], listed["models"][0]["lease"]) == (False, None)
    gone = workspace.json("model", "delete", name, "--all", *POLL, "--yes")
    assert (gone["versions"], gone["datasets"], gone["project_deleted"]) == (
        [trained["version"]],
        ["train", "test"],
        True,
    )
    assert not workspace.json("model", "delete", name, "--all", *POLL, "--yes")["project_deleted"]
    code, _, err = workspace.here("model", "create", made["arn"], *POLL)
    assert (code, "a new one has an ARN of its own" in err) == (1, True), err
    assert name not in {one["project"] for one in workspace.json("model", "list")["projects"]}


def test_a_split(workspace: Workspace, project: str) -> None:
    """The service takes a fifth for the test; the same command again counts, and moves nothing back."""
    command = ("model", "import", project, "--train", "train.manifest", "--auto-split", *POLL)
    first = workspace.json(*command)["datasets"]
    assert first["train"]["entries"] + first["test"]["entries"] == 28
    assert first["test"]["entries"] > 0
    assert first["test"]["lines"] is None
    assert workspace.json(*command)["datasets"]["test"]["entries"] == first["test"]["entries"]


@pytest.mark.parametrize("output", ["--json", "-y"])
def test_an_end_that_could_not_be_written_was_not_shown(
    workspace: Workspace, sandbox: SandboxProcess, project: str, output: str
) -> None:
    """On a full disk the end of a training is lost, with exit 74: the same command shows it, and pays for no other."""
    imported(workspace, project)
    train = ("model", "train", project, *OUTPUT, *POLL, "--yes")
    with Path("/dev/full").open("w") as full:
        lost = subprocess.run(
            workspace.command(*train, output), cwd=workspace.folder, env=workspace.env, stdout=full, check=False
        )
    assert lost.returncode == 74
    assert workspace.json(*train)["attached"]
    assert len(versions(sandbox, project)) == 1


# -- What is wrong -----------------------------------------------------------------------------------------------------


def test_a_bad_manifest_reaches_no_service(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Errors of the check: exit 1, an object with their lines, and no call."""
    (workspace.folder / "bad.manifest").write_bytes(lines(range(6)) + b'{"source-ref": "s3:/oops"}\n')
    sandbox.control("POST", "reset-stats")
    code, out, err = workspace.here("model", "import", "nowhere", "--train", "bad.manifest", "--json")
    assert code == 1
    assert "nothing was imported" in err
    found = json.loads(out)
    assert not found["ok"]
    assert {(one["line"], one["code"]) for one in found["datasets"]["train"]["errors"]} >= {
        (7, "ERROR_INVALID_SOURCE_REF_FORMAT")
    }
    assert not sandbox.stats().operations


def test_dropped_lines_are_named(workspace: Workspace, project: str) -> None:
    """What the service drops without a word, and what it finds wrong, is told with line numbers: exit 1."""
    content = lines(range(10)).splitlines(keepends=True)
    content.insert(3, content[0])
    content.insert(6, b"no json\n")
    wrong = image_line("leaf", source_ref="s3://pictures/leaf/39.jpg")
    wrong["label0-metadata"]["type"] = "groundtruth/unknown"
    content.append(line_of(wrong) + b"\n")
    (workspace.folder / "odd.manifest").write_bytes(b"".join(content))
    refused = workspace.summary("model", "import", project, "--train", "odd.manifest", *POLL)["datasets"]["train"]
    refs = {one["line"]: one["source_ref"] for one in refused["errors"]}
    assert refs == {4: "s3://pictures/berry/00.jpg", 7: None, 13: wrong["source-ref"], None: None}  # None: the file
    for by in ("reference", "entries"):
        found = workspace.summary("model", "import", project, "--train", "odd.manifest", "--force", "--by", by, *POLL)
        train = found["datasets"]["train"]
        assert not found["ok"]
        assert (train["lines"], train["entries"]) == (13, 11)
        assert [(one["line"], one["code"]) for one in train["missing"]] == [
            (4, "REPEATED_SOURCE_REF"),
            (7, "ERROR_INVALID_JSON_LINE"),
        ]
        assert {one["line"] for one in train["errors"]} == {13}
        assert "ERROR_UNSUPPORTED_USE_CASE_TYPE" in {one["code"] for one in train["errors"]}


def test_a_failed_training_is_explained(workspace: Workspace, project: str) -> None:
    """The service's reasons with its codes, exit 1; the next command trains anew."""
    (workspace.folder / "one.manifest").write_bytes(lines(range(0, 20, 2)))
    workspace.summary("model", "import", project, "--train", "one.manifest", "--test", "one.manifest", "--force", *POLL)
    first = workspace.summary("model", "train", project, *OUTPUT, *POLL, "--yes")
    assert first["status"] == "TRAINING_FAILED"
    assert "ERROR_MANIFEST_TOO_FEW_LABELS" in {one["code"] for one in first["errors"]}
    time.sleep(1.1)  # names of versions have seconds
    second = workspace.summary("model", "train", project, *OUTPUT, *POLL, "--yes")
    assert (second["attached"], second["version"] != first["version"]) == (False, True)


@pytest.mark.parametrize(
    ("fault", "command", "code", "word"),
    [
        ("AccessDeniedException:DescribeProjects", ("status", "P"), 4, "rekognition:DescribeProjects"),
        ("AccessDeniedException:CreateProject", ("create", "new"), 4, "rekognition:CreateProject"),
        ("LimitExceededException:CreateProject", ("create", "new"), 1, "LimitExceededException"),
        ("InvalidParameterException:CreateProject", ("create", "new"), 1, "InvalidParameterException"),
        ("InvalidParameterException:DescribeProjects", ("status", "P"), 1, "InvalidParameterException"),
        ("UnrecognizedClientException:DescribeProjects", ("list",), 4, "credentials"),
        ("AccessDeniedException:CreateDataset", IMPORT, 4, "rekognition:CreateDataset"),
        ("InvalidS3ObjectException:CreateDataset", IMPORT, 4, "InvalidS3Object"),
        ("LimitExceededException:CreateDataset", IMPORT, 1, "LimitExceeded"),
        ("ResourceNotFoundException:CreateDataset", IMPORT, 1, "ResourceNotFound"),
        ("AccessDeniedException:CreateProjectVersion", TRAIN, 4, "rekognition:CreateProjectVersion"),
        ("ServiceQuotaExceededException:CreateProjectVersion", TRAIN, 1, "ServiceQuotaExceeded"),
        ("LimitExceededException:CreateProjectVersion", TRAIN, 1, "LimitExceeded"),
        ("InvalidParameterException:CreateProjectVersion", TRAIN, 1, "InvalidParameter"),
        ("ResourceInUseException:DeleteProject", ("delete", "P", "--all", "--yes"), 1, "ResourceInUse"),
        ("AccessDeniedException:DeleteProject", ("delete", "P", "--all", "--yes"), 4, "rekognition:DeleteProject"),
    ],
)  # fmt: skip
def test_errors_by_name(
    workspace: Workspace,
    sandbox: SandboxProcess,
    fault: str,
    command: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    """Each documented error ends in a clear word and the right exit code; with ``--json`` exit 1 has an object."""
    faults(sandbox, f"{fault}=100%")
    poll = () if command[0] in {"status", "list"} else POLL
    arguments = [SHARED if part == "P" else part for part in command]
    found, out, err = workspace.here("model", *arguments, *poll, "--json")
    assert (found, word in err) == (code, True), err
    assert "internal error" not in err
    assert not out if code == 4 else json.loads(out)["error"]["code"] in fault


@pytest.mark.parametrize("fault", ["throttle", "internal"])
def test_passing_trouble_is_not_seen(
    workspace: Workspace, sandbox: SandboxProcess, request: pytest.FixtureRequest, fault: str
) -> None:
    """Throttles and server errors are repeated: the command succeeds, and nothing is made twice."""
    faults(sandbox, f"{fault}:*Project*=1x", f"{fault}:*Dataset*=1x")
    name = unique(request)
    workspace.json("model", "create", name, *POLL)
    assert imported(workspace, name)["ok"]


# -- Lost answers, kills and waits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "cut", "twice", "internal"])
def test_a_lost_answer_pays_once(workspace: Workspace, sandbox: SandboxProcess, project: str, fault: str) -> None:
    """CreateProjectVersion that took place, or not, without an answer: one training, and its end."""
    imported(workspace, project)
    faults(sandbox, f"{fault}:CreateProjectVersion=1x", f"{fault}:DescribeProjectVersions=1x")
    trained = workspace.json("model", "train", project, *OUTPUT, *POLL, "--yes")
    assert [one["Status"] for one in versions(sandbox, project)] == ["TRAINING_COMPLETED"]
    assert not trained["attached"]


def test_killed_trainings_are_attached_to(workspace: Workspace, sandbox: SandboxProcess, project: str) -> None:
    """Killed with -9 at random moments, then Ctrl-C, then the end: one training."""
    imported(workspace, project)
    command = ("model", "train", project, *OUTPUT, *POLL, "--yes")
    chance = random.Random(4)
    faults(sandbox, "late:CreateProjectVersion=100%")
    for _ in range(3):
        process = workspace.start(*command, output=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.4, 1.6))
        process.kill()
        process.wait()
    process = workspace.start(*command, output=subprocess.DEVNULL)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) in {0, 75}
    workspace.summary(*command)
    assert len(versions(sandbox, project)) == 1


def test_waits_that_end(workspace: Workspace, sandbox: SandboxProcess, project: str) -> None:
    """``--no-wait`` returns at once, ``--timeout`` ends with 75; the same command then attaches."""
    imported(workspace, project)
    begun = workspace.json("model", "train", project, *OUTPUT, *POLL, "--yes", "--no-wait", "--version", "v1")
    assert (begun["version"], begun["attached"]) == ("v1", False)
    code, out, err = workspace.here("model", "train", project, *OUTPUT, "--version", "v2", "--yes", "--json")
    if (
        json.loads(workspace.here("model", "status", project, "--json")[1])["versions"][0]["status"]
        != "TRAINING_COMPLETED"
    ):
        assert (code, "v1" in err) == (1, True)
        assert json.loads(out)["error"]["code"] == "TRAINING_OPEN"
    ended = workspace.json("model", "train", project, *OUTPUT, *POLL)
    assert (ended["version"], ended["attached"], ended["status"]) == ("v1", True, "TRAINING_COMPLETED")
    assert [one["ProjectVersionArn"] for one in versions(sandbox, project)] == [ended["arn"]]


# -- Questions and usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("train", "P", *OUTPUT), ("delete", "P", "--all")])
def test_questions_without_a_terminal(workspace: Workspace, command: tuple[str, ...]) -> None:
    """No terminal and no ``--yes``: the answer is no, exit 130, nothing is changed."""
    before = workspace.json("model", "status", SHARED)
    code, out, err = workspace.here("model", *[SHARED if part == "P" else part for part in command])
    assert (code, out, "--yes" in err) == (130, "", True)
    assert workspace.json("model", "status", SHARED) == before


@pytest.mark.parametrize(
    "command",
    [
        ("create", "a b"),
        ("create", "p", "--region", "eu-west-1", "--poll", "x"),
        ("import", "p", "--train", "missing.manifest"),
        ("import", "p", "--train", "train.manifest", "--test", "test.manifest", "--auto-split"),
        ("import", "p", "--train", "train.manifest", "--manifests", "folder"),
        ("train", "p", "--output", "s3:/x"),
        ("train", "p", "--output", "s3://models/x/", "--timeout", "soon"),
        ("delete", "p"),
        ("delete", "p", "--all", "--datasets"),
        ("permissions", "--bucket", "a"),
        ("permissions", "--bucket", "pictures", "--kms", "key"),
        ("status", "arn:aws:rekognition:eu-west-1:123456789012:project/p/1", "--region", "us-east-1"),
    ],
)
def test_usage(workspace: Workspace, command: tuple[str, ...]) -> None:
    """Exit 2 with a hint, before anything is asked of the service."""
    code, out, err = workspace.here("model", *command)
    assert (code, out) == (2, ""), err


def test_a_ledger_that_cannot_be_used(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Exit 3, and the service is not called."""
    folder = workspace.folder / "state"
    folder.mkdir()
    (folder / "leases.db").write_bytes(b"no database" * 100)
    sandbox.control("POST", "reset-stats")
    code, out, err = workspace.here("model", "create", "p", "--json")
    assert (code, out, "leases.db" in err) == (3, "", True)
    assert "CreateProject" not in sandbox.stats().operations


def test_permissions_need_no_service(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """The policy of the caller on stdout; the bucket policy of the service only on request."""
    key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    command = ("model", "permissions", "--bucket", "pictures", "--output", "models", "--kms", key)
    sandbox.control("POST", "reset-stats")
    code, out, _ = workspace.here(*command)
    policy = json.loads(out)
    assert code == 0
    granted = {action for one in policy["Statement"] for action in _actions(one)}
    assert granted >= {"s3:GetObject", "s3:PutObject", "kms:CreateGrant", "rekognition:CreateProjectVersion"}
    assert "Principal" not in out
    found = workspace.json(*command, "--legacy-bucket-policy")
    assert found["policy"] == policy
    assert "rekognition.amazonaws.com" in json.dumps(found["bucket_policies"]["pictures"])
    assert not sandbox.stats().operations


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else actions
