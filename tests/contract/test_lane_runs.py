"""Lanes over the sandbox: sessions, roles, quotas, how images are sent, and what is refused before the first call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Job, plan, run
from asyncfilter.aws.access import identity
from asyncfilter.checkpoint import read_images
from asyncfilter.errors import AccessError, CredentialsError, PermissionDeniedError, RegionMismatchError, UsageError
from asyncfilter.policy.lane_counts import OTHER as UNKNOWN
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.report.as_json import json_text
from asyncfilter.report.terminal.plan import plan_mapping
from asyncfilter.sandbox import BucketSpec, DenyRule, Noise, Sandbox, SandboxOptions
from asyncfilter.sandbox.options import ModelVersionSpec, SamplesSpec
from asyncfilter.sandbox.rates import RateSpec
from asyncfilter.wiring import lanes as wiring_lanes
from tests.kit.jobs import make_bare_job
from tests.kit.pictures import plain
from tests.kit.services import serving

OTHER = "210987654321"
ROLE = f"arn:aws:iam::{OTHER}:role/lane"
IMAGES = 24
LANES = [
    {"region": "us-east-1"},
    {"name": "west", "region": "us-west-2"},
    {"name": "other", "region": "us-east-1", "role": ROLE, "external_id": "one"},
]
RATES = (RateSpec(200.0), RateSpec(60.0, "us-west-2"), RateSpec(40.0, "us-east-1", OTHER))


def serve(**options: Any) -> AbstractAsyncContextManager[Sandbox]:
    """A sandbox with images in us-east-1, to which the clients of this process connect."""
    settings = {
        "samples": (SamplesSpec("raw", IMAGES),),
        "buckets": (BucketSpec("clean"),),
        "verify_signatures": True,
        "noise": Noise(0, 0, 0, 0),
        "rates": RATES,
    }
    return serving(SandboxOptions(**{**settings, **options}))


def lane_job(folder: Path, *lanes: dict[str, Any], **sections: Any) -> Job:
    """A job over the sandbox's images with these lanes."""
    detector = {"lanes": list(lanes or LANES), **sections.pop("detector", {})}
    return make_bare_job(base_dir=folder, **{"detector": detector, "convert": True, **sections})


async def test_a_whole_run_over_three_lanes(tmp_path: Path) -> None:
    """Each lane has its quota and account, sends images its own way, and tells what the service counted."""
    async with serve() as sandbox:
        summary = await run(lane_job(tmp_path))
        stats = sandbox.stats()
    lanes = summary.counts.lanes
    assert lanes is not None
    assert {name: (lane.region, lane.by, lane.tps_limit) for name, lane in lanes.items()} == {
        "us-east-1": ("us-east-1", "reference", 200.0),
        "west": ("us-west-2", "bytes", 60.0),
        "other": ("us-east-1", "reference", 40.0),
    }
    assert lanes["other"].account == OTHER
    assert lanes["us-east-1"].account == lanes["west"].account != OTHER
    pairs = {name.partition("@")[::2]: counts for name, counts in stats.pairs.items()}
    assert pairs[OTHER, "us-east-1"].attempts == lanes["other"].attempts > 0
    assert sum(found.attempts for found in pairs.values()) == summary.counts.attempts
    assert (
        sum(found.attempts for (_, region), found in pairs.items() if region == "us-west-2") == lanes["west"].attempts
    )
    assert summary.counts.calls == sum(lane.calls for lane in lanes.values())
    assert not summary.cautions


async def test_bytes_are_fetched_once_an_image_and_each_answer_keeps_its_lane(tmp_path: Path) -> None:
    """One GetObject an image by the job's credentials; what was sent is recorded where bytes were sent."""
    job = lane_job(tmp_path)
    async with serve() as sandbox:
        summary = await run(job)
        reads = sandbox.stats().operations["GetObject"].attempts
    assert reads <= summary.counts.examined
    found = [provenance_of(image.detection) for image in read_images(job.checkpoint) if image.detection is not None]
    assert {one.lane for one in found} == {"us-east-1", "west", "other"}
    assert all((one.sent is not None) == (one.lane == "west") for one in found)
    assert all(one.blake2b for one in found)


async def test_lanes_in_the_region_of_the_bucket_read_no_bytes(tmp_path: Path) -> None:
    """Without a lane elsewhere no image is fetched, and ``convert`` is not needed."""
    async with serve() as sandbox:
        await run(lane_job(tmp_path, LANES[0], LANES[2], convert=False))
        assert "GetObject" not in sandbox.stats().operations


async def test_two_lanes_of_one_account_and_region_are_refused(tmp_path: Path) -> None:
    """STS tells that a role is of the job's own account; both lanes are named, nothing is called."""
    same = {"name": "again", "region": "us-east-1", "role": "arn:aws:iam::123456789012:role/lane"}
    async with serve() as sandbox:
        with pytest.raises(UsageError, match=r"us-east-1 and again .* 123456789012"):
            await run(lane_job(tmp_path, LANES[0], same))
        assert "DetectLabels" not in sandbox.stats().operations


async def test_where_sts_may_not_be_asked_there_is_a_caution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on: only the check of equal accounts is missing."""

    async def denied(*_: object) -> identity.Caller:
        raise PermissionDeniedError("sts:GetCallerIdentity is denied")

    monkeypatch.setattr(wiring_lanes, "identify", denied)
    async with serve():
        summary = await run(lane_job(tmp_path))
    cautions = [caution for caution in summary.cautions if "STS" in caution]
    assert [caution.split(":")[0] for caution in cautions] == ["lane us-east-1", "lane west", "lane other"]
    assert summary.counts.lanes is not None
    assert {lane.account for lane in summary.counts.lanes.values()} == {None}


async def test_a_lane_outside_the_buckets_region_needs_convert(tmp_path: Path) -> None:
    """It is refused at the start with its name, as ``detector.region`` is."""
    async with serve():
        with pytest.raises(RegionMismatchError, match=r"lane west: .*'raw' is in us-east-1") as caught:
            await run(lane_job(tmp_path, convert=False))
    assert caught.value.exit_code == 4


async def test_a_region_without_the_service_is_refused_with_the_lane(tmp_path: Path) -> None:
    """A region that Rekognition is not in is a lane's error."""
    async with serve():
        with pytest.raises(AccessError, match="lane xx-north-9: ") as caught:
            await run(lane_job(tmp_path, LANES[0], {"region": "xx-north-9"}))
    hint = str(caught.value.hint)
    assert "the lane's region" in hint
    assert "detector.region" not in hint  # which is refused beside lanes


async def test_a_role_that_may_not_be_assumed_is_refused_with_the_lane(tmp_path: Path) -> None:
    """Nothing runs on with fewer lanes."""
    async with serve(deny=(DenyRule("AssumeRole", "*"),)) as sandbox:
        with pytest.raises(CredentialsError, match=f"lane other: .*{ROLE}") as caught:
            await run(lane_job(tmp_path))
        assert "DetectLabels" not in sandbox.stats().operations
    assert "sts:AssumeRole" in str(caught.value.hint)


async def test_an_unknown_profile_of_a_lane_is_refused_with_the_lane(tmp_path: Path) -> None:
    """The profile is named, too."""
    async with serve():
        with pytest.raises(CredentialsError, match=r"lane us-east-2/nobody: .*nobody") as caught:
            await run(lane_job(tmp_path, LANES[0], {"region": "us-east-2", "profile": "nobody"}))
    hint = str(caught.value.hint)
    assert "the lane's profile" in hint
    assert "AWS_PROFILE" not in hint  # it is of the job's own credentials, as aws.profile is
    assert "aws.profile" not in hint


async def test_the_keys_of_a_role_are_renewed(tmp_path: Path) -> None:
    """Keys of a second last for a run that is longer."""
    async with serve(session_s=1.0, rates=(RateSpec(8.0),)) as sandbox:
        summary = await run(lane_job(tmp_path, LANES[2]))
        assert sandbox.stats().operations["AssumeRole"].attempts >= 3
    assert "access" not in " ".join(summary.counts.failed)
    assert summary.exit_code in {0, 1}
    assert summary.complete


async def test_a_model_version_of_one_region_ends_a_run_whose_lanes_must_agree(tmp_path: Path) -> None:
    """The sandbox serves another version in one region; its first answer is kept and not judged."""
    job = lane_job(tmp_path, detector={"lanes_must_agree": True})
    async with serve(model_versions=(ModelVersionSpec("3.9", "us-west-2"),)) as sandbox:
        summary = await run(job)
        paid = sandbox.stats().operations["DetectLabels"].billed
        assert (summary.stop_reason, summary.exit_code) == ("errors", 1)
        again = await run(lane_job(tmp_path))
        assert sandbox.stats().operations["DetectLabels"].billed - paid == again.this_run.calls
    assert again.complete
    assert again.counts.calls == summary.counts.calls + again.this_run.calls


@pytest.mark.parametrize("uri", ["s3://clean/good.jpg", "./good.jpg"])
@pytest.mark.parametrize(
    ("lanes", "counted"),
    [((LANES[2], LANES[1], LANES[0]), "us-east-1"), ((LANES[2],), UNKNOWN)],
    ids=["at a lane of the job's own credentials", "at no lane"],
)
async def test_references_count_where_they_are_billed(
    lanes: Sequence[dict[str, Any]], counted: str, uri: str, tmp_path: Path
) -> None:
    """They are examined with the job's own credentials, whichever lane stands first."""
    if (uri, counted) == ("./good.jpg", "us-east-1"):
        lanes, counted = lanes[:2], "west"  # of the job's own, the only one
    (tmp_path / "good.jpg").write_bytes(plain())
    job = lane_job(tmp_path, *lanes, rules=[{"keep": {"like": uri, "confidence": 1}}], source="s3://raw/nothing/")
    async with serve() as sandbox:
        sandbox.put("clean", "good.jpg", plain())
        summary = await run(job)
        pairs = {name.rpartition("@")[0]: counts.attempts for name, counts in sandbox.stats().pairs.items()}
    assert OTHER not in pairs
    assert summary.counts.lanes is not None
    assert {name: lane.billed_calls for name, lane in summary.counts.lanes.items() if lane.calls} == {counted: 1}


async def test_a_plan_has_the_sum_of_the_rates_and_the_prices_of_all_lanes(tmp_path: Path) -> None:
    """Hours are those of the sum; the cost is an interval, of which ``cost_usd`` is the dearest end."""
    tiers = [{"up_to": None, "usd": 0.002}]
    lanes: list[dict[str, Any]] = [LANES[0] | {"tiers": tiers}, LANES[1], LANES[2] | {"used_this_month": 1_000_000}]
    job = lane_job(tmp_path, *lanes)
    async with serve() as sandbox:
        found: dict[str, Any] = json.loads(json_text(plan_mapping(job, await plan(job))))
        assert "DetectLabels" not in sandbox.stats().operations
    assert found["lanes"] == [
        {"name": "us-east-1", "region": "us-east-1", "account": "123456789012", "tps": 200.0, "by": "reference"}
        | {"origin": found["lanes"][0]["origin"], "price_usd": 0.002},
        {"name": "west", "region": "us-west-2", "account": "123456789012", "tps": 60.0, "by": "bytes"}
        | {"origin": found["lanes"][1]["origin"], "price_usd": 0.001},
        {"name": "other", "region": "us-east-1", "account": OTHER, "tps": 40.0, "by": "reference"}
        | {"origin": found["lanes"][2]["origin"], "price_usd": 0.0008},
    ]
    calls = found["calls"]
    assert found["cost_usd"] == pytest.approx(calls * 0.002)
    assert found["cost_interval_usd"] == [pytest.approx(calls * 0.0008), pytest.approx(calls * 0.002)]
    assert (found["tps"], found["hours"]) == (300.0, round(calls / 300 / 3600, 4))
