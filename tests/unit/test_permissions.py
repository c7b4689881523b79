"""IAM policies of jobs: ARNs, statements, which command needs what, and the policies of Custom Labels."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job import parse_job
from asyncfilter.policy.permissions import (
    BucketFacts,
    Command,
    Need,
    bucket_policy,
    caller_policy,
    commands_of,
    documentation,
    granting,
    images_bucket,
    lane_needs,
    lanes_bucket_policy,
    needs_of,
    partition_of,
    policy_document,
)
from asyncfilter.policy.permissions.arns import covers, literal, sample
from asyncfilter.sandbox.iam.documents import Decision, IdentityPolicy, Permission, matches
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.jobs import make_bare_job
from website.commands import entries

WRITABLE = re.compile(r"[\t\n\r -ÿ]*")
"""Characters of a policy document (IAM API reference, *CreatePolicy*)."""

REMOVALS = {"keep": {"copy": "s3://clean/"}, "review": {"move": "s3://quarantine/"}, "reject": "delete"}


def document(*commands: Command, facts: BucketFacts | None = None, **sections: Any) -> dict[str, Any]:
    """The policy of some commands of a job, as JSON has it."""
    job = make_bare_job(**sections)
    made: dict[str, Any] = json.loads(json.dumps(policy_document(needs_of(job, commands, facts or BucketFacts()))))
    return made


def statements(*commands: Command, facts: BucketFacts | None = None, **sections: Any) -> dict[str, dict[str, Any]]:
    """The statements by name."""
    return {one["Sid"]: one for one in document(*commands, facts=facts, **sections)["Statement"]}


def actions(*commands: Command, facts: BucketFacts | None = None, **sections: Any) -> set[str]:
    """All actions of a policy."""
    found: set[str] = set()
    for one in document(*commands, facts=facts, **sections)["Statement"]:
        found |= {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"])
    return found


# -- ARNs --------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_a_pattern_matches_its_text_and_can_be_written(text: str) -> None:
    """Whatever a key has; what a policy cannot hold is a wildcard, and nothing else is."""
    pattern = literal(text)
    assert matches(pattern, text)
    assert WRITABLE.fullmatch(pattern)
    if WRITABLE.fullmatch(text):
        assert not matches(pattern, f"{text}x")
        assert sample(pattern) == text


@given(st.text(alphabet="ab*?$/é🐦"), st.text(alphabet="ab*?$/é🐦"))
def test_patterns_of_different_texts_differ(one: str, other: str) -> None:
    """No two texts that a policy can hold share a pattern; ``*`` and ``?`` in a key are no wildcards."""
    if WRITABLE.fullmatch(one) and one != other:
        assert not matches(literal(one), other)


def test_what_covers_what() -> None:
    """Only what is certain."""
    assert covers("a/*", "a/b/*")
    assert covers("a", "a")
    assert not covers("a/b", "a/*")
    assert not covers("a/*/c*", "a/b/cd")


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), (None, "aws")],
)
def test_the_partition_of_a_region(region: str | None, partition: str) -> None:
    """ARNs begin with it."""
    assert partition_of(region) == partition
    found = document(Command.RUN, facts=BucketFacts(partition=partition), actions=REMOVALS)
    arns = re.findall(r'"(arn:[^"]*)"', json.dumps(found))
    assert arns
    assert {arn.split(":")[1] for arn in arns} == {partition}


# -- Statements --------------------------------------------------------------------------------------------------------


def test_the_policy_of_the_readme_is_as_small_as_it_can_be() -> None:
    """Listing of one prefix, reading below it, writing below the targets, one detection, the quota."""
    found = statements(
        Command.RUN, source="s3://raw-images/birds/", actions={"keep": {"copy": "s3://clean-images/robin/{key}"}}
    )
    assert found["ListSource"] == {
        "Sid": "ListSource",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::raw-images",
        "Condition": {"StringLike": {"s3:prefix": "birds/"}},
    }
    assert found["ReadSource"]["Resource"] == "arn:aws:s3:::raw-images/birds/*"
    assert found["WriteTargets"]["Resource"] == "arn:aws:s3:::clean-images/robin/birds/*"
    assert (found["Detect"]["Action"], found["Detect"]["Resource"]) == ("rekognition:DetectLabels", "*")
    assert set(found) == {
        "ListSource", "ReadQuota", "Detect", "ReadSource", "WriteTargets", "ReadTagsToCopy", "WriteTagsToCopy"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "resource"),
    [
        ("s3://ccc/{name}/{label}/{key}", "ccc/robins/*/birds/*"),
        ("s3://ccc/{relative}", "ccc/*"),
        ("s3://ccc/{stem}.{ext}", "ccc/*.*"),
        ("s3://ccc/a*b/{basename}", "ccc/a${*}b/*"),
        ("s3://ccc/x/", "ccc/x/birds/*"),
    ],
)
def test_targets_are_as_narrow_as_their_templates(target: str, resource: str) -> None:
    """Placeholders whose value is known are written out, the others are wildcards."""
    rules = [{"keep": {"any": "Robin"}}]
    found = statements(Command.RUN, source="s3://raw/birds/", rules=rules, actions={"keep": {"copy": target}})
    assert found["WriteTargets"]["Resource"] == f"arn:aws:s3:::{resource}"


OF_OTHER_PLACES = {
    "config check",
    "demo",
    "manifest convert",
    "manifest from-csv",
    "manifest merge",
    "manifest stats",
    "model permissions",
    "sandbox",
    "schema",
}
"""Commands that use no account, or only for files that no job has."""


def test_every_command_that_may_use_an_account_has_its_needs() -> None:
    """A new command gets a row, or is named above."""
    names = set(entries())
    rows = {name for name in names if any(f"{one} ".startswith(f"{name} ") for one in Command)}
    assert names - rows == OF_OTHER_PLACES


def test_what_reads_answers_in_s3_and_what_commits_them() -> None:
    """All of them fetch the state; two own that of the answers, and none that of the checkpoint."""
    owning = {Command.ANSWERS_IMPORT, Command.CALIBRATE}
    reading = {Command.ANSWERS_SET, Command.ANSWERS_LIST, Command.ANSWERS_MERGE, Command.ANSWERS_EXPORT, Command.AUDIT}
    for command in owning | reading:
        assert actions(command) == set()
        found = statements(command, checkpoint="s3://states/jobs/")
        assert found["ReadState"]["Action"] == "s3:GetObject"
        assert ("WriteState" in found) == (command in owning)
    written = statements(Command.CALIBRATE, checkpoint="s3://states/jobs/")["WriteState"]
    assert written["Resource"] == "arn:aws:s3:::states/jobs/robins.answers/*"
    assert set(written["Action"]) == {"s3:PutObject", "s3:DeleteObject"}


def test_what_a_wider_statement_grants_is_not_repeated() -> None:
    """The listing without a condition, which ``apply`` needs, takes the place of the one with it."""
    together = document(Command.RUN, Command.APPLY, source="s3://raw/birds/", actions=REMOVALS)["Statement"]
    listing = [one for one in together if one["Action"] == "s3:ListBucket" and "raw" in one["Resource"]]
    assert [one["Sid"] for one in listing] == ["FindMissingInSource"]
    names = [one["Sid"] for one in together]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in names)


@given(
    st.lists(st.sampled_from(list(Command)), min_size=1, max_size=4),
    st.sampled_from([None, True, False]),
    st.sampled_from(["s3://raw/", "s3://raw/a/", "./photos"]),
    st.sampled_from([None, REMOVALS, {"review": {"tag": {"a": "b"}}}]),
)
def test_a_policy_grants_exactly_its_needs(
    commands: list[Command], versions: bool | None, source: str, acts: dict[str, Any] | None
) -> None:
    """Merging and leaving out statements neither loses a permission nor adds one."""
    job = make_bare_job(source=source, actions=acts if source.startswith("s3") else None)
    needs = needs_of(job, commands, BucketFacts(keeps_versions=versions))
    made = policy_document(needs)
    policy = IdentityPolicy(json.dumps(made))
    for need in needs:
        context = {} if need.prefix is None else {"s3:prefix": sample(need.prefix)}
        assert policy.decide(Permission(need.action, sample(need.resource), context)) is Decision.ALLOWED
    granted = {
        (action, resource, one.get("Condition", {}).get("StringLike", {}).get("s3:prefix"))
        for one in made["Statement"]
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
        for resource in ([one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"])
    }
    assert granted <= {(need.action, need.resource, need.prefix) for need in needs}


# -- Commands ----------------------------------------------------------------------------------------------------------


def test_free_commands_have_no_paid_action() -> None:
    """``plan`` lists and reads the quota, ``status`` and ``export`` of labels need no account."""
    assert actions(Command.PLAN) == {
        "s3:ListBucket", "servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"
    }  # fmt: skip
    assert actions(Command.STATUS, Command.EXPORT) == set()
    assert not any("rekognition" in action for action in actions(Command.REFILTER, Command.APPLY, actions=REMOVALS))


def test_a_set_rate_needs_no_quota() -> None:
    """Except in ``bench``, which compares with it."""
    assert "servicequotas:GetServiceQuota" not in actions(Command.RUN, limits={"tps": 5})
    assert "servicequotas:GetServiceQuota" in actions(Command.BENCH, limits={"tps": 5})


def test_only_removals_delete() -> None:
    """A job that copies has no action that deletes, and ``apply`` and ``undo`` nothing to do."""
    copying, removing = make_bare_job(actions={"keep": {"copy": "s3://clean/"}}), make_bare_job(actions=REMOVALS)
    assert {Command.APPLY, Command.UNDO} & set(commands_of(copying)) == set()
    assert {Command.APPLY, Command.UNDO, Command.STALE} <= set(commands_of(removing))
    assert not any("Delete" in need.action for need in needs_of(copying, [Command.RUN], BucketFacts()))
    assert "s3:DeleteObject" in actions(Command.APPLY, actions=REMOVALS)


def test_versions_decide_which_actions_are_needed() -> None:
    """Tags and markers of versions have actions of their own; without knowledge all are there."""
    tags = {"review": {"tag": {"a": "b"}}}
    plain, versioned = BucketFacts(keeps_versions=False), BucketFacts(keeps_versions=True)
    assert "s3:PutObjectVersionTagging" not in actions(Command.RUN, facts=plain, actions=tags)
    assert "s3:PutObjectTagging" not in actions(Command.RUN, facts=versioned, actions=tags)
    assert {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"} <= actions(Command.RUN, actions=tags)
    assert "s3:DeleteObjectVersion" not in actions(Command.UNDO, facts=plain, actions=REMOVALS)
    assert "s3:DeleteObjectVersion" in actions(Command.UNDO, facts=versioned, actions=REMOVALS)


def test_keys_of_kms_are_used_where_objects_are_read_and_written() -> None:
    """The images are decrypted, the copies encrypted; ``undo`` goes the other way."""
    facts = BucketFacts(source_keys=("arn:source",), target_keys=("arn:target",))
    run = statements(Command.RUN, facts=facts, actions={"keep": {"copy": "s3://clean/"}})
    assert (run["DecryptSource"]["Action"], run["DecryptSource"]["Resource"]) == ("kms:Decrypt", "arn:source")
    assert (run["EncryptTargets"]["Action"], run["EncryptTargets"]["Resource"]) == ("kms:GenerateDataKey", "arn:target")
    assert "DecryptTargets" not in run
    undo = statements(Command.UNDO, facts=facts, actions=REMOVALS)
    assert undo["DecryptTargets"]["Resource"] == "arn:target"
    assert undo["EncryptSource"]["Resource"] == "arn:source"


def test_a_model_has_its_own_arn() -> None:
    """Detections with it, and the description of its project."""
    detector = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}
    found = statements(Command.RUN, detector=detector)
    assert found["Detect"]["Action"] == "rekognition:DetectCustomLabels"
    assert found["Detect"]["Resource"] == DEFAULT_MODEL_ARN
    project = DEFAULT_MODEL_ARN.partition("/version/")[0]
    assert found["DescribeModel"]["Resource"] == f"{project}/*"
    known = statements(Command.RUN, detector=detector, pricing={"inference_units": 1})
    assert "DescribeModel" not in known


def test_a_model_that_the_run_starts() -> None:
    """It is described, started and stopped; a plan only describes it."""
    detector = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN, "start": {"for": "1h"}}
    found = statements(Command.RUN, detector=detector, pricing={"inference_units": 1})
    assert found["RunModel"]["Action"] == ["rekognition:StartProjectVersion", "rekognition:StopProjectVersion"]
    assert found["RunModel"]["Resource"] == DEFAULT_MODEL_ARN
    assert "DescribeModel" in found
    assert "RunModel" not in statements(Command.PLAN, detector=detector)


def test_a_local_folder_needs_no_bucket() -> None:
    """Only the detection and the quota."""
    found = actions(Command.RUN, source="./photos", actions=None)
    assert {action.partition(":")[0] for action in found} == {"rekognition", "servicequotas"}
    assert images_bucket(make_bare_job(source="./photos", actions=None)) is None


def test_two_reasons_for_one_permission_are_one_row() -> None:
    """It is required when one of them requires it, and of all buckets unless both are of the same kind."""
    job = make_bare_job(actions={"keep": {"copy": "s3://clean/"}, "review": {"tag": {"a": "b"}}})
    (need,) = [one for one in needs_of(job, [Command.RUN], BucketFacts()) if one.action == "s3:GetObjectTagging"]
    assert isinstance(need, Need)
    assert (need.without, need.keeps_versions) == (None, None)


# -- Custom Labels -----------------------------------------------------------------------------------------------------


def test_the_bucket_policy_of_custom_labels() -> None:
    """The eight actions for the service, on the one bucket; the caller's part has the same for an identity."""
    made = bucket_policy("photos", partition="aws-cn")
    principals = {json.dumps(one["Principal"]) for one in made["Statement"]}
    assert principals == {'{"Service": "rekognition.amazonaws.com"}'}
    wanted = {
        "s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectVersion",
        "s3:GetObjectTagging", "s3:ListBucket", "s3:PutObject",
    }  # fmt: skip
    for policy in (made, caller_policy("photos", partition="aws-cn")):
        text = json.dumps(policy)
        assert set(re.findall(r"s3:[A-Z]\w+", text)) == wanted
        assert set(re.findall(r"arn:[^\"]*", text)) == {"arn:aws-cn:s3:::photos", "arn:aws-cn:s3:::photos/*"}


def test_training_images_are_those_that_were_kept() -> None:
    """Else those of the source."""
    assert images_bucket(make_bare_job(actions=REMOVALS)) == "clean"
    assert images_bucket(make_bare_job(actions=None)) == "raw"


# -- Documents ---------------------------------------------------------------------------------------------------------


def test_the_tables_of_the_document_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    """They are made of the same rows as the policies."""
    assert documentation.main(["--check"]) == 0, capsys.readouterr().err
    assert documentation.main(["--nonsense"]) == 2


def test_readme_names_what_its_job_needs() -> None:
    """The permissions in README are those that a run of README's job requires: no more, no less."""
    text = (documentation.ROOT / "README.md").read_text("utf-8")
    job = parse_job(yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0]), base_dir="/work")
    required = {need.action for need in needs_of(job, [Command.RUN], BucketFacts()) if need.without is None}
    sentence = " ".join(text.split()).partition("A run of this job needs ")[2].partition(" region.")[0]
    assert set(re.findall(r"`(\w+:\w+)`", sentence)) == required


ROLE = "arn:aws:iam::210987654321:role/lane"


def test_each_lane_has_a_statement_set_of_its_own() -> None:
    """Its paid call, its quota where it sets no rate, and the images; the job's own credentials become its role."""
    lanes = [
        {"region": "us-east-1"},
        {"name": "b", "region": "us-east-1", "profile": "b", "tps": 5},
        {"name": "c", "region": "us-east-1", "role": ROLE},
    ]
    job = make_bare_job(detector={"lanes": lanes})
    found = {
        name: {need.action for need in needs if need.without is None}
        for name, needs in lane_needs(job, BucketFacts()).items()
    }
    assert found == {name: {"rekognition:DetectLabels", "s3:GetObject"} for name in ("us-east-1", "b", "c")}
    quota = {
        name for name, needs in lane_needs(job, BucketFacts()).items() if "ReadQuota" in {n.statement for n in needs}
    }
    assert quota == {"us-east-1", "c"}
    own = {(need.action, need.resource) for need in needs_of(job, [Command.RUN], BucketFacts())}
    assert {("sts:AssumeRole", ROLE), ("rekognition:DetectLabels", "*")} <= own
    converting = lane_needs(make_bare_job(detector={"lanes": lanes}, convert=True), BucketFacts())
    assert {need.action for need in converting["b"] if need.without is not None} == {"s3:GetObject"}


def test_the_bucket_lets_the_lanes_of_other_identities_read() -> None:
    """Roles and profiles, no lane with the job's own credentials; such lanes alone need no bucket policy."""
    own, role = {"region": "us-east-1"}, {"name": "c/d", "region": "us-east-1", "role": ROLE}
    profile = {"name": "b", "region": "us-east-1", "profile": "b"}
    found = lanes_bucket_policy(make_bare_job(detector={"lanes": [own, role, profile]}), BucketFacts())
    assert found is not None
    assert [(one["Sid"], one["Principal"]["AWS"], one["Action"]) for one in found["Statement"]] == [
        ("ReadAsLanecd1", ROLE, "s3:GetObject"),
        ("ReadAsLaneb2", "arn:aws:iam::ACCOUNT-OF-b:root", "s3:GetObject"),
    ]
    assert lanes_bucket_policy(make_bare_job(detector={"lanes": [own]}), BucketFacts()) is None


def test_a_job_whose_lanes_are_all_others_makes_no_paid_call_itself() -> None:
    """Its own credentials list, copy, and become the roles."""
    job = make_bare_job(detector={"lanes": [{"name": "c", "region": "us-east-1", "role": ROLE}]})
    actions = {need.action for need in needs_of(job, [Command.RUN], BucketFacts())}
    assert "rekognition:DetectLabels" not in actions
    assert {"s3:ListBucket", "sts:AssumeRole"} <= actions


def test_references_are_examined_with_the_jobs_own_credentials() -> None:
    """Also where no lane is of these: then the paid call is in the job's policy all the same."""
    lanes = [{"name": "c", "region": "us-east-1", "role": ROLE}]
    job = make_bare_job(detector={"lanes": lanes}, rules=[{"keep": {"like": "s3://refs/good.jpg"}}])
    assert "rekognition:DetectLabels" in {need.action for need in needs_of(job, [Command.RUN], BucketFacts())}


def test_workers_of_a_fleet_read_images_and_call() -> None:
    """They list nothing, write nothing and ask for no quota; a job without a fleet has none."""
    found = {(need.action, need.resource) for need in needs_of(make_bare_job(), [Command.WORKERS], BucketFacts())}
    assert found == {("rekognition:DetectLabels", "*"), ("s3:GetObject", "arn:aws:s3:::raw/*")}
    lanes = [{"name": "c", "region": "us-east-1", "role": ROLE}]
    with_lanes = needs_of(make_bare_job(detector={"lanes": lanes}), [Command.WORKERS], BucketFacts())
    assert {need.action for need in with_lanes} == {"sts:AssumeRole", "s3:GetObject"}
    assert Command.WORKERS not in commands_of(make_bare_job())
    assert Command.WORKERS in commands_of(make_bare_job(cluster={"engine": "ray"}))


def test_the_table_names_statements_that_the_policy_has() -> None:
    """A permission that another statement grants stands there by that statement's name."""
    model = {"kind": "onnx", "model": "s3://raw/m.onnx", "labels": "l.txt"}
    needs = needs_of(make_bare_job(source="s3://raw/", detector=model), [Command.RUN], BucketFacts())
    assert "ReadModel" in {need.statement for need in needs}
    granted = {other.statement for other in granting(needs).values()}
    assert granted == {one["Sid"] for one in policy_document(needs)["Statement"]}
    assert "ReadModel" not in granted
