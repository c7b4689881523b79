"""``doctor`` finds what a run would stumble over, names the remedy, and shows no secret."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncfilter import __version__, run
from asyncfilter.checkpoint import open_checkpoint, place_trial, try_place
from asyncfilter.errors import CheckpointError, ExitCode
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Aws
from asyncfilter.mounts import Mount
from asyncfilter.policy.findings import Finding, Health, exit_code_of
from asyncfilter.report.terminal.doctor import doctor_mapping
from asyncfilter.sandbox import BucketSpec, DenyRule, OptOut, Sandbox, SandboxOptions
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from asyncfilter.state.names import StatePlace
from asyncfilter.testing.state_store import MemoryStateStore
from asyncfilter.wiring.doctor import diagnose, machine, network
from tests.kit import jobs
from tests.kit.services import aws_settings, serving
from tests.kit.states import SOMEBODY, HandMade

SECRET = "correct-horse-battery-staple"
BUCKETS = tuple(map(BucketSpec, ("raw", "clean")))


@asynccontextmanager
async def sandbox_of(**options: Any) -> AsyncIterator[Sandbox]:
    """A sandbox with an image."""
    settings: dict[str, Any] = {"buckets": BUCKETS, "tps": 50, "check_images": False}
    async with serving(SandboxOptions(**settings | options)) as sandbox:
        sandbox.put("raw", "robin/1.jpg", b"picture")
        yield sandbox


async def findings(folder: Path, aws: Aws | None = None, **sections: Any) -> dict[str, Finding]:
    """The findings for a job by name; with ``aws`` those without a job."""
    job = None if aws is not None else jobs.make_bare_job(base_dir=folder, **{"actions": jobs.COPIES} | sections)
    found = await diagnose(job, aws)
    assert SECRET not in json.dumps(doctor_mapping(found), default=str)
    return {finding.name: finding for finding in found}


def left_in(folder: Path) -> list[Path]:
    """What is in a folder."""
    return list(folder.iterdir())


def troubles(found: Mapping[str, Finding]) -> set[str]:
    """The names of what is not well."""
    return {name for name, finding in found.items() if finding.health in {Health.ERROR, Health.WARNING}}


async def test_all_is_well(tmp_path: Path) -> None:
    """Every finding of a sound job is well, known and without a remedy; nothing was paid for, written or left."""
    async with sandbox_of(ai_opt_out=OptOut.OUT, check_images=True) as sandbox:
        found = await findings(tmp_path)
        stats = sandbox.stats().operations
        assert sandbox.keys("clean") == []
    assert troubles(found) == set()
    assert exit_code_of(found.values()) is ExitCode.OK
    assert {name for name, finding in found.items() if finding.health is not Health.OK} == {
        "tls"
    }  # the sandbox has none
    assert stats["DetectLabels"].billed_at_most == 0
    assert left_in(tmp_path) == []


async def test_each_finding_has_its_facts(tmp_path: Path) -> None:
    """What scripts read: account, region, endpoints, skew, quota, versions."""
    async with sandbox_of() as sandbox:
        found = await findings(tmp_path)
        url = sandbox.endpoint_url
    assert found["credentials"].facts["account"] == "123456789012"
    assert found["credentials"].facts["provider"] == "the environment variables"
    assert found["s3"].facts["url"] == found["sts"].facts["url"] == url
    assert found["s3"].facts["override"] == "AWS_ENDPOINT_URL"
    assert found["region"].facts["detector"] == "us-east-1"
    assert found["quota"].facts == {"tps": 50.0, "origin": "applied", "reason": None}
    assert abs(float(str(found["clock"].facts["skew_s"]))) < 2
    libraries: Any = found["program"].facts["libraries"]
    assert libraries["aiohttp"]


async def test_without_a_job_the_account_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a bucket nor a permission is asked for."""
    monkeypatch.chdir(tmp_path)
    async with sandbox_of() as sandbox:
        found = await findings(tmp_path, Aws())
        assert not {"ListObjectsV2", "SimulatePrincipalPolicy", "DetectLabels"} & set(sandbox.stats().operations)
    assert troubles(found) == set()
    assert "job" not in found


# -- Credentials -------------------------------------------------------------------------------------------------------


async def test_no_credentials(tmp_path: Path) -> None:
    """One error; the network is looked at all the same, and what needs keys is unknown."""
    async with sandbox_of():
        del os.environ["AWS_ACCESS_KEY_ID"]
        found = await findings(tmp_path)
    assert troubles(found) == {"credentials"}
    assert "AWS_ACCESS_KEY_ID" in (found["credentials"].hint or "")
    assert found["s3"].health is found["clock"].health is Health.OK
    assert found["quota"].health is found["permissions"].health is Health.UNKNOWN
    assert exit_code_of(found.values()) is ExitCode.ACCESS


async def test_expired_credentials(tmp_path: Path) -> None:
    """AWS's word on the keys is an error of theirs."""
    async with sandbox_of(verify_signatures=True, any_credentials=False):
        os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET
        found = await findings(tmp_path)
    assert "credentials" in troubles(found)
    assert "SignatureDoesNotMatch" in found["credentials"].text


async def test_keys_of_a_role_expire(tmp_path: Path) -> None:
    """The provider is named, and how long the keys are valid."""
    config = tmp_path / "config"
    config.write_text("[profile lab]\nrole_arn = arn:aws:iam::123456789012:role/lab\ncredential_source = Environment\n")
    async with sandbox_of(session_s=1800):
        os.environ["AWS_CONFIG_FILE"] = str(config)
        found = await findings(tmp_path, Aws(profile="lab"))
    assert found["credentials"].text.startswith("arn:aws:sts::123456789012:assumed-role/lab/sandbox, from the role of")
    assert "valid for 29 min" in found["credentials"].text or "valid for 30 min" in found["credentials"].text


async def test_a_profile_that_does_not_exist(tmp_path: Path) -> None:
    """Nothing else about AWS can be looked at then."""
    async with sandbox_of():
        found = await findings(tmp_path, Aws(profile="nowhere"))
    assert troubles(found) == {"credentials"}
    assert "nowhere" in found["credentials"].text
    assert "s3" not in found


# -- Network -----------------------------------------------------------------------------------------------------------


async def test_no_network(tmp_path: Path) -> None:
    """Each endpoint is named, and what depends on them is unknown, without a second complaint."""
    with aws_settings(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY=SECRET):
        os.environ["AWS_REGION"] = "us-east-1"
        found = await findings(tmp_path)
    assert troubles(found) == {"credentials", "s3", "rekognition", "service quotas", "sts"}
    assert found["service quotas"].health is found["sts"].health is Health.WARNING
    assert found["job"].health is found["quota"].health is found["clock"].health is Health.UNKNOWN
    assert exit_code_of(found.values()) is ExitCode.ACCESS


@pytest.mark.parametrize(("ahead_s", "health"), [(0, Health.OK), (90, Health.WARNING), (-400, Health.ERROR)])
async def test_the_clock(ahead_s: float, health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared with the Date header of the fastest answer."""
    skewed = SimpleNamespace(time=lambda: time.time() + ahead_s, perf_counter=time.perf_counter)
    async with sandbox_of():
        monkeypatch.setattr(network, "time", skewed)
        found = await findings(tmp_path, Aws())
    assert found["clock"].health is health
    assert float(str(found["clock"].facts["skew_s"])) == pytest.approx(ahead_s, abs=3)


async def test_an_unreadable_bundle_of_certificates(tmp_path: Path) -> None:
    """It is an error of TLS."""
    async with sandbox_of():
        os.environ["AWS_CA_BUNDLE"] = str(tmp_path / "none.pem")
        found = await findings(tmp_path, Aws())
    assert troubles(found) == {"tls"}
    assert "none.pem" in found["tls"].text


async def test_the_bundle_in_force_is_named(tmp_path: Path) -> None:
    """With the setting that names it."""
    bundle = tmp_path / "ours.pem"
    async with sandbox_of():
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            os.environ.pop(name, None)
        public = (await findings(tmp_path, Aws()))["tls"]
        shutil.copy(str(public.facts["bundle"]), bundle)
        os.environ["AWS_CA_BUNDLE"] = str(bundle)
        own = (await findings(tmp_path, Aws()))["tls"]
    assert (public.facts["setting"], own.facts["setting"]) == (None, "AWS_CA_BUNDLE")
    assert own.facts["bundle"] == str(bundle)


async def test_proxies_are_shown_without_their_passwords(tmp_path: Path) -> None:
    """The proxy of each service is named; contradictions are a warning."""
    async with sandbox_of():
        os.environ.pop("NO_PROXY", None)
        os.environ["no_proxy"] = "elsewhere"
        os.environ["HTTP_PROXY"] = f"http://me:{SECRET}@127.0.0.1:9"
        found = await findings(tmp_path, Aws())
        assert "127.0.0.1:9" in found["proxies"].text
        os.environ["http_proxy"] = "http://127.0.0.1:10"
        contradicting = await findings(tmp_path, Aws())
    assert found["proxies"].health is Health.NOTE
    assert contradicting["proxies"].health is Health.WARNING
    assert found["s3"].facts["proxy"] == "http://127.0.0.1:9"


# -- The account -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "health"),
    [
        (OptOut.OUT, Health.OK),
        (OptOut.IN, Health.NOTE),
        (OptOut.NO_POLICY, Health.NOTE),
        (OptOut.NO_ORGANIZATION, Health.NOTE),
    ],
)
async def test_the_opt_out(choice: OptOut, health: Health, tmp_path: Path) -> None:
    """Whether AWS may keep images is read from the organisation's policy."""
    async with sandbox_of(ai_opt_out=choice):
        found = await findings(tmp_path, Aws())
    assert found["ai opt-out"].health is health


async def test_an_opt_out_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    """The action to allow is named."""
    async with sandbox_of(deny=(DenyRule("DescribeEffectivePolicy"),)):
        found = await findings(tmp_path, Aws())
    assert found["ai opt-out"].health is Health.UNKNOWN
    assert "organizations:DescribeEffectivePolicy" in (found["ai opt-out"].hint or "")


async def test_a_quota_that_may_not_be_read_is_a_warning(tmp_path: Path) -> None:
    """Runs use the documented default then."""
    async with sandbox_of(deny=(DenyRule("Get*Quota*"),)):
        found = await findings(tmp_path, Aws())
    assert troubles(found) == {"quota"}
    assert "servicequotas:GetServiceQuota" in found["quota"].text + (found["quota"].hint or "")


# -- The job -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({"source": "s3://nowhere/"}, "does not exist"),
        ({"actions": {"keep": {"copy": "s3://nowhere/"}}}, "does not exist"),
        (
            {"detector": {"kind": "rekognition", "region": "eu-west-1"}},
            "Rekognition reads only buckets of its own region",
        ),
    ],
)
async def test_what_a_run_would_stop_at(sections: dict[str, Any], word: str, tmp_path: Path) -> None:
    """A job that cannot work is an error, as of its run."""
    async with sandbox_of():
        found = await findings(tmp_path, **sections)
    assert found["job"].health is Health.ERROR
    assert word in found["job"].text
    assert exit_code_of(found.values()) is ExitCode.ACCESS


async def test_a_model_that_does_not_run_is_a_warning(tmp_path: Path) -> None:
    """It is to be started before the run."""
    async with sandbox_of(model_status="STOPPED"):
        found = await findings(tmp_path, detector={"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN})
    assert troubles(found) == {"job"}
    assert "STOPPED" in found["job"].text


async def test_a_missing_permission(tmp_path: Path) -> None:
    """It is named, and the command that says more."""
    async with sandbox_of(deny=(DenyRule("CopyObject", "clean/*"),)):
        found = await findings(tmp_path)
    assert found["permissions"].health is Health.ERROR
    assert "s3:PutObject" in found["permissions"].text
    assert "policy" in (found["permissions"].hint or "")


async def test_a_folder_whose_target_bucket_does_not_exist(tmp_path: Path) -> None:
    """The targets of uploads are looked at, too."""
    (tmp_path / "photos").mkdir()
    sections: dict[str, Any] = {"source": "./photos", "actions": {"keep": {"copy": "s3://nowhere/{key}"}}}
    async with serving(SandboxOptions()):
        found = await findings(tmp_path, detector={"region": "us-east-1"}, **sections)
    assert found["job"].health is Health.ERROR
    assert "'nowhere' does not exist" in found["job"].text


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """Local jobs are looked at too; they need no S3."""
    async with sandbox_of():
        found = await findings(tmp_path, source=str(tmp_path / "none"), actions=None)
    assert found["job"].health is Health.ERROR
    assert "s3" not in found


# -- The place of the checkpoint ---------------------------------------------------------------------------------------


def checkpoint_of(path: Path) -> Finding:
    """The finding about a place."""
    return machine.checkpoint(path)


def test_a_sound_place_is_left_as_it_was(tmp_path: Path) -> None:
    """The trial works as a checkpoint does, in a folder that it removes."""
    finding = checkpoint_of(tmp_path / "deep" / "job.db")
    assert finding.health is Health.OK
    assert finding.facts["locks"] is True
    assert list(tmp_path.iterdir()) == []


async def test_a_checkpoint_in_use(tmp_path: Path) -> None:
    """Its content and its holder are named, and it is not disturbed."""
    async with sandbox_of():
        job = jobs.make_job(base_dir=tmp_path)
        await run(job)
        async with await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name):
            finding = checkpoint_of(job.checkpoint)
    assert "paid calls in it: 1" in finding.text
    assert f"held by process {os.getpid()}" in finding.text
    assert finding.facts["exists"] is True


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("not a checkpoint"),
        lambda path: path.mkdir(),
    ],
)
def test_a_file_that_is_no_checkpoint(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    """It is trouble with the checkpoint: exit code 3."""
    spoil(tmp_path / "job.db")
    finding = checkpoint_of(tmp_path / "job.db")
    assert finding.health is Health.ERROR
    assert exit_code_of([finding]) is ExitCode.CHECKPOINT


def test_a_place_in_a_file(tmp_path: Path) -> None:
    """A path through a file cannot be a place."""
    (tmp_path / "file").write_text("")
    with suppress(CheckpointError):
        try_place(tmp_path / "file" / "job.db")
    assert checkpoint_of(tmp_path / "file" / "job.db").health is Health.ERROR


def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's log needs a local disk."""
    monkeypatch.setattr(place_trial, "read_mounts", lambda: [Mount("0:40", "/", "/", "nfs4")])
    finding = checkpoint_of(tmp_path / "job.db")
    assert (finding.health, finding.facts["file_system"]) == (Health.WARNING, "nfs4")


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_a_file_system_that_does_not_last(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was paid for is gone with the memory or the container; that is worth a word."""
    monkeypatch.setattr(place_trial, "read_mounts", lambda: [Mount("0:40", "/", "/", kind)])
    monkeypatch.setattr(place_trial, "_commit_s", lambda _path: 0.001)  # that of a busy disk is worth a warning
    finding = checkpoint_of(tmp_path / "job.db")
    assert (finding.health, finding.facts["file_system"]) == (Health.NOTE, kind)
    assert finding.hint is not None
    assert "gone with" in finding.hint


def test_locks_that_keep_nobody_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs would pay twice."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    finding = checkpoint_of(tmp_path / "job.db")
    assert (finding.health, finding.code) == (Health.ERROR, ExitCode.CHECKPOINT)


@pytest.mark.parametrize(("free_bytes", "health"), [(10_000_000, Health.ERROR), (200_000_000, Health.WARNING)])
def test_a_full_disk(free_bytes: int, health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space runs out before the money."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_bytes, f_frsize=1))
    assert checkpoint_of(tmp_path / "job.db").health is health


def test_access_comes_before_other_trouble() -> None:
    """The exit code of several troubles."""
    place = Finding(name="checkpoint", health=Health.ERROR, text="", code=ExitCode.CHECKPOINT)
    access = Finding(name="credentials", health=Health.ERROR, text="")
    warning = Finding(name="clock", health=Health.WARNING, text="")
    assert exit_code_of([warning]) is ExitCode.OK
    assert exit_code_of([place, warning]) is ExitCode.CHECKPOINT
    assert exit_code_of([place, access]) is ExitCode.ACCESS


def test_a_checkout_without_installation_has_versions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """``make demo`` installs what asyncfilter requires, and runs the program from its folder."""

    def not_installed(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "requires", not_installed)
    found = machine.program()
    assert found.health is Health.OK
    assert f"asyncfilter {__version__}, " in found.text
    assert all(f"'{name}'" in str(found.facts["libraries"]) for name in ("aiobotocore", "pydantic"))


async def test_a_state_in_s3(tmp_path: Path) -> None:
    """One to be made, a whole one, and one that lacks an object."""
    place = StatePlace("states", "jobs/", "robins")
    async with sandbox_of(buckets=(*BUCKETS, BucketSpec("states"))) as sandbox:
        job: dict[str, Any] = {"checkpoint": "s3://states/jobs/"}
        assert (await findings(tmp_path, **job))["state"].text.startswith("a state to be made")
        made = HandMade(MemoryStateStore(), tmp_path / "origin", place)
        made.commit_snapshot()
        made.write_head(owner=SOMEBODY)
        for where, stored in made.store.objects.items():
            sandbox.put(where.bucket, where.key, stored.body)
        found = (await findings(tmp_path, **job))["state"]
        assert (found.health, found.facts["held"]) == (Health.NOTE, True)
        assert made.head.snapshot is not None
        sandbox.bucket("states").delete(made.head.snapshot.key)
        found = (await findings(tmp_path, **job))["state"]
    assert (found.health, found.code) == (Health.ERROR, ExitCode.CHECKPOINT)
    assert made.head.snapshot.key in found.text
