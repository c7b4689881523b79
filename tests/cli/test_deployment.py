"""What ``docs/deploy`` shows works: the steps of the Dockerfile, the units, the crontab, the template for AWS Batch."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.dockerfile import Build, Stage, instructions
from tests.kit.jobs import write_job
from tests.kit.workspace import COMMAND, bare_environment

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
DOCKER = shutil.which("docker")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Thirty pictures in ``raw``."""
    with SandboxProcess(SandboxOptions(samples=(SamplesSpec("raw", 30),), buckets=(BucketSpec("clean"),))) as sandbox:
        yield sandbox


# -- The container -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The last stage of the Dockerfile; the build stage, which an image does not have, is gone."""
    build = Build(ROOT / "Dockerfile", ROOT, tmp_path_factory.mktemp("image"))
    for stage in build.stages[:-1]:
        shutil.rmtree(stage.root)
    return build.stages[-1]


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_a_program_that_resumes_on_its_volume(
    image: Stage, sandbox: SandboxProcess
) -> None:
    """The program runs from what the image has; another container on the same volume goes on and pays nothing twice."""
    assert image.run("--version").stdout.startswith("asyncfilter ")
    assert "Usage: asyncfilter" in image.run().stdout
    volume = image.inside(image.volumes[0])
    write_job(volume / "robins.yaml", actions={"keep": {"copy": "s3://clean/{key}"}}, limits={"max_images": 10})
    first = image.run("run", "robins.yaml", "--json", env=sandbox.environment())
    assert first.returncode in {0, 1}, first.stderr
    assert json.loads(first.stdout)["stop_reason"] == "max_images"
    second = image.run("run", "robins.yaml", "--json", "--set", "limits.max_images=20", env=sandbox.environment())
    summary = json.loads(second.stdout)
    assert (summary["resumed"], summary["examined"]) == (True, 20)
    assert summary["this_run"]["calls"] <= 20 - json.loads(first.stdout)["calls"]


@pytest.mark.slow
def test_the_image_holds_no_tools_of_developers(image: Stage) -> None:
    """Neither tests nor their libraries are in it, and all of it comes from hashed requirements."""
    packages = {
        path.name.partition("-")[0].lower() for path in image.root.glob("opt/*/lib/python*/site-packages/*.dist-info")
    }
    assert "asyncfilter" in packages
    assert not packages & {"pytest", "mypy", "ruff", "moto", "hypothesis"}
    assert image.changes[-1] == f"chown 10001:10001 {image.root}/work"


@pytest.mark.slow
def test_the_image_for_clusters_is_made_of_it(image: Stage, tmp_path: Path) -> None:
    """Its steps work on the image of the program, but for what pip fetches (make test-cluster does that, too)."""
    dockerfile = EXAMPLES / "cluster" / "Dockerfile"
    (made,) = Build(dockerfile, ROOT, tmp_path, bases={"asyncfilter": image}, installs=False).stages
    packages, place = "/opt/cluster.txt", "/opt/asyncfilter/bin/python"
    *installed, shell, pip = made.changes
    assert [change.split()[:2] for change in installed] == [["apt-get", "update"], ["apt-get", "install"]]
    assert shell == "usermod --shell /bin/bash asyncfilter"
    assert {f"--python {made.inside(place)}", f"-r {made.inside(packages)}", "--require-hashes"} <= {
        *re.findall(r"--require-hashes|(?:--python|-r) \S+", pip)
    }
    assert made.inside(packages).read_text() == (ROOT / "requirements" / "cluster.txt").read_text()
    assert (made.user, made.entrypoint, made.stop_signal) == ("10001:10001", [], "SIGTERM")
    assert "Usage: asyncfilter" in made.run().stdout
    assert made.run("asyncfilter", "--version").stdout == image.run("--version").stdout


def test_the_image_is_made_with_care() -> None:
    """Its user is a number other than 0, set after the last change; its volume is its home; every pip has hashes."""
    steps = list(instructions((ROOT / "Dockerfile").read_text("utf-8")))
    last = steps[max(index for index, step in enumerate(steps) if step.name == "FROM") :]
    users = [index for index, step in enumerate(last) if step.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last[users[0]].value)
    assert all(step.name not in {"RUN", "COPY"} for step in last[users[0] :])
    assert {"VOLUME /work", "STOPSIGNAL SIGTERM", 'ENTRYPOINT ["asyncfilter"]'} <= {" ".join(step) for step in last}
    installs = [line for step in steps if step.name == "RUN" for line in step.value.split("&&") if " pip " in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps --no-index" in line for line in installs)


def has_docker() -> bool:
    """Whether a Docker daemon answers."""
    return DOCKER is not None and not subprocess.run([DOCKER, "info"], capture_output=True, check=False).returncode


@pytest.mark.slow
def test_docker_builds_and_runs_the_image() -> None:
    """Where there is Docker: the image builds, and runs as a user without privileges."""
    if DOCKER is None or not has_docker():
        pytest.skip("no Docker daemon answers here; the steps of the Dockerfile are run by the tests above")
    tag = "asyncfilter-test"
    subprocess.run([DOCKER, "build", "--quiet", "--tag", tag, str(ROOT)], check=True, timeout=600)
    for arguments, expected in ((["--entrypoint", "id", tag, "-u"], "10001"), ([tag, "--version"], "asyncfilter ")):
        command = [DOCKER, "run", "--rm", "--read-only", "--cap-drop", "ALL", *arguments]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith(expected)


# -- systemd -----------------------------------------------------------------------------------------------------------


def unit(name: str) -> configparser.ConfigParser:
    """A unit of the examples."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names of settings have capitals
    parser.read_string((EXAMPLES / "systemd" / name).read_text("utf-8"))
    return parser


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say about service and timer."""
    assert SYSTEMD_ANALYZE is not None
    program = shutil.copy("/bin/true", tmp_path / "asyncfilter")
    for name in (
        "asyncfilter@.service",
        "asyncfilter@.timer",
        "asyncfilter-leases.service",
        "asyncfilter-leases.timer",
    ):
        text = (EXAMPLES / "systemd" / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/asyncfilter/bin/asyncfilter", str(program)))
    names = ("asyncfilter@robins.service", "asyncfilter@robins.timer", "asyncfilter-leases.service")
    units = [str(tmp_path / name) for name in (*names, "asyncfilter-leases.timer")]
    done = subprocess.run(
        [SYSTEMD_ANALYZE, "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_runs_its_job_and_takes_its_exit_codes_as_meant(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Its command line works without a terminal; 1 and 75 are successes, and what a person must see is not repeated."""
    service = unit("asyncfilter@.service")["Service"]
    write_job(tmp_path / "robins.yaml", actions=None)
    line = service["ExecStart"].replace("%i", "robins").replace("/etc/asyncfilter", str(tmp_path))
    program, *arguments = line.replace("/var/lib/asyncfilter", str(tmp_path)).split()
    assert program == "/opt/asyncfilter/bin/asyncfilter"
    env = bare_environment(tmp_path) | sandbox.environment()
    done = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # some of the pictures are broken
    assert (tmp_path / "robins.db").exists()
    assert service["SuccessExitStatus"].split() == ["1", "75"]
    assert service["RestartPreventExitStatus"].split() == ["2", "3", "4", "70", "74"]


def test_the_timer_and_the_crontab_for_leases_work(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Both run the same command, in a bare environment; a stop that is not over yet is no failure."""
    service = unit("asyncfilter-leases.service")["Service"]
    cron = (EXAMPLES / "cron" / "leases").read_text("utf-8").splitlines()[-1]
    found = re.fullmatch(r"\*/5 \* \* \* \* (\S+) (.+?) >>\S+ 2>&1", cron)
    assert found is not None
    env = bare_environment(tmp_path) | sandbox.environment()
    for line in (service["ExecStart"], f"{found[1]} {found[2]}"):
        program, *arguments = line.split()
        assert program == "/opt/asyncfilter/bin/asyncfilter"
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "no model runs by a lease\n"), done.stderr
    assert service["SuccessExitStatus"] == "75"


# -- cron --------------------------------------------------------------------------------------------------------------


def test_the_crontab_runs_in_the_bare_environment_of_cron(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Each line has the form of /etc/cron.d, and its command runs with the variables of the file alone."""
    text = (EXAMPLES / "cron" / "asyncfilter").read_text("utf-8").replace("/etc/asyncfilter", str(tmp_path))
    text = text.replace("/var/lib/asyncfilter", str(tmp_path)).replace("/var/log/asyncfilter", str(tmp_path))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]+=", line))
    entries = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    assert len(entries) == 2
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "asyncfilter").write_text(f'#!/bin/sh\nexec {sys.executable} -m asyncfilter "$@"\n')
    (programs / "asyncfilter").chmod(0o755)
    variables["PATH"] = variables["PATH"].replace("/opt/asyncfilter/bin", str(programs))
    write_job(tmp_path / "robins.yaml", actions=None)
    for entry in entries:
        found = re.fullmatch(r"(?:@reboot|\S+ \S+ \S+ \S+ \S+)\s+(\S+)\s+(.+)", entry)
        assert found is not None
        assert found[1] == "asyncfilter"
        assert "%" not in found[2], "cron takes a percent sign for a new line"
        env = (
            sandbox.environment() | variables | {"HOME": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        )
        done = subprocess.run([variables["SHELL"], "-c", found[2]], cwd=tmp_path, env=env, check=False, timeout=120)
        assert done.returncode == 1, (tmp_path / "robins.log").read_text()
    assert (tmp_path / "robins.db").exists()
    assert "\x1b" not in (tmp_path / "robins.log").read_text()


# -- AWS Batch ---------------------------------------------------------------------------------------------------------


class Template(yaml.SafeLoader):
    """Reads a CloudFormation template; a function such as ``!Ref A`` becomes ``("Ref", "A")``."""


def _function(loader: Template, suffix: str, node: yaml.Node) -> tuple[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        return suffix, loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return suffix, loader.construct_scalar(node)


Template.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The template of the example."""
    text = (EXAMPLES / "aws-batch" / "stack.yaml").read_text("utf-8")
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)), "CloudFormation refuses aliases"
    loaded: dict[str, Any] = yaml.load(text, Template)
    return loaded


def functions(node: Any) -> Iterator[tuple[str, Any]]:
    """All functions of a template."""
    if isinstance(node, tuple):
        yield node
        node = node[1]
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from functions(child)


def test_everything_that_the_template_refers_to_is_in_it(template: dict[str, Any]) -> None:
    """Parameters, resources and pseudo parameters, in ``!Ref``, ``!GetAtt`` and ``!Sub``."""
    known = {*template["Parameters"], *template["Resources"]}
    names: set[str] = set()
    for kind, value in functions(template):
        if kind == "Ref":
            names.add(value)
        elif kind == "GetAtt":
            names.add(value.partition(".")[0])
        elif kind == "Sub":
            names |= set(re.findall(r"\$\{([^}]+)\}", value))
    assert {name for name in names if not name.startswith("AWS::")} <= known
    assert set(template["Parameters"]) <= names
    for resource in template["Resources"].values():
        assert set(resource.get("DependsOn", ())) <= known


def in_api(node: Any, rename: Callable[[str], str]) -> Any:
    """Properties of CloudFormation with the names of the API; functions are some text."""
    if isinstance(node, tuple):
        return ["a"] if node == ("Ref", "Subnets") else "a"
    if isinstance(node, dict):
        return {rename(name): in_api(child, rename) for name, child in node.items()}
    if isinstance(node, list):
        return [in_api(child, rename) for child in node]
    return node


@pytest.mark.parametrize(
    ("resource", "operation"),
    [
        ("JobDefinition", "RegisterJobDefinition"),
        ("Queue", "CreateJobQueue"),
        ("ComputeEnvironment", "CreateComputeEnvironment"),
    ],
)
def test_the_api_of_batch_has_every_property(template: dict[str, Any], resource: str, operation: str) -> None:
    """Names and types are those of the service's model, so that no property is misspelt."""
    model = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")
    shape = model.operation_model(operation).input_shape
    properties = in_api(template["Resources"][resource]["Properties"], lambda name: name[0].lower() + name[1:])
    if operation == "CreateComputeEnvironment":
        properties["computeEnvironmentName"] = "a"  # optional in CloudFormation
    report = ParamValidator().validate(properties, shape)
    assert not report.has_errors(), report.generate_report()


def test_batch_starts_again_after_an_interruption_and_only_then(template: dict[str, Any]) -> None:
    """Interrupted (75), killed (137) and locked (3) are tried again; the last condition ends everything else."""
    properties = template["Resources"]["JobDefinition"]["Properties"]
    conditions = properties["RetryStrategy"]["EvaluateOnExit"]
    assert len(conditions) <= 5
    assert {one["OnExitCode"] for one in conditions if "OnExitCode" in one} == {"75", "137", "3"}
    assert all(one["Action"] == "RETRY" for one in conditions[:-1])
    assert conditions[-1] == {"Action": "EXIT", "OnReason": "*"}


def test_the_command_of_the_template_is_one_of_the_program(
    template: dict[str, Any], tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """It runs as a container runs it, with its checkpoint on the volume, and the summary is all of stdout."""
    write_job(tmp_path / "filter.yaml", actions=None)
    command = [
        {"Job": str(tmp_path / "filter.yaml")}.get(one[1], f"checkpoint={tmp_path}/robins.db")
        if isinstance(one, tuple)
        else one
        for one in template["Resources"]["JobDefinition"]["Properties"]["ContainerProperties"]["Command"]
    ]
    env = bare_environment(tmp_path) | sandbox.environment()
    done = subprocess.run([*COMMAND, *command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == f"{tmp_path}/robins.db"
    assert all(json.loads(line) for line in done.stderr.splitlines())


def test_the_job_role_may_do_what_the_policy_of_a_run_allows(template: dict[str, Any], tmp_path: Path) -> None:
    """Every action that ``asyncfilter policy`` prints for a job with copies is allowed, and no other one on S3."""
    write_job(tmp_path / "filter.yaml", actions={"keep": {"copy": "s3://clean/{key}"}})
    command = [*COMMAND, "policy", "filter.yaml", "--command", "run"]
    env = bare_environment(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60)
    (policy,) = template["Resources"]["JobRole"]["Properties"]["Policies"]
    allowed = actions(policy["PolicyDocument"])
    assert actions(json.loads(done.stdout)) == {name for name in allowed if not name.startswith("elasticfilesystem:")}


def actions(document: dict[str, Any]) -> set[str]:
    """All actions of a policy."""
    found = [statement["Action"] for statement in document["Statement"]]
    return {name for one in found for name in ([one] if isinstance(one, str) else one)}


def test_the_container_and_its_file_system_agree_about_the_user(template: dict[str, Any]) -> None:
    """The access point's user is the image's; the mount is the image's volume."""
    steps = {step.name: step.value for step in instructions((ROOT / "Dockerfile").read_text("utf-8"))}
    user = template["Resources"]["AccessPoint"]["Properties"]["PosixUser"]
    assert f"{user['Uid']}:{user['Gid']}" == steps["USER"]
    properties = template["Resources"]["JobDefinition"]["Properties"]["ContainerProperties"]
    assert [mount["ContainerPath"] for mount in properties["MountPoints"]] == [steps["VOLUME"]]
