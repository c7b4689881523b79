"""Targets are checked before the first paid call: that they exist, where they are, and that they can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from asyncfilter import Job, plan, refilter, run
from asyncfilter.errors import AccessError, BucketNotFoundError, ExitCode, PermissionDeniedError
from asyncfilter.folders.sink import UnlinkableError
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from tests.kit import jobs, pictures
from tests.kit.services import boto_client, serving

make_job = partial(
    jobs.make_bare_job, limits={"tps": 200}, rules=[{"keep": {"none": "Submarine"}}], actions=jobs.COPIES
)


@asynccontextmanager
async def sandbox_with(*deny: DenyRule, **options: Any) -> AsyncIterator[Sandbox]:
    """Five images in ``raw``, and the buckets ``clean`` and, in another region, ``far``."""
    buckets = (BucketSpec("raw"), BucketSpec("clean"), BucketSpec("far", "eu-west-1"))
    made = SandboxOptions(buckets=buckets, check_images=False, deny=deny, **options)
    async with serving(made) as sandbox:
        for number in range(5):
            sandbox.put("raw", f"robin/{number}.jpg", b"picture %d" % number)
        yield sandbox


def called(sandbox: Sandbox) -> set[str]:
    """The operations that were called."""
    return set(sandbox.stats().operations)


def versions(sandbox: Sandbox, bucket: str) -> list[str]:
    """Keys of all versions and delete markers."""
    with boto_client(sandbox, "s3") as s3:
        found = s3.list_object_versions(Bucket=bucket)
    return [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ())]


@pytest.mark.parametrize("verdict", ["keep", "review", "reject", "duplicate"])
@pytest.mark.parametrize("verb", [plan, run])
async def test_a_bucket_that_does_not_exist_ends_it(verb: Any, verdict: str, tmp_path: Path) -> None:
    """Exit code 4 before anything is paid, whatever action names the bucket."""
    job = make_job(base_dir=tmp_path, actions={verdict: {"copy": "s3://claen-images/{key}"}})
    async with sandbox_with() as sandbox:
        with pytest.raises(BucketNotFoundError, match="'claen-images' does not exist") as missing:
            await verb(job)
        assert "DetectLabels" not in called(sandbox)
    assert missing.value.exit_code == ExitCode.ACCESS
    assert not job.checkpoint.exists()


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
@pytest.mark.parametrize("verb", [plan, run])
async def test_a_target_that_cannot_be_written_ends_it(verb: Any, client: str, tmp_path: Path) -> None:
    """With check_targets: write, a denied write is told before anything is paid, with the action."""
    job = make_job(base_dir=tmp_path, check_targets="write", aws={"client": client})
    async with sandbox_with(DenyRule("PutObject", "clean/*")) as sandbox:
        with pytest.raises(PermissionDeniedError, match=r"actions\.keep: the target cannot be written") as denied:
            await verb(job)
        assert "DetectLabels" not in called(sandbox)
        assert sandbox.keys("clean") == []
    assert "s3:PutObject" in (denied.value.hint or "")


@pytest.mark.parametrize("versioning", [None, "Enabled"])
async def test_what_is_written_for_the_check_is_taken_away(versioning: str | None, tmp_path: Path) -> None:
    """Nothing is left of it, no version and no delete marker either; it is below the target's own prefix."""
    job = make_job(base_dir=tmp_path, check_targets="write", actions={"keep": {"copy": "s3://clean/a/{name}/{key}"}})
    async with sandbox_with(DenyRule("PutObject", "clean/[!a]*")) as sandbox:
        if versioning is not None:
            sandbox.bucket("clean").versioning = versioning
        found = await plan(job)
        assert {"PutObject", "DeleteObject"} <= called(sandbox)
        assert "DetectLabels" not in called(sandbox)
        assert await anyio.to_thread.run_sync(versions, sandbox, "clean") == []
        summary = await run(job)
        assert sandbox.keys("clean") == [f"a/robins/robin/{number}.jpg" for number in range(5)]
    assert (found.cautions, summary.cautions, summary.counts.copied) == ((), (), 5)


async def test_what_cannot_be_taken_away_is_told(tmp_path: Path) -> None:
    """The run goes on, and the caution names what was left."""
    job = make_job(base_dir=tmp_path, check_targets="write")
    async with sandbox_with(DenyRule("DeleteObject")) as sandbox:
        summary = await run(job)
        (left,) = [key for key in sandbox.keys("clean") if not key.startswith("robin/")]
    assert summary.exit_code == ExitCode.OK
    assert f"s3://clean/{left}" in summary.cautions[0]


@pytest.mark.parametrize("check", ["exists", "policy", None])
async def test_without_leave_nothing_is_written(check: str | None, tmp_path: Path) -> None:
    """The default writes nothing for the check."""
    job = make_job(base_dir=tmp_path, check_targets=check)
    async with sandbox_with() as sandbox:
        await plan(job)
        await run(job)
        assert not {"PutObject", "DeleteObject"} & called(sandbox)


async def test_a_dry_run_never_writes(tmp_path: Path) -> None:
    """Neither a dry run, nor a sample, nor a dry refilter writes for the check."""
    job = make_job(base_dir=tmp_path, check_targets="write")
    async with sandbox_with() as sandbox:
        await run(job, dry_run=True)
        await refilter(job, dry_run=True)
        assert not {"PutObject", "DeleteObject"} & called(sandbox)
        await plan(job, sample=2)
        assert sandbox.stats().operations["PutObject"].attempts == 1


async def test_copies_to_another_region_are_told(tmp_path: Path) -> None:
    """Their transfer is billed."""
    job = make_job(base_dir=tmp_path, actions={"keep": {"copy": "s3://far/{key}"}})
    async with sandbox_with():
        found, summary = await plan(job), await run(job)
    assert found.cautions == summary.cautions
    assert "actions.keep: far is in eu-west-1, the source in us-east-1" in summary.cautions[0]


async def test_one_call_at_a_time_is_told(tmp_path: Path) -> None:
    """Fewer calls in flight than the rate needs at the latency of the service."""
    job = make_job(base_dir=tmp_path, limits={"tps": 200, "concurrency": 2})
    async with sandbox_with():
        found, summary = await plan(job), await run(job)
    assert found.cautions == summary.cautions
    assert "limits.concurrency: 2 is too low for 200 calls a second" in summary.cautions[0]


READS = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "rekognition:*", "servicequotas:*"], "Resource": "*"}
ASKS = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    """An identity policy of the caller."""
    return {"Version": "2012-10-17", "Statement": [READS, *statements]}


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        ([ASKS], "no policy of the caller allows it; that of the bucket may"),
        (
            [
                ASKS,
                {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
                {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::clean/*"},
            ],
            "a policy denies it to the caller",
        ),
    ],
)
async def test_what_iam_denies_is_told(statements: list[dict[str, Any]], why: str, tmp_path: Path) -> None:
    """A simulation knows no bucket policy, so that its answer is a caution; it comes before the first paid call."""
    job = make_job(base_dir=tmp_path)
    async with sandbox_with() as sandbox:
        sandbox.set_policy(policy(*statements))
        found = await plan(job)
        assert "DetectLabels" not in called(sandbox)
        summary = await run(job)
    assert found.cautions == summary.cautions
    (caution,) = found.cautions
    assert "s3:PutObject on arn:aws:s3:::clean/* is denied by IAM" in caution
    assert why in caution
    assert summary.exit_code == ExitCode.ACCESS


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [ASKS, {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::clean/*"}],
    ],
)
async def test_nothing_is_told_of_what_is_allowed_or_not_known(
    statements: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Neither a caller who may not ask IAM, nor one who may write, gets a caution."""
    async with sandbox_with() as sandbox:
        sandbox.set_policy(policy(*statements))
        assert (await plan(make_job(base_dir=tmp_path))).cautions == ()


async def test_removals_are_asked_for_too(tmp_path: Path) -> None:
    """What only ``apply`` needs is told before the images are paid for."""
    job = make_job(base_dir=tmp_path, actions={"keep": {"move": "s3://clean/{key}"}})
    async with sandbox_with() as sandbox:
        sandbox.set_policy(policy(ASKS, {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}))
        (caution,) = (await plan(job)).cautions
    assert "s3:DeleteObject on arn:aws:s3:::raw/* is denied by IAM" in caution


@pytest.mark.parametrize("check", ["exists", "write"])
async def test_iam_is_asked_only_by_policy(check: str, tmp_path: Path) -> None:
    """No other value asks it."""
    async with sandbox_with() as sandbox:
        await plan(make_job(base_dir=tmp_path, check_targets=check))
        assert not {"GetCallerIdentity", "SimulatePrincipalPolicy"} & called(sandbox)


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
async def test_at_aws_a_copy_that_cannot_be_made_shows_a_denial(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its condition never holds: a denied write ends the command before anything is paid, and nothing is written."""
    monkeypatch.setattr("asyncfilter.aws.session._AWS_HOSTS", ("127.0.0.1",))
    job = make_job(base_dir=tmp_path, aws={"client": client})
    async with sandbox_with() as sandbox:
        allowed = await plan(job)
        assert sandbox.stats().operations["CopyObject"].errors == {"PreconditionFailed": 1}
        assert "SimulatePrincipalPolicy" not in called(sandbox)  # the copy has shown it
        sandbox.set_policy(policy())
        for verb in (plan, run):
            with pytest.raises(PermissionDeniedError, match=r"actions\.keep: the target cannot be written"):
                await verb(job)
        assert "DetectLabels" not in called(sandbox)
        assert sandbox.keys("clean") == []
    assert allowed.cautions == ()


# -- Folders -----------------------------------------------------------------------------------------------------------


def folder_job(folder: Path, target: str, form: str = "copy", **sections: Any) -> Job:
    """A job over the pictures in ``photos``."""
    (folder / "photos").mkdir(exist_ok=True)
    (folder / "photos" / "1.png").write_bytes(pictures.plain("PNG"))
    return make_job(base_dir=folder, source="./photos", actions={"keep": {form: target}}, **sections)


async def refused(job: Job, error: type[AccessError], match: str) -> None:
    """Plan and run raise before the first call."""
    async with sandbox_with() as sandbox:
        for verb in (plan, run):
            with pytest.raises(error, match=match) as found:
                await verb(job)
            assert found.value.exit_code == ExitCode.ACCESS
        assert "DetectLabels" not in called(sandbox)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_ends_it(tmp_path: Path) -> None:
    """The nearest folder that exists counts: the others would be made in it."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    await refused(folder_job(tmp_path, "./locked/deep/{key}"), PermissionDeniedError, "locked may not be written")


async def test_a_file_in_place_of_a_folder_ends_it(tmp_path: Path) -> None:
    """Nothing can be written below it."""
    (tmp_path / "taken").write_bytes(b"")
    await refused(folder_job(tmp_path, "./taken/below/{key}"), AccessError, "taken is no folder")


OTHER = Path("/dev/shm")


@pytest.mark.skipif(
    not OTHER.is_dir() or OTHER.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="there is no second file system",
)
async def test_a_link_to_another_file_system_ends_it(tmp_path: Path) -> None:
    """No hard link leads there; a copy does."""
    job = folder_job(tmp_path, f"{OTHER}/asyncfilter-{os.getpid()}/{{key}}", "link")
    await refused(job, UnlinkableError, "is on another file system")


async def test_a_folder_is_tried_where_the_job_allows_it(tmp_path: Path) -> None:
    """Nothing is left in it, and the folders of the target are not made before the first copy."""
    target = tmp_path / "kept"
    target.mkdir()
    job = folder_job(tmp_path, "./kept/deep/{key}", check_targets="write")
    async with sandbox_with():
        await plan(job)
        assert list(target.iterdir()) == []
        summary = await run(job)
    assert [path.name for path in target.rglob("*.*")] == ["1.png"]
    assert summary.cautions == ()


# -- The other kind of store -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [plan, run])
async def test_a_folder_s_targets_in_s3_are_checked(verb: Any, tmp_path: Path) -> None:
    """A bucket that does not exist, or where the job allows a try may not be written, ends it before a call."""
    missing = folder_job(tmp_path, "s3://claen-images/{key}", detector={"region": "us-east-1"})
    denied = folder_job(tmp_path, "s3://clean/{key}", detector={"region": "us-east-1"}, check_targets="write")
    async with sandbox_with(DenyRule("PutObject", "clean/*")) as sandbox:
        with pytest.raises(BucketNotFoundError, match="'claen-images' does not exist"):
            await verb(missing)
        with pytest.raises(PermissionDeniedError, match=r"actions\.keep: the target cannot be written"):
            await verb(denied)
        assert "DetectLabels" not in called(sandbox)


async def test_a_bucket_in_any_region_is_a_target_of_a_folder(tmp_path: Path) -> None:
    """Nothing is said about regions: each upload costs the same."""
    job = folder_job(tmp_path, "s3://far/{key}", detector={"region": "us-east-1"}, convert=False)
    async with sandbox_with() as sandbox:
        summary = await run(job)
        assert sandbox.keys("far") == ["1.png"]
    assert (summary.cautions, summary.counts.copied) == ((), 1)


@pytest.mark.parametrize("verb", [plan, run])
async def test_a_bucket_s_targets_in_a_folder_are_checked(verb: Any, tmp_path: Path) -> None:
    """A file in place of the folder ends it before a call."""
    (tmp_path / "taken").write_bytes(b"")
    job = make_job(base_dir=tmp_path, actions={"keep": {"copy": "./taken/{key}"}})
    async with sandbox_with() as sandbox:
        with pytest.raises(AccessError, match="taken is no folder"):
            await verb(job)
        assert "DetectLabels" not in called(sandbox)


async def test_iam_is_asked_about_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is tried, at AWS neither: a denial by IAM is a caution before anything is paid."""
    monkeypatch.setattr("asyncfilter.aws.session._AWS_HOSTS", ("127.0.0.1",))
    job = folder_job(tmp_path, "s3://clean/{key}", detector={"region": "us-east-1"})
    async with sandbox_with() as sandbox:
        assert (await plan(job)).cautions == ()
        sandbox.set_policy(policy(ASKS))
        (caution,) = (await plan(job)).cautions
        assert not {"CopyObject", "PutObject", "GetObject"} & called(sandbox)
    assert "s3:PutObject on arn:aws:s3:::clean/* is denied by IAM" in caution
