"""``policy --check`` says what a caller lacks: by harmless requests, by IAM's simulation, and what cannot be known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.aws import open_aws
from asyncfilter.aws.access.identity import Caller, identify, policy_sources
from asyncfilter.errors import AccessError
from asyncfilter.job.spec import Aws
from asyncfilter.policy.permissions import (
    Access,
    AccessReport,
    BucketFacts,
    CheckMethod,
    Command,
    commands_of,
    needs_of,
    policy_document,
)
from asyncfilter.sandbox import BucketSpec, DenyRule, Quirk, Sandbox, SandboxOptions
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from asyncfilter.wiring.access import check_permissions
from tests.kit import jobs
from tests.kit.services import serving

BUCKETS = tuple(map(BucketSpec, ("raw", "clean", "quarantine", "states")))
NO_SIMULATION = DenyRule("SimulatePrincipalPolicy")
ACTIONS = {"keep": {"copy": "s3://clean/{key}"}, "reject": {"move": "s3://quarantine/{key}"}}
RUN = (Command.RUN,)


async def check(
    *deny: DenyRule,
    commands: tuple[Command, ...] = RUN,
    policy: Mapping[str, Any] | None = None,
    keys: tuple[str, ...] = ("birds/robin/1.jpg",),
    tries_writes: bool = True,
    sections: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[AccessReport, Sandbox]:
    """Check a job over a sandbox; the report, and the closed sandbox."""
    job = jobs.make_bare_job(**{"source": "s3://raw/birds/", "actions": ACTIONS} | dict(sections or {}))
    settings: dict[str, Any] = {"buckets": BUCKETS, "deny": deny, "access_log": True}
    async with serving(SandboxOptions(**settings | options)) as sandbox:
        for key in keys:
            sandbox.put("raw", key, b"picture")
        sandbox.set_policy(policy)
        report = await check_permissions(job, commands, BucketFacts(), tries_writes=tries_writes)
    return report, sandbox


def actions(report: AccessReport, access: Access) -> set[str]:
    """The actions with this access."""
    return {result.need.action for result in report.of(access)}


async def test_a_caller_who_may_do_everything_lacks_nothing() -> None:
    """Every permission of every command is allowed, and nothing was written, detected or left anywhere."""
    report, sandbox = await check(commands=commands_of(jobs.make_bare_job(source="s3://raw/birds/", actions=ACTIONS)))
    assert report.is_ok
    assert actions(report, Access.ALLOWED) == {result.need.action for result in report.results}
    assert sandbox.keys("clean") == sandbox.keys("quarantine") == []
    assert sandbox.stats().operations["DetectLabels"].billed == 0
    assert "PutObject" not in sandbox.stats().operations


async def test_what_a_request_shows_needs_no_simulation() -> None:
    """Without the permission to ask IAM, reads, detections and copies are tried; the rest is called unknown."""
    report, sandbox = await check(NO_SIMULATION)
    assert report.is_ok
    assert "SimulatePrincipalPolicy" in report.simulation
    assert actions(report, Access.UNKNOWN) == {"s3:PutObjectTagging"}
    assert {result.how for result in report.of(Access.ALLOWED)} == {CheckMethod.TRIED}
    assert sandbox.keys("clean") == []


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("ListObjectsV2@raw/*", "s3:ListBucket"),
        ("GetObject@raw/*", "s3:GetObject"),
        ("CopyObject@clean/*", "s3:PutObject"),
        ("DetectLabels", "rekognition:DetectLabels"),
        ("GetObjectTagging", "s3:GetObjectTagging"),
    ],
)
@pytest.mark.parametrize("simulates", [True, False])
async def test_what_is_denied_is_missing(operation: str, action: str, *, simulates: bool) -> None:
    """Each denied operation is named by its action, with and without IAM's word."""
    name, _, glob = operation.partition("@")
    rules = [DenyRule(name, glob or "*"), *([] if simulates else [NO_SIMULATION])]
    report, _ = await check(*rules)
    assert actions(report, Access.MISSING) == {action}
    assert report.is_ok == (action == "s3:GetObjectTagging")  # copies of objects without tags do without it


async def test_a_quota_that_cannot_be_read_is_missing_and_not_required() -> None:
    """The run uses the documented default then."""
    report, _ = await check(DenyRule("GetServiceQuota"))
    assert actions(report, Access.MISSING) == {"servicequotas:GetServiceQuota"}
    assert report.is_ok


async def test_writes_that_no_request_shows_are_simulated() -> None:
    """Deletes and tags are never tried."""
    report, sandbox = await check(DenyRule("DeleteObject", "raw/*"), commands=(Command.APPLY,))
    (missing,) = report.of(Access.MISSING)
    assert (missing.need.action, missing.how) == ("s3:DeleteObject", CheckMethod.SIMULATED)
    assert "explicitDeny" not in missing.detail
    assert sandbox.keys("raw") == ["birds/robin/1.jpg"]
    assert not {"DeleteObject", "DeleteObjects", "PutObjectTagging"} & set(sandbox.stats().operations)


async def test_actions_without_a_resource_are_simulated_too() -> None:
    """Those of ``doctor`` and of the check itself."""
    report, _ = await check(commands=(Command.DOCTOR, Command.CHECK))
    simulated = {result.need.action for result in report.results if result.how is CheckMethod.SIMULATED}
    assert simulated == {"organizations:DescribeEffectivePolicy", "iam:SimulatePrincipalPolicy", "iam:GetRole"}
    assert not report.of(Access.UNKNOWN)


async def test_a_store_that_may_ignore_conditions_is_not_written_to() -> None:
    """Unless asked for, a copy is tried at AWS alone."""
    report, sandbox = await check(NO_SIMULATION, tries_writes=False)
    (unknown,) = [result for result in report.of(Access.UNKNOWN) if result.need.action == "s3:PutObject"]
    assert "may ignore conditions" in unknown.detail
    assert "CopyObject" not in sandbox.stats().operations


async def test_a_store_that_ignores_conditions_is_reported() -> None:
    """With --try-writes the copy that such a store makes is named."""
    report, sandbox = await check(NO_SIMULATION, quirks=(Quirk.IGNORE_CONDITIONS,))
    (result,) = [result for result in report.results if result.need.action == "s3:PutObject"]
    assert "s3://clean/birds/asyncfilter-check" in result.detail
    assert sandbox.keys("clean") == ["birds/asyncfilter-check"]


async def test_an_empty_source_leaves_unknown_what_needs_an_image() -> None:
    """Nothing can be read or copied there."""
    report, _ = await check(NO_SIMULATION, keys=())
    assert {"s3:GetObject", "s3:PutObject"} <= actions(report, Access.UNKNOWN)
    assert report.is_ok


async def test_a_missing_target_bucket_is_missing() -> None:
    """Also when the caller may do everything."""
    report, _ = await check(buckets=BUCKETS[:1])
    assert actions(report, Access.MISSING) == {"s3:PutObject"}
    assert "does not exist" in report.of(Access.MISSING)[0].detail


async def test_a_key_of_kms_shows_when_an_image_is_read() -> None:
    """``kms:Decrypt`` is missing although the job does not say that images are encrypted."""
    report, _ = await check(NO_SIMULATION, kms_denied=("raw/*",))
    (missing,) = report.of(Access.MISSING)
    assert missing.need.action == "kms:Decrypt"
    assert missing.commands == RUN
    assert not report.is_ok


async def test_requester_pays_is_named() -> None:
    """Rekognition cannot read such a bucket, so no permission helps."""
    report, _ = await check(NO_SIMULATION, quirks=(Quirk.REQUESTER_PAYS,))
    (listing,) = [result for result in report.results if result.need.statement == "ListSource"]
    assert listing.access is Access.MISSING
    assert "Requester Pays" in listing.detail


async def test_a_model_that_is_not_running_is_no_missing_permission() -> None:
    """The service answers so only to who may ask."""
    detector = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}
    report, _ = await check(sections={"detector": detector}, model_status="STOPPED")
    assert report.is_ok
    assert "rekognition:DetectCustomLabels" in actions(report, Access.ALLOWED)


@pytest.mark.parametrize("versions", [True, False])
async def test_only_what_the_bucket_needs_is_checked(*, versions: bool) -> None:
    """Whether the source keeps versions is read from it, so that its kind of tagging is asked for alone."""
    job = jobs.make_bare_job(source="s3://raw/birds/", actions={"keep": {"tag": {"a": "b"}}})
    async with serving(SandboxOptions(buckets=BUCKETS)) as sandbox:
        sandbox.bucket("raw").versioning = "Enabled" if versions else None
        sandbox.put("raw", "birds/robin/1.jpg", b"picture")
        report = await check_permissions(job, RUN, BucketFacts())
    assert ("s3:PutObjectVersionTagging" in actions(report, Access.ALLOWED)) is versions
    assert ("s3:PutObjectTagging" in actions(report, Access.ALLOWED)) is not versions


async def test_the_printed_policy_passes_its_own_check() -> None:
    """A caller with the policy of a command lacks nothing for it; with less, exactly that is missing."""
    job = jobs.make_bare_job(source="s3://raw/birds/", actions=ACTIONS)
    needs = needs_of(job, RUN, BucketFacts())
    ask = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
    for left_out in (None, *needs):
        document = policy_document(need for need in needs if need != left_out)
        policy = {**document, "Statement": [*document["Statement"], ask]}
        report, _ = await check(policy=json.loads(json.dumps(policy)))
        assert actions(report, Access.MISSING) == ({left_out.action} if left_out else set())


async def test_a_role_is_simulated_by_its_own_arn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a role is not in the ARN of its session: IAM tells it, or the usual ones are tried."""
    role = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_12"
    async with serving(SandboxOptions(deny=())) as sandbox:
        config = tmp_path / "config"
        config.write_text(f"[profile dev]\nrole_arn = {role}\ncredential_source = Environment\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        async with open_aws(Aws(profile="dev"), timeout_s=5, connections=4) as session:
            caller = await identify(session)
            assert caller.arn == "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_12/sandbox"
            assert await policy_sources(session, caller) == [role]
        assert sandbox.stats().operations["GetRole"].attempts == 1
    async with serving(SandboxOptions(deny=(DenyRule("GetRole"),))):
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        async with open_aws(Aws(profile="dev"), timeout_s=5, connections=4) as session:
            assert role in await policy_sources(session, await identify(session))


async def test_the_root_user_has_no_policies_to_simulate() -> None:
    """The message says so."""
    async with serving(SandboxOptions()), open_aws(Aws(), timeout_s=5, connections=4) as session:
        with pytest.raises(AccessError, match="root user"):
            await policy_sources(session, Caller(arn="arn:aws:iam::123456789012:root", account="123456789012"))


@pytest.mark.parametrize(
    ("deny", "missing"),
    [
        ((), set()),
        ((DenyRule("GetObject", "raw/jobs/*"),), {"s3:GetObject"}),
        ((DenyRule("ListObjectsV2", "raw/*"),), {"s3:ListBucket"}),
    ],
)
async def test_the_permissions_of_a_state_are_tried(deny: tuple[DenyRule, ...], missing: set[str]) -> None:
    """Reading and listing."""
    sections = {"checkpoint": "s3://raw/jobs/"}
    keys = ("birds/robin/1.jpg", "jobs/robins.state/head.json")
    report, _ = await check(*deny, NO_SIMULATION, commands=(Command.STATUS,), sections=sections, keys=keys)
    assert actions(report, Access.MISSING) == missing


async def test_a_state_that_was_never_made_is_not_forbidden() -> None:
    """Who may list its prefix alone is told that its head is forbidden."""
    job = jobs.make_bare_job(source="s3://raw/birds/", actions=ACTIONS, checkpoint="s3://states/jobs/")
    policy = policy_document(needs_of(job, [Command.STATUS], BucketFacts()))
    report, _ = await check(commands=(Command.STATUS,), policy=policy, sections={"checkpoint": "s3://states/jobs/"})
    assert report.is_ok
    assert actions(report, Access.ALLOWED) >= {"s3:ListBucket"}
    assert actions(report, Access.MISSING) == set()
