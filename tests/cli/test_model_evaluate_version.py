"""``model evaluate PROJECT VERSION`` on models that the sandbox trained, with summaries of both shapes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.cli.test_model_evaluate import Page
from tests.kit.manifests import image_line
from tests.kit.pictures import encoded
from tests.kit.services import boto_client
from tests.kit.workspace import PATIENCE_S, Workspace

pytest.importorskip("numpy", reason="training in the sandbox needs the extra sandbox-training")

COLOURS = {"berry": "firebrick", "leaf": "forestgreen"}
TRAINED = 8
TESTED = 4


@pytest.fixture(scope="module", params=["flat", "nested"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[SandboxProcess]:
    """A project whose version ``v1`` is trained, with one wrong label in its test set; ``v2`` is in training."""
    buckets = (BucketSpec("pictures"), BucketSpec("models"))
    options = SandboxOptions(buckets=buckets, speed=10_000, summary_shape=request.param)
    with SandboxProcess(options) as running, boto_client(running, "s3") as s3:
        with boto_client(running, "rekognition") as service:
            project = service.create_project(ProjectName="plants")["ProjectArn"]
            for kind, count in (("TRAIN", TRAINED), ("TEST", TESTED)):
                lines = list(_lines(s3, kind.lower(), count))
                if kind == "TEST":
                    lines[0]["label0-metadata"]["class-name"] = "leaf"  # a picture of a berry
                _import(s3, service, project, kind, lines)
            _train(service, project, "v1")
        yield running


def _lines(s3: Any, kind: str, count: int) -> Iterator[dict[str, Any]]:
    """Pictures of both labels, which are put, and their lines."""
    chance = random.Random(kind)
    for label, colour in COLOURS.items():
        for number in range(count):
            picture = Image.effect_noise((160, 120), 20).convert("RGB")
            left, top = chance.randrange(20, 60), chance.randrange(10, 40)
            ImageDraw.Draw(picture).ellipse((left, top, left + 70, top + 60), fill=colour)
            key = f"{kind}/{label}/{number}.jpg"
            s3.put_object(Bucket="pictures", Key=key, Body=encoded(picture))
            yield image_line(label, source_ref=f"s3://pictures/{key}")


def _import(s3: Any, service: Any, project: str, kind: str, lines: list[dict[str, Any]]) -> None:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    s3.put_object(Bucket="models", Key=f"{kind}.manifest", Body=body)
    place = {"S3Object": {"Bucket": "models", "Name": f"{kind}.manifest"}}
    arn = service.create_dataset(ProjectArn=project, DatasetType=kind, DatasetSource={"GroundTruthManifest": place})[
        "DatasetArn"
    ]
    _until(lambda: service.describe_dataset(DatasetArn=arn)["DatasetDescription"]["Status"], "CREATE_COMPLETE")


def _train(service: Any, project: str, version: str) -> None:
    output = {"S3Bucket": "models", "S3KeyPrefix": "out"}
    service.create_project_version(ProjectArn=project, VersionName=version, OutputConfig=output)

    def status() -> str:
        found = service.describe_project_versions(ProjectArn=project, VersionNames=[version])
        return str(found["ProjectVersionDescriptions"][0]["Status"])

    _until(status, "TRAINING_COMPLETED")


def _until(status: Any, wanted: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (found := status()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def test_a_trained_version(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Figures, a page with the pictures of S3, and the files, which give the same again without the service."""
    found = workspace.json("model", "evaluate", "plants", "v1", "--html", "p.html", "--save", "kept")
    with boto_client(sandbox, "rekognition") as service:
        project = service.describe_projects(ProjectNames=["plants"])["ProjectDescriptions"][0]["ProjectArn"]
        described = service.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"][0]
    assert found["f1"] == pytest.approx(described["EvaluationResult"]["F1Score"])
    assert (found["project"], found["version"], found["use_case"]) == ("plants", "v1", "IMAGE_LEVEL_LABELS")
    assert (found["training_images"], found["testing_images"]) == (2 * TRAINED, 2 * TESTED)
    assert found["recomputed"]["tp"] + found["recomputed"]["fn"] == 2 * TESTED
    assert "s3://pictures/test/berry/0.jpg" in {mistake["source_ref"] for mistake in found["mistakes"]}
    assert found["notices"] == found["problems"] == []
    page = Page((workspace.folder / "p.html").read_text("utf-8"))
    assert len(page.pictures) == len({mistake["source_ref"] for mistake in found["mistakes"]})
    files = ("--summary", "kept/summary.json", "--snapshot", "kept/snapshot.manifest")
    assert workspace.json("model", "evaluate", *files) == found


def test_names_and_arns(workspace: Workspace) -> None:
    """A version may be named by its ARN; compared with itself nothing is different."""
    arn = workspace.json("model", "evaluate", "plants", "v1")["arn"]
    found = workspace.json("model", "evaluate", "plants", arn, "--compare", "v1")["comparison"]
    assert (found["old"], found["new"], found["test_sets_equal"], found["f1_delta"]) == ("v1", "v1", True, 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("plants", "v9"), "project plants has no version v9"),
        (("animals", "v1"), "there is no project animals"),
        (("plants", "v1", "--compare", "v9"), "project plants has no version v9"),
    ],
)
def test_what_is_not_there(workspace: Workspace, arguments: tuple[str, ...], expected: str) -> None:
    """Exit 1 and the error; with ``--json`` an object with all fields."""
    code, out, err = workspace.here("model", "evaluate", *arguments, "--json")
    found = json.loads(out)
    assert code == 1
    assert expected in err
    assert found["error"]["code"] == "ResourceNotFoundException"
    assert (found["f1"], found["mistakes"]) == (None, [])


def test_files_that_are_gone(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Exit 1, and the object that is not there."""
    with boto_client(sandbox, "s3") as s3:
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket="models", Prefix="out/")["Contents"]]
        key = next(key for key in keys if "EvaluationSummary" in key)
        body = s3.get_object(Bucket="models", Key=key)["Body"].read()
        s3.delete_object(Bucket="models", Key=key)
        code, _, err = workspace.here("model", "evaluate", "plants", "v1")
        s3.put_object(Bucket="models", Key=key, Body=body)
    assert code == 1
    assert f"v1 has no evaluation: s3://models/{key} is not there" in err
    assert not list(workspace.folder.glob("*.html"))


def test_a_version_in_training(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """It has no evaluation yet: exit 1."""
    with boto_client(sandbox, "rekognition") as service:
        project = service.describe_projects(ProjectNames=["plants"])["ProjectDescriptions"][0]["ProjectArn"]
        output = {"S3Bucket": "nowhere-at-all", "S3KeyPrefix": "out"}
        service.create_project_version(ProjectArn=project, VersionName="failed", OutputConfig=output)
    code, _, err = workspace.here("model", "evaluate", "plants", "failed")
    assert code == 1
    assert "failed has no evaluation: its state is TRAINING_" in err
