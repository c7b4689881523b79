"""Jobs over lists on the command line, also where only the list names the bucket."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.inventory import FOLDER, MANIFEST_URI, Listed, csv_gz, manifest_of
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

KEYS = [f"robin/{number}.jpg" for number in range(1, 7)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Computed images, and an empty bucket for lists."""
    options = SandboxOptions(synthetic=(SyntheticSpec("raw", 6, "robin/{n}.jpg"),), buckets=(BucketSpec("lists"),))
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(sandbox: SandboxProcess, tmp_path: Path) -> Workspace:
    """A job over a list of addresses, one of them twice and one of no object."""
    uris = [f"s3://raw/{key}" for key in (KEYS[3], KEYS[1], KEYS[3], "robin/none.jpg")]
    (tmp_path / "keys.csv").write_text("\n".join(["uri", *uris]))
    return Workspace(tmp_path, sandbox, source={"list": "./keys.csv"})


def test_the_commands_of_a_job_over_a_list(workspace: Workspace) -> None:
    """The plan counts what the list has and asks for nothing; the run finds out what is gone."""
    planned = workspace.json("plan", "job.yaml")
    assert (planned["listed"], planned["skipped"]) == (3, {})
    summary = workspace.json("run", "job.yaml")
    assert (summary["listed"], summary["skipped"], summary["examined"]) == (3, {"missing": 1}, 2)
    assert summary["complete"] is True
    code, out, _ = workspace.here("export", "job.yaml")
    assert code == 0
    assert [json.loads(line)["uri"] for line in out.splitlines()] == [f"s3://raw/{KEYS[3]}", f"s3://raw/{KEYS[1]}"]
    again = workspace.json("plan", "job.yaml")
    assert (again["known"], again["unpaid"]) == (2, 1)
    assert workspace.json("run", "job.yaml")["this_run"]["calls"] == 0
    assert workspace.json("refilter", "job.yaml")["this_run"]["calls"] == 0
    assert workspace.json("status", "job.yaml")["name"] == "robins"


def test_the_list_may_be_gone_after_the_run(workspace: Workspace) -> None:
    """Commands over the checkpoint need no list: the bucket is that of the checkpoint."""
    workspace.json("run", "job.yaml")
    (workspace.folder / "keys.csv").unlink()
    assert workspace.here("export", "job.yaml")[0] == 0
    assert workspace.here("apply", "job.yaml", "--yes", "--expect", "0")[0] == 0
    code, _, err = workspace.here("run", "job.yaml", "--json")
    assert code == 2
    assert "keys.csv" in err


def test_policy_has_the_list(workspace: Workspace) -> None:
    """Also before the first run: the bucket comes from the list, or from the address of the inventory."""
    policy = workspace.json("policy", "job.yaml")
    assert "arn:aws:s3:::raw" in json.dumps(policy)
    policy = workspace.json("policy", "job.yaml", "--set", f"source={{inventory: {MANIFEST_URI}}}")
    resources = {need["resource"] for need in needs(policy)}
    assert {"arn:aws:s3:::raw", "arn:aws:s3:::lists/inv/raw/daily/*"} <= resources
    code, _, err = workspace.here("policy", "job.yaml", "--set", "source={list: 's3://lists/a.csv'}")
    assert code == 2
    assert "source.uri" in err


def needs(policy: Any) -> Iterator[Any]:
    """Every mapping with a resource, at any depth."""
    if isinstance(policy, dict):
        if isinstance(policy.get("resource"), str):
            yield policy
        policy = list(policy.values())
    for inner in policy if isinstance(policy, list) else []:
        yield from needs(inner)


def test_a_list_without_an_image_is_explained(workspace: Workspace) -> None:
    """Nothing to examine: exit 1, and why."""
    (workspace.folder / "keys.csv").write_text("key\nx.jpg\ny.jpg\n")
    code, out, err = workspace.here("run", "job.yaml", "--json", "--set", "source.uri=s3://raw/")
    assert code == 1
    summary = json.loads(out)
    assert (summary["stop_reason"], summary["skipped"]) == ("nothing_to_examine", {"missing": 2})
    assert "no key of the list is in the store" in err
    (workspace.folder / "keys.csv").write_text("key\n")
    code, _, err = workspace.here("run", "job.yaml", "--json", "--set", "source.uri=s3://raw/")
    assert (code, "the list has no key" in err) == (1, True)


def test_doctor_looks_at_the_list(workspace: Workspace) -> None:
    """A list that is not there is a finding."""
    (workspace.folder / "keys.csv").unlink()
    code, out, _ = workspace.here("doctor", "job.yaml", "--json")
    assert code == 2
    assert "keys.csv" in out


def test_a_list_in_s3_without_a_bucket_of_its_own(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """The run asks the list; what follows asks the checkpoint."""
    with boto_client(sandbox, "s3") as client:
        body = "".join(json.dumps({"source-ref": f"s3://raw/{key}"}) + "\n" for key in KEYS[:3])
        client.put_object(Bucket="lists", Key="bulk.jsonl", Body=body.encode())
    setting = ("--set", "source={list: 's3://lists/bulk.jsonl'}")
    assert workspace.json("run", "job.yaml", *setting)["examined"] == 3
    code, out, _ = workspace.here("export", "job.yaml", *setting)
    assert (code, len(out.splitlines())) == (0, 3)
    sample = workspace.json("plan", "job.yaml", *setting, "--sample", "2", "--yes")
    assert sample["listed"] == 3


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
def test_an_export_is_a_list(format_: str, workspace: Workspace) -> None:
    """Of what a run has found: another job examines the same images, in the same order."""
    workspace.json("run", "job.yaml")
    output = f"kept.{format_}"
    assert workspace.here("export", "job.yaml", "--format", format_, "-o", output)[0] == 0
    settings = ["--set", f"source.list=./{output}", "--set", "checkpoint=other.db"]
    if format_ == "parquet":
        settings += ["--set", "source.uri=s3://raw/"]
    assert workspace.json("run", "job.yaml", *settings)["examined"] == 2
    lines = [workspace.here("export", "job.yaml", *options)[1].splitlines() for options in ([], settings)]
    assert [json.loads(line)["key"] for line in lines[0]] == [json.loads(line)["key"] for line in lines[1]]


def test_a_local_folder_with_a_list(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Keys below the folder; what leads out of it is no file of the source."""
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    for name in ("a/1.jpg", "2.jpg", "3.jpg"):
        (photos / name).write_bytes(b"\xff\xd8\xff" + name.encode())
    (tmp_path / "out.jpg").write_bytes(b"outside")
    names = ["./a/1.jpg", str(photos / "2.jpg"), "../out.jpg", "none.jpg"]
    (tmp_path / "keys.txt").write_text("\n".join(names))
    source = {"uri": "./photos", "list": "./keys.txt"}
    here = Workspace(tmp_path, sandbox, source=source, detector={"region": "eu-west-1"}, convert=False)
    summary = here.summary("run", "job.yaml")
    assert summary["skipped"] == {"missing": 2}
    assert summary["examined"] == 2


def test_nothing_is_deleted_that_is_not_what_was_examined(tmp_path: Path) -> None:
    """An inventory from before: what was replaced after the run stays, and so does what the inventory never had."""
    options = SandboxOptions(buckets=(BucketSpec("lists"), BucketSpec("raw")), check_images=False)
    with SandboxProcess(options) as sandbox, boto_client(sandbox, "s3") as client:
        for key in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
            client.put_object(Bucket="raw", Key=key, Body=key.encode())
        rows = [Listed(key, 5, f"{number:032x}") for number, key in enumerate(("a.jpg", "b.jpg", "c.jpg"))]
        body = csv_gz(rows)
        client.put_object(Bucket="lists", Key="data/0", Body=body)
        client.put_object(Bucket="lists", Key=f"{FOLDER}/manifest.json", Body=manifest_of({"data/0": body}))
        rules = [{"keep": {"any": "Nothing"}}]
        job = Workspace(
            tmp_path, sandbox, source={"inventory": MANIFEST_URI}, rules=rules, actions={"reject": "delete"}
        )
        assert job.json("run", "job.yaml")["reject"] == 3
        client.put_object(Bucket="raw", Key="b.jpg", Body=b"another picture")
        client.delete_object(Bucket="raw", Key="c.jpg")
        code, out, _ = job.here("apply", "job.yaml", "--yes", "--expect", "3", "--max-share", "1", "--json")
        left = [one["Key"] for one in client.list_objects_v2(Bucket="raw")["Contents"]]
    assert code == 1
    assert json.loads(out)["deleted"] == 1
    assert left == ["b.jpg", "d.jpg"]


def test_kills_over_an_inventory(tmp_path: Path) -> None:
    """``kill -9`` while it is read and while images are examined: the rows are those over the listing."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 120),),
        buckets=(BucketSpec("lists"), BucketSpec("clean")),
        latency=Latency(0.05, 0.3),
    )
    limits = {"tps": 200, "concurrency": 20}
    with SandboxProcess(options) as sandbox:
        for name in ("listing", "inventory"):
            (tmp_path / name).mkdir()
        listing = Workspace(tmp_path / "listing", sandbox, source="s3://raw/", limits=limits)
        listing.json("run", "job.yaml")
        with boto_client(sandbox, "s3") as client:
            found = client.list_objects_v2(Bucket="raw")["Contents"]
            rows = [Listed(one["Key"], one["Size"], one["ETag"].strip('"')) for one in reversed(found)]
            files = {f"data/{part}": csv_gz(rows[part::3]) for part in range(3)}
            for key, body in {**files, f"{FOLDER}/manifest.json": manifest_of(files)}.items():
                client.put_object(Bucket="lists", Key=key, Body=body)
        before = billed(sandbox)
        killed = Workspace(tmp_path / "inventory", sandbox, source={"inventory": MANIFEST_URI}, limits=limits)
        rng, kills = random.Random(3), 0
        for _ in range(4):
            process = killed.start("run", "job.yaml", "--json")
            time.sleep(rng.uniform(0.8, 2.5))
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        summary = killed.json("run", "job.yaml")
        assert billed(sandbox) - before <= 120 + 20 * kills
        assert (summary["examined"], summary["listed"], summary["stop_reason"]) == (120, 120, "completed")
        assert killed.here("export", "job.yaml")[1] == listing.here("export", "job.yaml")[1]


def billed(sandbox: SandboxProcess) -> int:
    """Detections so far."""
    return sandbox.stats().operations["DetectLabels"].billed
