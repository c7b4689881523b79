"""``model improve`` from end to end: wrong labels in drawn pictures are corrected, and the new version is better."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.answers import open_answers
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.pictures import draw_picture
from tests.kit.answers import new_answer, subject
from tests.kit.jobs import write_job
from tests.kit.manifests import image_line
from tests.kit.services import boto_client
from tests.kit.workspace import PATIENCE_S, Workspace, ended, read_until

pytest.importorskip("numpy", reason="trainings in the sandbox need the extra sandbox-training")

BIRDS = ("blackbird", "jay", "robin")
TRAIN = [number for number in range(48) if number // 3 % 4 != 3]
TEST = [number for number in range(48) if number // 3 % 4 == 3]
WRONG = [number for number in TRAIN if number % 5 < 3]
OUTPUT = ("--output", "s3://models/out/")
POLL = ("--poll", "0.05")
SPEED = 1000.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service with pictures in a bucket, in which a training takes two seconds."""
    options = SandboxOptions(buckets=(BucketSpec("pictures"), BucketSpec("models")), speed=SPEED)
    with SandboxProcess(options) as running, boto_client(running, "s3") as s3:
        for number in (*TRAIN, *TEST):
            s3.put_object(Bucket="pictures", Key=_key(number), Body=draw_picture(BIRDS[number % 3], _key(number)))
        yield running


def _key(number: int) -> str:
    return f"{BIRDS[number % 3]}/{number}.jpg"


def _manifest(labels: Mapping[int, str]) -> bytes:
    lines = [image_line(label, source_ref=f"s3://pictures/{_key(number)}") for number, label in labels.items()]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _right(numbers: list[int]) -> dict[int, str]:
    return {number: BIRDS[number % 3] for number in numbers}


def _project(sandbox: SandboxProcess, name: str) -> None:
    """A project whose version ``v1`` was trained with wrong labels."""
    train = _right(TRAIN) | {number: BIRDS[(number + 1) % 3] for number in WRONG}
    with boto_client(sandbox, "rekognition") as service, boto_client(sandbox, "s3") as s3:
        project = service.create_project(ProjectName=name)["ProjectArn"]
        for kind, labels in (("TRAIN", train), ("TEST", _right(TEST))):
            s3.put_object(Bucket="models", Key=f"{kind}.manifest", Body=_manifest(labels))
            place = {"GroundTruthManifest": {"S3Object": {"Bucket": "models", "Name": f"{kind}.manifest"}}}
            made = service.create_dataset(ProjectArn=project, DatasetType=kind, DatasetSource=place)["DatasetArn"]
            _until(partial(_dataset_status, service, made), "CREATE_COMPLETE")
        service.create_project_version(
            ProjectArn=project, VersionName="v1", OutputConfig={"S3Bucket": "models", "S3KeyPrefix": "out"}
        )
        _until(lambda: _version(service, project)["Status"], "TRAINING_COMPLETED")


@contextmanager
def _another_running(sandbox: SandboxProcess, name: str) -> Iterator[None]:
    """Within, a copy of a project's first version runs too, in another project: with that, the account has its most."""
    with boto_client(sandbox, "rekognition") as service:
        projects = {
            one["ProjectArn"].split("/")[1]: one["ProjectArn"]
            for one in service.describe_projects()["ProjectDescriptions"]
        }
        other = service.create_project(ProjectName=f"{name}-copy")["ProjectArn"]
        arn = service.copy_project_version(
            SourceProjectArn=projects[name],
            SourceProjectVersionArn=_version(service, projects[name])["ProjectVersionArn"],
            DestinationProjectArn=other,
            VersionName="v1",
            OutputConfig={"S3Bucket": "models", "S3KeyPrefix": "out"},
        )["ProjectVersionArn"]
        _until(lambda: _version(service, other)["Status"], "COPYING_COMPLETED")
        service.start_project_version(ProjectVersionArn=arn, MinInferenceUnits=1)
        _until(lambda: _version(service, other)["Status"], "RUNNING")
        try:
            yield
        finally:
            service.stop_project_version(ProjectVersionArn=arn)
            _until(lambda: _version(service, other)["Status"], "STOPPED")


def _version(service: Any, project: str) -> dict[str, Any]:
    """The first version of a project."""
    found: list[dict[str, Any]] = service.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
    return min(found, key=lambda one: str(one["ProjectVersionArn"]))


def _dataset_status(service: Any, arn: str) -> str:
    return str(service.describe_dataset(DatasetArn=arn)["DatasetDescription"]["Status"])


def _until(status: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (found := status()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A folder with corrections of all wrong labels, and one of an image that is tested with."""
    found = Workspace(tmp_path, sandbox)
    (tmp_path / "c.manifest").write_bytes(_manifest(_right([*WRONG, TEST[0]])))
    return found


def arguments(project: str, *more: str, corrections: str = "c.manifest") -> tuple[str, ...]:
    """The command."""
    return ("model", "improve", project, "--corrections", corrections, *OUTPUT, *POLL, *more)


def versions(workspace: Workspace, project: str) -> dict[str, str]:
    """The states of the versions of a project."""
    return {one["version"]: one["status"] for one in workspace.json("model", "status", project)["versions"]}


def calls(sandbox: SandboxProcess, *operations: str) -> int:
    """How often the service was called."""
    found = sandbox.stats().operations
    return sum(found[name].attempts for name in operations if name in found)


def test_better(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """F1 on the same test images is higher; then a switch replaces the model that runs, and pays for no training."""
    _project(sandbox, "birds")
    (old,) = workspace.json("model", "status", "birds")["versions"]
    found = workspace.json(*arguments("birds", "--version", "v2", "--yes"))
    assert (found["added"], found["replaced"], found["skipped"]) == (0, len(WRONG), {"in_test_set": 1})
    assert (found["old"]["version"], found["new"]["version"]) == ("v1", "v2")
    assert found["old"]["f1"] == pytest.approx(old["f1"])
    assert found["new"]["f1"] > found["old"]["f1"]
    assert (found["test_sets_equal"], found["better"], found["proposal"]) == (True, True, "switch")
    assert (found["switched"], found["errors"]) == (False, [])

    started = workspace.json("model", "start", "birds", "v1", "--for", "1h", "--no-watcher", *POLL, "--yes")
    code, out, err = workspace.here(*arguments("birds", "--switch"))
    assert code == 130, err
    assert "proposal: switch to v2: its F1 is higher on the same test images" in out
    assert "v1 is stopped once v2 runs: until then both are paid for" in err
    assert "$4.00 an hour" in err
    assert versions(workspace, "birds") == {"v1": "RUNNING", "v2": "TRAINING_COMPLETED"}

    with _another_running(sandbox, "birds"):
        before = calls(sandbox, "CreateProjectVersion", "StopProjectVersion")
        code, out, err = workspace.here(*arguments("birds", "--switch", "--yes"))
        assert code == 1, err
        assert "An account can have 2 running models" in err
        assert calls(sandbox, "CreateProjectVersion", "StopProjectVersion") == before
        assert versions(workspace, "birds") == {"v1": "RUNNING", "v2": "TRAINING_COMPLETED"}
        (kept,) = workspace.json("model", "stop", "--expired")["kept"]
        assert (kept["arn"], kept["expires_at"]) == (started["arn"], started["lease"]["expires_at"])

    process = workspace.start(*arguments("birds", "--switch", "--yes"))
    _until(lambda: versions(workspace, "birds")["v2"] in {"STARTING", "RUNNING"}, wanted=True)
    process.kill()
    ended(process)
    found = workspace.json(*arguments("birds", "--switch", "--yes"))
    assert (found["switched"], found["new"]["version"], found["proposal"]) == (True, "v2", "switch")
    assert found["lease"]["expires_at"] == started["lease"]["expires_at"]
    assert versions(workspace, "birds") == {"v1": "STOPPED", "v2": "RUNNING"}
    workspace.json("model", "stop", "birds", "v2", *POLL)  # with its watcher


def test_again(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """A second run says that the corrections are in, and asks to pay; wrong corrections are no improvement."""
    _project(sandbox, "again")
    code, out, err = workspace.here(*arguments("again", "--version", "v2", "--yes"))
    assert code == 0, err
    assert "proposal: switch to v2" in out
    tested = f"s3://pictures/{_key(TEST[0])}"
    assert f"skipped in_test_set: 1: what is in the test dataset never enters training: {tested}" in err
    code, out, err = workspace.here(*arguments("again"))
    assert (code, out) == (130, "")
    assert "these corrections are in the training dataset already: v2 was trained with them" in err
    assert "a training costs $1 an hour" in err
    assert len(versions(workspace, "again")) == 2
    wrong = {number: BIRDS[(number + 1) % 3] for number in TRAIN}
    (workspace.folder / "w.manifest").write_bytes(_manifest(wrong))
    code, out, err = workspace.here(
        *arguments("again", "--switch", "--version", "v3", "--yes", corrections="w.manifest")
    )
    assert code == 0, err
    assert "proposal: keep v2: the F1 of v3 is not higher" in out
    assert "not switched: the proposal is to keep the old version" in err


def test_what_people_said(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """``--reviewed JOB``: the labels that people gave are the corrections; the same answers are imported once."""
    _project(sandbox, "people")
    write_job(workspace.job, source="s3://pictures/", rules=[{"keep": {"any": list(BIRDS)}}])
    workspace.summary("run", str(workspace.job))
    with boto_client(sandbox, "s3") as s3:
        listed = {one["Key"]: one for one in s3.list_objects_v2(Bucket="pictures")["Contents"]}
    with open_answers(workspace.folder / ".asyncfilter" / "robins.answers.db") as answers:
        for number in (*WRONG, TEST[0]):
            found = listed[_key(number)]
            about = subject(_key(number), bucket="pictures", etag=found["ETag"].strip('"'), size_bytes=found["Size"])
            answers.add([new_answer("keep", about, labels=(BIRDS[number % 3],))])
    command = ("model", "improve", "people", "--reviewed", str(workspace.job), *OUTPUT, *POLL)
    assert workspace.here(*command, "--yes")[0] == 1  # no run has taken them over
    workspace.summary("refilter", str(workspace.job))
    improved = workspace.json(*command, "--version", "v2", "--yes")
    assert (improved["replaced"], improved["skipped"]) == (len(WRONG), {"in_test_set": 1})
    assert (improved["better"], improved["proposal"]) == (True, "switch")
    code, _, err = workspace.here(*command)
    assert code == 130
    assert "these corrections are in the training dataset already: v2 was trained with them" in err
    assert f"skipped not_reviewed: {48 - len(WRONG) - 1}" in err
    for wrong in ((*command, "--corrections", "c.manifest"), ("model", "improve", "people", *OUTPUT)):
        code, _, err = workspace.here(*wrong)
        assert code == 2
        assert "--corrections or --reviewed" in err


def test_errors_before_any_call(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Corrections with errors are told; one label alone, and an image twice, are none."""
    before = sum(one.attempts for one in sandbox.stats().operations.values())
    lines = [image_line("robin", source_ref="http://pictures/1.jpg"), image_line("", source_ref="s3://pictures/1.jpg")]
    (workspace.folder / "c.manifest").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    found = workspace.summary(*arguments("birds", "--yes"))
    assert {(one["line"], one["code"]) for one in found["errors"]} >= {(1, "ERROR_INVALID_SOURCE_REF_FORMAT")}
    assert {one["line"] for one in found["errors"]} >= {1, 2}
    code, out, err = workspace.here(*arguments("birds", "--yes"))
    assert code == 1
    assert "c.manifest:1: error ERROR_INVALID_SOURCE_REF_FORMAT" in out
    assert "nothing was imported" in err
    assert sum(one.attempts for one in sandbox.stats().operations.values()) == before


def test_nothing_is_left(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """All corrections are of images that are tested with: nothing is trained, and nothing is asked."""
    _project(sandbox, "nothing")
    (workspace.folder / "c.manifest").write_bytes(_manifest(_right(TEST[:2])))
    before = calls(sandbox, "CreateProjectVersion", "UpdateDatasetEntries")
    found = workspace.summary(*arguments("nothing"))
    assert (found["skipped"], found["proposal"], found["old"]["version"]) == ({"in_test_set": 2}, "keep", "v1")
    code, _, err = workspace.here(*arguments("nothing"))
    assert code == 1
    assert "no correction is left" in err
    assert calls(sandbox, "CreateProjectVersion", "UpdateDatasetEntries") == before


@pytest.mark.parametrize(
    ("project", "code", "text"), [("none", 1, "there is no project none"), ("empty", 1, "has no TRAIN dataset")]
)
def test_projects_that_cannot_be_improved(
    workspace: Workspace, sandbox: SandboxProcess, project: str, code: int, text: str
) -> None:
    """There is no such project, or it has no dataset."""
    if project == "empty":
        with boto_client(sandbox, "rekognition") as service:
            service.create_project(ProjectName=project)
    found, out, err = workspace.here(*arguments(project, "--yes", "--json"))
    assert (found, json.loads(out)["error"]["message"] in err) == (code, True), err
    assert text in err


def test_killed_again_and_again(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Kill -9 at random moments: the same command completes it, with one training, and tells the counts."""
    _project(sandbox, "killed")
    command = arguments("killed", "--yes")
    chance = random.Random(5)
    for _ in range(4):
        process = workspace.start(*command)
        try:
            process.wait(chance.uniform(0.6, 3.0))
        except subprocess.TimeoutExpired:
            process.kill()
        ended(process)
    found = workspace.json(*command)
    trained = [name for name in versions(workspace, "killed") if name != "v1"]
    assert found["new"]["version"] in trained
    shown_before = len(trained) - 1  # one of the four may have come to its end
    assert shown_before <= 1
    assert found["replaced"] == len(WRONG)
    assert found["better"] is (shown_before == 0)


def test_interrupted(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Ctrl-C says what goes on, and the command that takes it up; a proposal that was not written was not shown."""
    _project(sandbox, "interrupted")
    process = workspace.start(*arguments("interrupted", "--yes"))
    read_until(process, "a training costs")
    _until(lambda: str(len(versions(workspace, "interrupted"))), "2")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code, "the same command takes it up again" in err) == (75, True), err
    with Path("/dev/full").open("w") as full:
        lost = workspace.start(*arguments("interrupted"), output=full.fileno())
        assert lost.wait(PATIENCE_S) == 74
    code, _, err = workspace.here(*arguments("interrupted"))
    assert code == 0, err
    assert "nothing more is paid for its training" in err
    assert len(versions(workspace, "interrupted")) == 2
