"""``policy`` and ``doctor`` as commands: their output, options and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.errors import ExitCode
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.workspace import Workspace

JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [{"keep": {"any": ["Robin"]}}],
    "actions": {"keep": {"copy": "s3://clean/robin/{key}"}},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for all tests."""
    options = SandboxOptions(samples=(SamplesSpec("raw", 5),), buckets=(BucketSpec("clean"),), tps=50)
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace; every caller may do everything."""
    sandbox.control("POST", "policy", {"policy": None})
    return Workspace(tmp_path, sandbox, **JOB)


# -- policy ------------------------------------------------------------------------------------------------------------


def test_stdout_is_a_policy_document(workspace: Workspace) -> None:
    """Nothing but the document is on stdout, the table of commands is on stderr, and no service is asked."""
    del workspace.env["AWS_ENDPOINT_URL"], workspace.env["AWS_ACCESS_KEY_ID"]
    code, out, err = workspace.here("policy", "job.yaml")
    document = json.loads(out)
    assert code == 0
    assert document["Version"] == "2012-10-17"
    assert all({"Sid", "Effect", "Action", "Resource"} <= set(one) for one in document["Statement"])
    assert "plan --sample" in err
    assert "ListSource" in err


def test_each_command_has_its_own_policy(workspace: Workspace) -> None:
    """In JSON; ``--command`` selects."""
    found = workspace.json("policy", "job.yaml")
    assert set(found["commands"]) == {"plan", "plan --sample", "bench", "run", "refilter", "apply --stale"}
    plan = found["commands"]["plan"]["policy"]
    assert workspace.json("policy", "job.yaml", "--command", "plan")["policy"] == plan
    assert json.loads(workspace.here("policy", "job.yaml", "--command", "plan")[1]) == plan
    needs = found["commands"]["run"]["needs"]
    assert {need["action"] for need in needs if need["required"]} == {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "rekognition:DetectLabels"
    }  # fmt: skip
    assert all(need["without"] for need in needs if not need["required"])


def test_lanes_have_policies_of_their_own(workspace: Workspace) -> None:
    """One for the job's credentials, one for each lane, and the bucket policy; on stdout as in JSON."""
    role = "arn:aws:iam::210987654321:role/lane"
    lanes = [{"region": "us-east-1"}, {"name": "c", "region": "us-east-1", "role": role}]
    with_lanes = ("job.yaml", "--set", f"detector={json.dumps({'lanes': lanes})}")
    code, out, err = workspace.here("policy", *with_lanes)
    printed, found = json.loads(out), workspace.json("policy", *with_lanes)
    assert (code, set(printed), set(printed["lanes"])) == (0, {"policy", "lanes", "bucket_policy"}, {"us-east-1", "c"})
    assert printed == {name: found[name] for name in printed}
    assert printed["bucket_policy"]["Statement"][0]["Principal"] == {"AWS": role}
    assert "bucket_policy" in err
    assert "lanes" not in workspace.json("policy", "job.yaml")


def test_the_table_names_the_statements_of_the_policy(workspace: Workspace) -> None:
    """A model that lies among the images is read by the statement that is there for these."""
    model = {"kind": "onnx", "model": "s3://raw/raw/m.onnx", "labels": "labels.txt"}
    code, out, err = workspace.here("policy", "job.yaml", "--command", "run", "--set", f"detector={json.dumps(model)}")
    assert code == 0
    names = {one["Sid"] for one in json.loads(out)["Statement"]}
    assert "ReadModel" not in names
    assert "ReadModel (in ReadSource)" in " ".join(err.split())


def test_facts_that_the_job_does_not_tell(workspace: Workspace) -> None:
    """Partition, versions and keys of KMS."""
    key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1"
    found = workspace.json("policy", "job.yaml", "--partition", "aws-cn", "--source-kms-key", key, "--no-versions")
    assert "arn:aws-cn:s3:::raw/raw/*" in json.dumps(found)
    assert key in json.dumps(found["commands"]["run"])
    workspace.env["AWS_REGION"] = "us-gov-west-1"
    assert workspace.json("policy", "job.yaml")["partition"] == "aws-us-gov"
    code, _, err = workspace.here("policy", "job.yaml", "--partition", "mars")
    assert (code, "aws-cn" in err) == (ExitCode.USAGE, True)


def test_the_bucket_policy(workspace: Workspace) -> None:
    """It is for the bucket of the kept images unless another is named; stderr says who still needs it."""
    code, out, err = workspace.here("policy", "job.yaml", "--bucket-policy")
    assert code == 0
    assert "arn:aws:s3:::clean/*" in out
    assert "rekognition.amazonaws.com" in out
    assert "no longer" in err or "before" in err
    found = workspace.json("policy", "job.yaml", "--bucket-policy", "--bucket", "photos")
    assert found["bucket"] == "photos"
    assert "arn:aws:s3:::photos" in json.dumps(found["caller_policy"])


@pytest.mark.parametrize(
    "options",
    [
        ["--check", "--bucket-policy"],
        ["--bucket", "raw"],
        ["--try-writes"],
        ["--bucket-policy", "--command", "run"],
        ["--bucket-policy", "--bucket", "Bad Bucket"],
        ["--command", "fly"],
    ],
)
def test_options_that_contradict_each_other(workspace: Workspace, options: list[str]) -> None:
    """Exit code 2."""
    assert workspace.here("policy", "job.yaml", *options)[0] == ExitCode.USAGE


def test_a_check_says_what_is_missing(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Exit code 4, and 0 once the caller has the printed policy."""
    document = json.loads(workspace.here("policy", "job.yaml")[1])
    ask = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
    document["Statement"].append(ask)
    sandbox.control("POST", "policy", {"policy": document})
    assert workspace.json("policy", "job.yaml", "--check")["ok"] is True
    document["Statement"] = [
        one for one in document["Statement"] if one["Sid" if "Sid" in one else "Action"] != "Detect"
    ]
    sandbox.control("POST", "policy", {"policy": document})
    code, out, _ = workspace.here("policy", "job.yaml", "--check", "--json")
    found = json.loads(out)
    assert code == ExitCode.ACCESS
    assert [one["action"] for one in found["missing"]] == ["rekognition:DetectLabels"]
    code, out, _ = workspace.here("policy", "job.yaml", "--check")
    assert code == ExitCode.ACCESS
    assert "rekognition:DetectLabels" in out
    code, out, _ = workspace.here("policy", "job.yaml", "--check", "--command", "plan", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)


def test_a_check_without_credentials_is_an_access_error(workspace: Workspace) -> None:
    """One line with the remedy."""
    del workspace.env["AWS_ACCESS_KEY_ID"]
    code, _, err = workspace.here("policy", "job.yaml", "--check")
    assert code == ExitCode.ACCESS
    assert "hint:" in err


# -- doctor ------------------------------------------------------------------------------------------------------------


def test_a_sound_account_is_well(workspace: Workspace) -> None:
    """Exit code 0, one screen, and a health for each thing; nothing is left in the folder."""
    before = sorted(workspace.folder.iterdir())
    code, out, _ = workspace.here("doctor", "job.yaml")
    assert code == 0
    assert "all well" in out
    assert len(out.splitlines()) < 45
    found = workspace.json("doctor", "job.yaml")
    assert (found["ok"], found["exit_code"]) == (True, 0)
    names = [check["name"] for check in found["checks"]]
    assert {"program", "terminal", "credentials", "region", "s3", "rekognition", "clock", "tls", "proxies"} <= set(
        names
    )
    assert {"quota", "ai opt-out", "job", "permissions", "checkpoint", "open files"} <= set(names)
    assert len(set(names)) == len(names)
    assert sorted(workspace.folder.iterdir()) == before


def test_trouble_with_access_is_4(workspace: Workspace) -> None:
    """No secret is shown."""
    workspace.env |= {
        "AWS_ENDPOINT_URL": "http://user:hunter2hunter2@127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": "tell-nobody",
    }
    code, out, err = workspace.here("doctor", "job.yaml")
    assert code == ExitCode.ACCESS
    assert "trouble with" in out
    assert not {"hunter2hunter2", "tell-nobody"} & {
        word for word in ("hunter2hunter2", "tell-nobody") if word in out + err
    }


def test_trouble_with_the_checkpoint_is_3(workspace: Workspace) -> None:
    """A file that is none is named, and left as it was."""
    place = workspace.folder / "broken.db"
    place.write_text("no checkpoint")
    code, out, _ = workspace.here("doctor", "job.yaml", "--set", f"checkpoint={place}")
    assert code == ExitCode.CHECKPOINT
    assert "not a checkpoint" in " ".join(out.split())
    assert place.read_text() == "no checkpoint"


def test_a_wrong_job_or_option_is_2(workspace: Workspace) -> None:
    """As of every command."""
    workspace.job.write_text("version: 1\n")
    assert workspace.here("doctor", "job.yaml")[0] == ExitCode.USAGE
    assert workspace.here("doctor", "--set", "limits.tps=1")[0] == ExitCode.USAGE
    assert workspace.here("doctor", "job.yaml", "--profile", "x")[0] == ExitCode.USAGE


def test_the_sandbox_takes_a_printed_policy(tmp_path: Path, workspace: Workspace) -> None:
    """``sandbox --policy`` refuses what it does not understand."""
    (tmp_path / "bad.json").write_text("{}")
    code, _, err = workspace.here("sandbox", "--policy", str(tmp_path / "bad.json"))
    assert code == ExitCode.USAGE
    assert "policy document" in err
    assert workspace.here("sandbox", "--ai-opt-out", "perhaps")[0] == ExitCode.USAGE
