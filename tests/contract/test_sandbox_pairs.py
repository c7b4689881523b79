"""Access keys and regions in the sandbox: accounts, quotas, statistics, model versions; latency of listings."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from asyncfilter.sandbox import BucketSpec, Sandbox, parse_latency, parse_model_version, parse_rate
from tests.contract.test_sandbox_faults import control
from tests.kit.pictures import plain

Open = Callable[..., Sandbox]
Client = Callable[..., Any]
OTHER: dict[str, Any] = {"aws_access_key_id": "AKIAOTHER", "aws_secret_access_key": "secret"}
ROLE = "arn:aws:iam::222222222222:role/lane"
QUOTA = {"ServiceCode": "rekognition", "QuotaCode": "L-E29B542B"}


@pytest.fixture
def image() -> dict[str, bytes]:
    """An image by its bytes, which a call in any region accepts."""
    return {"Bytes": plain("PNG", 100, 100)}


def accepted(rekognition: Any, image: dict[str, bytes], calls: int = 8) -> int:
    """How many of some calls in a row are not throttled."""
    count = 0
    for _ in range(calls):
        with suppress(rekognition.exceptions.ProvisionedThroughputExceededException):
            rekognition.detect_labels(Image=image)
            count += 1
    return count


def keys_of(role: str, client: Client, sandbox: Sandbox) -> dict[str, str]:
    """The settings of a client with the temporary keys of a role."""
    found = client("sts", sandbox).assume_role(RoleArn=role, RoleSessionName="s")["Credentials"]
    return {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }


def test_each_pair_of_key_and_region_has_a_quota_of_its_own(
    open_sandbox: Open, client: Client, image: dict[str, bytes]
) -> None:
    """A rate of the region, of the pair, or the plain one; one that is used up leaves the others alone."""
    rates = tuple(map(parse_rate, ("0.02", "us-west-2=0.01", "AKIAOTHER@us-west-2=1000")))
    sandbox = open_sandbox(rates=rates)
    west = {"region_name": "us-west-2"}
    clients = [client("rekognition", sandbox, **settings) for settings in ({}, west, OTHER, OTHER | west)]
    assert [accepted(each, image) for each in clients] == [1, 1, 1, 8]
    own = sandbox.environment()["AWS_ACCESS_KEY_ID"]
    pairs = sandbox.stats().pairs
    assert {name: (pair.attempts, pair.throttled, pair.billed) for name, pair in pairs.items()} == {
        f"{own}@us-east-1": (8, 7, 1),
        f"{own}@us-west-2": (8, 7, 1),
        "AKIAOTHER@us-east-1": (8, 7, 1),
        "AKIAOTHER@us-west-2": (8, 0, 8),
    }
    assert all(1 <= pair.attempts_per_1s_max <= 8 for pair in pairs.values())


def test_service_quotas_tells_each_pair_its_own(open_sandbox: Open, client: Client) -> None:
    """The rate of the pair, of the region, the announced or plain one, else AWS's default."""
    rates = tuple(map(parse_rate, ("us-west-2=20", "AKIAOTHER@us-west-2=7")))
    west = {"region_name": "us-west-2"}

    def told(sandbox: Sandbox, **settings: Any) -> float:
        quotas = client("service-quotas", sandbox, **settings)
        return float(quotas.get_service_quota(**QUOTA)["Quota"]["Value"])

    sandbox = open_sandbox(rates=rates)
    assert [told(sandbox), told(sandbox, **west), told(sandbox, **OTHER, **west)] == [50, 20, 7]
    assert told(sandbox, region_name="eu-central-1") == 5
    announced = open_sandbox(rates=(*rates, parse_rate("11")), announced_tps=40)
    assert [told(announced), told(announced, **west)] == [40, 20]


def test_each_access_key_has_an_account_and_a_role_has_that_of_its_arn(open_sandbox: Open, client: Client) -> None:
    """The first key has the sandbox's account; another has another one; a role of any account can be assumed."""
    sandbox = open_sandbox()
    account = {
        name: client("sts", sandbox, **settings).get_caller_identity()
        for name, settings in {"own": {}, "other": OTHER, "role": keys_of(ROLE, client, sandbox)}.items()
    }
    assert account["own"]["Account"] == "123456789012"
    other = account["other"]["Account"]
    assert len(other) == 12
    assert other.isdigit()
    assert other != "123456789012"
    assert account["other"]["Arn"] == f"arn:aws:iam::{other}:user/sandbox"
    assert (account["role"]["Account"], account["role"]["Arn"]) == (
        "222222222222",
        "arn:aws:sts::222222222222:assumed-role/lane/sandbox",
    )
    policy = client("iam", sandbox, **OTHER).simulate_principal_policy(
        PolicySourceArn=account["other"]["Arn"], ActionNames=["rekognition:DetectLabels"]
    )
    assert policy["EvaluationResults"][0]["EvalDecision"] == "allowed"


def test_the_keys_of_a_role_share_the_quota_of_its_account(
    open_sandbox: Open, client: Client, image: dict[str, bytes]
) -> None:
    """Renewed keys are the same pair; a role of the sandbox's own account is the pair of its access key."""
    sandbox = open_sandbox(rates=(parse_rate("0.02"),))
    first, second = (client("rekognition", sandbox, **keys_of(ROLE, client, sandbox)) for _ in range(2))
    assert accepted(first, image, 1) + accepted(second, image, 3) == 1
    own = client("rekognition", sandbox, **keys_of(ROLE.replace("222222222222", "123456789012"), client, sandbox))
    assert accepted(client("rekognition", sandbox), image, 1) + accepted(own, image, 2) == 1
    assert set(sandbox.stats().pairs) == {
        "222222222222@us-east-1",
        f"{sandbox.environment()['AWS_ACCESS_KEY_ID']}@us-east-1",
    }


def test_the_quota_of_a_region_can_be_changed_while_it_serves(
    open_sandbox: Open, client: Client, image: dict[str, bytes]
) -> None:
    """``POST /_sandbox/quota`` takes rates by region or pair; a wrong place is refused."""
    sandbox = open_sandbox()
    assert control(sandbox, "POST", "quota", {"tps": None, "rates": {"us-west-2": 0.01}})[0] == 200
    west = client("rekognition", sandbox, region_name="us-west-2")
    assert (accepted(west, image, 3), accepted(client("rekognition", sandbox), image, 3)) == (1, 3)
    status, answer = control(sandbox, "POST", "quota", {"tps": None, "rates": {"west": 1}})
    assert status == 400
    assert "must be REGION" in answer["error"]


def test_regions_may_answer_with_other_model_versions(
    open_sandbox: Open, client: Client, image: dict[str, bytes]
) -> None:
    """``LabelModelVersion`` is that of the region, else the plain one; without an option that of the labels."""
    sandbox = open_sandbox(model_versions=tuple(map(parse_model_version, ("4.0", "us-west-2=4.1"))))

    def version(sandbox: Sandbox, region: str) -> str:
        found = client("rekognition", sandbox, region_name=region).detect_labels(Image=image)
        return str(found["LabelModelVersion"])

    assert [version(sandbox, region) for region in ("us-east-1", "us-west-2")] == ["4.0", "4.1"]
    assert version(open_sandbox(), "us-west-2") == "3.0"


def test_three_regions_see_a_bucket_in_one_of_them(open_sandbox: Open, client: Client) -> None:
    """By its address an image is examined in the bucket's region alone; its bytes are examined everywhere."""
    sandbox = open_sandbox(buckets=(BucketSpec("raw-data", "us-west-2"),))
    sandbox.put("raw-data", "k.png", plain("PNG", 100, 100))
    place = {"S3Object": {"Bucket": "raw-data", "Name": "k.png"}}
    for region in ("us-east-1", "us-west-2", "eu-west-1"):
        rekognition = client("rekognition", sandbox, region_name=region)
        assert rekognition.detect_labels(Image={"Bytes": plain("PNG", 100, 100)})["Labels"] is not None
        if region == "us-west-2":
            rekognition.detect_labels(Image=place)
            continue
        with pytest.raises(ClientError, match="InvalidS3ObjectException"):
            rekognition.detect_labels(Image=place)


def test_listings_can_be_slow_alone(open_sandbox: Open, client: Client) -> None:
    """``list_latency`` delays listings of objects and nothing else."""
    sandbox = open_sandbox(buckets=(BucketSpec("raw-data"),), list_latency=parse_latency("150ms"))
    s3 = client("s3", sandbox)
    s3.head_bucket(Bucket="raw-data")
    began_s = time.monotonic()
    s3.list_objects_v2(Bucket="raw-data")
    assert time.monotonic() - began_s >= 0.15
    assert control(sandbox, "POST", "latency", {"list": "0s"})[0] == 200
    assert s3.list_objects_v2(Bucket="raw-data")["KeyCount"] == 0
