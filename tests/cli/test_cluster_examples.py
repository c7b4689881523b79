"""The files of ``docs/examples/cluster`` are what their tools accept, and what they start is this program."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.cli.test_deployment import EXAMPLES, ROOT, Template, actions, functions, in_api
from tests.kit.dockerfile import instructions
from tests.kit.jobs import write_job
from tests.kit.workspace import COMMAND, bare_environment

CLUSTER = EXAMPLES / "cluster"
RAY = find_spec("ray")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Thirty pictures in ``raw``, and a bucket for the state."""
    buckets = (BucketSpec("clean"), BucketSpec("state"))
    with SandboxProcess(SandboxOptions(samples=(SamplesSpec("raw", 30),), buckets=buckets)) as sandbox:
        yield sandbox


def variables(text: str) -> dict[str, str]:
    """The variables of Ray that a file sets, however it writes them."""
    found = re.findall(r'(RAY_AUTH_MODE|RAY_USAGE_STATS_ENABLED)(?:=|, (?:value|Value): )"?(\w+)', text)
    return dict(found)


@pytest.mark.parametrize("name", ["Dockerfile", "ray-up.yaml", "rayjob.yaml", "batch.yaml"])
def test_every_file_asks_for_tokens_and_reports_nothing(name: str) -> None:
    """A cluster without tokens runs the code of whoever reaches it."""
    text = (CLUSTER / name).read_text("utf-8")
    assert variables(text) == {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}


# -- The image ---------------------------------------------------------------------------------------------------------


def test_the_image_has_what_head_and_workers_need() -> None:
    """Ray with its job server, and what the image of the program has, in the same versions; all of it has hashes."""
    steps = list(instructions((CLUSTER / "Dockerfile").read_text("utf-8")))
    installs = [line for step in steps if step.name == "RUN" for line in step.value.split("&&") if " pip " in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps --no-index" in line for line in installs)
    packages = (ROOT / "requirements" / "cluster.txt").read_text("utf-8")
    names = set(re.findall(r"^([\w.-]+)==", packages, re.MULTILINE))
    assert {"ray", "aiohttp-cors", "onnxruntime", "boto3", "aiobotocore"} <= names
    assert pins("run.txt") <= pins("cluster.txt"), "run make lock"
    assert [step.value for step in steps if step.name == "ENTRYPOINT"] == ["[]"], "launchers start a shell"
    *_, user = (step.value for step in steps if step.name == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def pins(name: str) -> set[str]:
    """The packages of a list of requirements, with their versions."""
    text = (ROOT / "requirements" / name).read_text("utf-8")
    return set(re.findall(r"^([\w.-]+==[^\s;]+)", text, re.MULTILINE))


def ray_version() -> str:
    """The version in the image."""
    packages = (ROOT / "requirements" / "cluster.txt").read_text("utf-8")
    found = re.search(r"^ray==(\S+)", packages, re.MULTILINE)
    assert found is not None
    return found[1]


# -- Ray's launcher ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_up() -> dict[str, Any]:
    """The cluster of the launcher."""
    loaded: dict[str, Any] = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text("utf-8"))
    return loaded


@pytest.mark.skipif(RAY is None, reason="Ray is not installed")
def test_the_launcher_accepts_the_cluster(ray_up: dict[str, Any]) -> None:
    """Against the schema that Ray comes with."""
    assert RAY is not None
    assert RAY.origin is not None
    schema = json.loads((Path(RAY.origin).parent / "autoscaler" / "ray-schema.json").read_text("utf-8"))
    jsonschema.validate(ray_up, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(ray_up | {"max_worker": 1}, schema)
    assert ray_up["head_node_type"] in ray_up["available_node_types"]


def test_ec2_has_every_property_of_the_nodes(ray_up: dict[str, Any]) -> None:
    """Names and types are those of the service's model; workers are on spot, the head is not."""
    model = ServiceModel(Loader().load_service_model("ec2", "service-2"), "ec2")
    shape = model.operation_model("RunInstances").input_shape
    for node in ray_up["available_node_types"].values():
        properties = node["node_config"] | {"MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(properties, shape)
        assert not report.has_errors(), report.generate_report()
    markets = {
        name: "InstanceMarketOptions" in one["node_config"] for name, one in ray_up["available_node_types"].items()
    }
    assert markets == {"head": False, "worker": True}


# -- KubeRay -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap with the job file, and the RayJob."""
    job, ray_job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text("utf-8"))
    return job, ray_job


def test_kuberay_accepts_the_job(kubernetes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Against the definition of the resource; Ray is that of the image."""
    _, ray_job = kubernetes
    schema = json.loads((ROOT / "tests" / "data" / "kuberay_rayjob.json").read_text("utf-8"))
    jsonschema.validate(ray_job, schema)
    cluster = ray_job["spec"]["rayClusterSpec"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(ray_job | {"spec": ray_job["spec"] | {"entrypont": "x"}}, schema)
    assert cluster["rayVersion"] == ray_version()
    for pod in (cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]):
        names = [one["name"] for one in pod["spec"]["containers"][0]["env"]]
        assert names == ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"]


def test_the_program_accepts_the_job_file_and_the_entrypoint(
    kubernetes: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    """The job in the ConfigMap is a job, with a state in S3; the entrypoint is a command of the program."""
    config, ray_job = kubernetes
    (tmp_path / "job.yaml").write_text(config["data"]["job.yaml"])
    env = bare_environment(tmp_path)
    check = [*COMMAND, "config", "check", "job.yaml"]
    done = subprocess.run(check, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    shell, flag, line = shlex.split(ray_job["spec"]["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    program, *arguments = shlex.split(line.partition(" || ")[0])
    assert program == "asyncfilter"
    asked = [*COMMAND, *arguments, "--help"]
    done = subprocess.run(asked, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


# -- AWS Batch ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch() -> dict[str, Any]:
    """The template."""
    loaded: dict[str, Any] = yaml.load((CLUSTER / "batch.yaml").read_text("utf-8"), Template)
    return loaded


def test_everything_that_the_template_of_batch_refers_to_is_in_it(batch: dict[str, Any]) -> None:
    """Parameters, resources and pseudo parameters, in ``!Ref``, ``!GetAtt`` and ``!Sub``."""
    names: set[str] = set()
    for kind, value in functions(batch):
        names |= set(re.findall(r"\$\{([^}]+)\}", value)) if kind == "Sub" else set()
        names |= {value} if kind == "Ref" else {value.partition(".")[0]} if kind == "GetAtt" else set()
    known = {*batch["Parameters"], *batch["Resources"]}
    assert {name for name in names if not name.startswith("AWS::")} <= known
    assert set(batch["Parameters"]) <= names


@pytest.mark.parametrize(
    ("resource", "operation"),
    [
        ("JobDefinition", "RegisterJobDefinition"),
        ("Queue", "CreateJobQueue"),
        ("ComputeEnvironment", "CreateComputeEnvironment"),
    ],
)
def test_the_api_of_batch_has_every_property_of_the_template(
    batch: dict[str, Any], resource: str, operation: str
) -> None:
    """Names and types are those of the service's model."""
    model = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")
    properties = in_api(batch["Resources"][resource]["Properties"], lambda name: name[0].lower() + name[1:])
    if operation == "CreateComputeEnvironment":
        properties["computeEnvironmentName"] = "a"  # optional in CloudFormation
    report = ParamValidator().validate(properties, model.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()


def test_the_command_of_batch_resumes_on_another_machine(
    batch: dict[str, Any], tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Two attempts on two disks: the second one has the state of the first, and pays for nothing twice."""
    command = [
        {"Job": "filter.yaml"}.get(one[1], "checkpoint=s3://state/jobs/") if isinstance(one, tuple) else one
        for one in batch["Resources"]["JobDefinition"]["Properties"]["ContainerProperties"]["Command"]
    ]
    program, *arguments = command
    assert program == "asyncfilter"
    summaries = []
    for name, most in (("one", 10), ("two", 20)):
        machine = tmp_path / name
        machine.mkdir()
        write_job(machine / "filter.yaml", actions=None, limits={"max_images": most})
        env = bare_environment(machine) | sandbox.environment()
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=machine, env=env, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode in {0, 1}, done.stderr
        summaries.append(json.loads(done.stdout))
    first, second = summaries
    assert (second["resumed"], second["examined"]) == (True, 20)
    assert second["this_run"]["calls"] <= 20 - first["calls"]


def test_the_job_role_of_batch_may_do_what_the_policy_of_the_run_allows(batch: dict[str, Any], tmp_path: Path) -> None:
    """Every action that ``asyncfilter policy`` prints for a job with copies and a state in S3, and no other one."""
    target = {"keep": {"copy": "s3://clean/{key}"}}
    write_job(tmp_path / "filter.yaml", actions=target, checkpoint="s3://state/jobs/")
    command = [*COMMAND, "policy", "filter.yaml", "--command", "run"]
    env = bare_environment(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60)
    (policy,) = batch["Resources"]["JobRole"]["Properties"]["Policies"]
    assert actions(json.loads(done.stdout)) == actions(policy["PolicyDocument"])
