"""``asyncfilter sandbox --for``: jobs run on it as they are written, and no file is made without a yes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.kit.documents import ROOT
from tests.kit.jobs import write_job
from tests.kit.onnx_models import FLOAT, colour_model, write_model
from tests.kit.terminal import Terminal
from tests.kit.workspace import COMMAND, bare_environment

CONFIG = sorted(path.name for path in (ROOT / "config").glob("*.yaml"))
PICTURES = 12
LOCAL: dict[str, Any] = {"source": "./photos", "detector": {"region": "eu-west-1"}}


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """The environment of a sandbox with these arguments, which ends with the block."""
    command = [*COMMAND, "sandbox", "--json", *arguments]
    env = bare_environment(folder)
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, b"}\n")
            yield env | json.loads(b"".join(lines) + b"}")["environment"]
        finally:
            process.terminate()
    assert process.returncode == 0


def run_job(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """The summary of a run of ``job.yaml``, which must end with exit code 0."""
    command = [*COMMAND, "run", "job.yaml", "--json"]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, check=True).stdout
    )
    return found


def write_wildlife_model(folder: Path) -> None:
    """The model of ``config/onnx.yaml``, which only its user has: here one that tells animals by colours."""
    weights = [(9.0, 0.0, 0.0, 0.0), (0.0, 9.0, 0.0, 0.0), (0.0, 0.0, 9.0, 0.0)]
    files = write_model(folder, colour_model(weights, shape=("N", 3, 224, 224), kind=FLOAT))
    Path(files["model"]).rename(folder / "wildlife.onnx")
    (folder / "labels.txt").write_text("roe deer\nfox\nbadger\nnothing\n", "utf-8")


@pytest.mark.slow
def test_every_job_of_config_runs_as_it_is_written(tmp_path: Path) -> None:
    """One sandbox has all that the jobs need; each ends with images kept, and none failed."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    write_wildlife_model(tmp_path / "config" / "models")
    jobs = [f"config/{name}" for name in CONFIG]
    options = [option for job in jobs for option in ("--for", job)]
    with served(tmp_path, *options, "--pictures", str(PICTURES), "--yes") as env:
        running = [
            subprocess.Popen([*COMMAND, "run", job, "--json"], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
            for job in jobs
        ]
        printed = [process.communicate(timeout=120)[0] for process in running]
        for job, process, text in zip(jobs, running, printed, strict=True):
            assert process.returncode == 0, job
            summary = json.loads(text)
            assert summary["examined"] >= PICTURES, job
            assert summary["keep"] > 0, job
            assert summary["failed"] == {}, job
        profile = Path(env["AWS_SHARED_CREDENTIALS_FILE"])
        assert profile.exists()
    assert not profile.exists(), "the temporary profile outlives the sandbox"


def test_a_bucket_that_is_filled_otherwise_has_nothing_else(tmp_path: Path) -> None:
    """``--synthetic`` and the like decide what a bucket holds; ``--for`` makes the other buckets."""
    write_job(tmp_path / "job.yaml", actions={"keep": {"copy": "s3://clean/{key}"}})
    with served(tmp_path, "--for", "job.yaml", "--synthetic", "raw=9:robin/{n}.jpg") as env:
        assert run_job(tmp_path, env)["listed"] == 9


# -- Custom Labels -----------------------------------------------------------------------------------------------------


def test_options_of_custom_labels(tmp_path: Path) -> None:
    """A training takes a second at a speed of 3600, and writes its summary in the wanted shape."""
    options = ("--samples", "raw=16", "--bucket", "models", "--speed", "3600", "--summary-shape", "nested")
    with served(tmp_path, *options, "--unit-tps", "2", "--control-tps", "500", "--control-latency", "1ms") as env:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
        keys = dict(
            zip(("aws_access_key_id", "aws_secret_access_key", "region_name"), map(env.get, names), strict=True)
        )
        session = boto3.session.Session(**keys)
        api, s3 = (session.client(name, endpoint_url=env["AWS_ENDPOINT_URL"]) for name in ("rekognition", "s3"))
        subprocess.run(
            [*COMMAND, "manifest", "from-folders", "s3://raw/raw/", "-o", "m"], cwd=tmp_path, env=env, check=True
        )
        s3.put_object(Bucket="models", Key="m.manifest", Body=(tmp_path / "m").read_bytes())
        place = {"GroundTruthManifest": {"S3Object": {"Bucket": "models", "Name": "m.manifest"}}}
        project = api.create_project(ProjectName="birds")["ProjectArn"]
        version = api.create_project_version(
            ProjectArn=project,
            VersionName="v1",
            OutputConfig={"S3Bucket": "models", "S3KeyPrefix": "out"},
            TrainingData={"Assets": [place]},
            TestingData={"Assets": [place]},
        )["ProjectVersionArn"]
        while True:
            (found,) = api.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
            if found["Status"] != "TRAINING_IN_PROGRESS":
                break
        assert found["ProjectVersionArn"] == version
        assert found["Status"] == "TRAINING_COMPLETED", found
        summary = found["EvaluationResult"]["Summary"]["S3Object"]
        body = s3.get_object(Bucket=summary["Bucket"], Key=summary["Name"])["Body"].read()
        assert list(json.loads(body)["AggregatedEvaluationResults"]) == ["Metrics"]


# -- Local folders -----------------------------------------------------------------------------------------------------


def test_no_file_is_made_without_a_yes(tmp_path: Path) -> None:
    """Without a terminal and without --yes the folder is not even made; with --yes it is, and only once."""
    job = write_job(tmp_path / "job.yaml", **LOCAL)
    with served(tmp_path, "--for", "job.yaml", "--pictures", "5"):
        assert list(tmp_path.iterdir()) == [job]
    with served(tmp_path, "--for", "job.yaml", "--pictures", "5", "--yes") as env:
        names = sorted(path.name for path in (tmp_path / "photos").iterdir())
        assert len(names) == 6
        done = subprocess.run(
            [*COMMAND, "run", "job.yaml", "--json"], cwd=tmp_path, env=env, capture_output=True, check=True
        )
        assert json.loads(done.stdout)["examined"] == 5
    with served(tmp_path, "--for", "job.yaml", "--pictures", "50", "--yes"):
        assert sorted(path.name for path in (tmp_path / "photos").iterdir()) == names


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_question_is_asked_on_a_terminal(tmp_path: Path, answer: str) -> None:
    """The question has the number of pictures and the folder; the sandbox serves after either answer."""
    write_job(tmp_path / "job.yaml", **LOCAL)
    command = [*COMMAND, "sandbox", "--for", "job.yaml", "--pictures", "3"]
    terminal = Terminal(command, folder=tmp_path, env=bare_environment(tmp_path) | {"TERM": "dumb"})
    terminal.read_until("Draw 4 files in photos? [y/N]")
    terminal.type(f"{answer}\n")
    terminal.read_until("Ctrl-C ends it")
    assert (tmp_path / "photos").exists() == (answer == "y")
    terminal.type("\x03")
    assert terminal.end() == os.EX_OK


def test_a_wrong_job_is_an_error(tmp_path: Path) -> None:
    """Exit code 2 and the place in the file."""
    (tmp_path / "job.yaml").write_text("version: 1\nname: A\n")
    command = [*COMMAND, "sandbox", "--for", "job.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=bare_environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "job.yaml:2:7: name: " in done.stderr
