"""``detector.lanes`` in the job file: what it gives, what is refused, and what the checkpoint is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from asyncfilter.errors import JobError
from asyncfilter.job import Job, PriceTier, parse_job
from asyncfilter.job.fingerprint import changed_settings, identity
from asyncfilter.job.spec import LaneSpec

ROLE = "arn:aws:iam::123456789012:role/lanes/examiner"
OTHER_ROLE = "arn:aws:iam::210987654321:role/examiner"
HEAD = {"version": 1, "name": "robins", "source": "s3://raw/birds/", "rules": [{"keep": {"any": "Bird"}}]}


def job(*lanes: Mapping[str, Any], **keys: Any) -> Job:
    """A job with these lanes."""
    return parse_job({**HEAD, "detector": {"lanes": list(lanes)}, **keys}, base_dir="/work")


def problems(mapping: Mapping[str, Any]) -> dict[str, str]:
    """The messages about a wrong job, by key."""
    with pytest.raises(JobError) as caught:
        parse_job({**HEAD, **mapping}, base_dir="/work")
    assert caught.value.exit_code == 2
    return {problem.key: problem.message for problem in caught.value.problems}


def test_names_and_defaults() -> None:
    """A lane is named after region and account; its share and use come from the job where it is of its credentials."""
    tiers = [{"up_to": None, "usd": 0.002}]
    found = job(
        {"region": "us-east-1"},
        {"region": "us-west-2", "name": "west", "tps": 20, "tiers": tiers},
        {"region": "us-east-1", "profile": "account-b", "share": 0.5, "used_this_month": 250_000},
        {"region": "us-east-1", "role": ROLE, "external_id": "abc"},
        {"region": "us-east-2", "profile": "mine"},
        limits={"share": 0.8},
        pricing={"used_this_month": 7},
        aws={"profile": "mine"},
    )
    assert found.detector.lanes == (
        LaneSpec(name="us-east-1", region="us-east-1", share=0.8, used_this_month=7),
        LaneSpec(
            name="west",
            region="us-west-2",
            tps=20,
            share=0.8,
            used_this_month=7,
            tiers=(PriceTier(up_to=None, micros=2000),),
        ),
        LaneSpec(
            name="us-east-1/account-b", region="us-east-1", profile="account-b", share=0.5, used_this_month=250_000
        ),
        LaneSpec(name="us-east-1/123456789012", region="us-east-1", role=ROLE, external_id="abc", share=0.8),
        LaneSpec(name="us-east-2/mine", region="us-east-2", share=0.8, used_this_month=7),
    )
    assert not found.detector.lanes_must_agree


LANES = "detector.lanes"
LANE = {"region": "us-east-1"}
MODEL = "arn:aws:rekognition:eu-west-1:123456789012:project/birds/version/birds.2026/1700000000000"

# keys of the job, the key of the message, words in it
WRONG = {
    "empty": ({"detector": {"lanes": []}}, LANES, "not empty"),
    "too many": ({"detector": {"lanes": [{**LANE, "name": str(n)} for n in range(33)]}}, LANES, "at most 32"),
    "no region": ({"detector": {"lanes": [{}]}}, f"{LANES}[0].region", "missing"),
    "no mapping": ({"detector": {"lanes": ["us-east-1"]}}, f"{LANES}[0]", "region"),
    "region beside lanes": ({"detector": {"region": "us-east-1", "lanes": [LANE]}}, "detector.region", "lanes"),
    "tps beside lanes": ({"detector": {"lanes": [LANE]}, "limits": {"tps": 5}}, "limits.tps", "expected auto"),
    "tiers beside lanes": (
        {"detector": {"lanes": [LANE]}, "pricing": {"tiers": [{"up_to": None, "usd": 1}]}},
        "pricing.tiers",
        "each lane",
    ),
    "another kind": (
        {"detector": {"kind": "rekognition-custom-labels", "model": MODEL, "lanes": [LANE]}},
        LANES,
        "expected kind: rekognition beside lanes",
    ),
    "must agree, of another kind": (
        {"detector": {"kind": "rekognition-custom-labels", "model": MODEL, "lanes_must_agree": True}},
        "detector.lanes_must_agree",
        "expected kind: rekognition",
    ),
    "profile and role": (
        {"detector": {"lanes": [{**LANE, "profile": "b", "role": ROLE}]}},
        f"{LANES}[0].role",
        "found both",
    ),
    "external id alone": (
        {"detector": {"lanes": [{**LANE, "external_id": "abc"}]}},
        f"{LANES}[0].external_id",
        "expected role",
    ),
    "no role": ({"detector": {"lanes": [{**LANE, "role": "examiner"}]}}, f"{LANES}[0].role", "ARN of a role"),
    "equal default names": (
        {"detector": {"lanes": [{**LANE, "role": ROLE}, {**LANE, "role": f"{ROLE}-2"}]}},
        f"{LANES}[1].name",
        "lanes[0]",
    ),
    "equal names, one a default": (
        {"detector": {"lanes": [LANE, {"region": "us-west-2", "name": "us-east-1"}]}},
        f"{LANES}[1].name",
        "lanes[0]",
    ),
    "a default that is no name": (
        {"detector": {"lanes": [{**LANE, "profile": "account b"}]}},
        f"{LANES}[0].name",
        "us-east-1/account b",
    ),
    "equal credentials": (
        {"detector": {"lanes": [LANE, {**LANE, "name": "again"}]}},
        f"{LANES}[1].region",
        "lanes[0]",
    ),
    "the job's profile, spelled out": (
        {"detector": {"lanes": [LANE, {**LANE, "profile": "mine"}]}, "aws": {"profile": "mine"}},
        f"{LANES}[1].region",
        "lanes[0]",
    ),
    "equal roles": (
        {"detector": {"lanes": [{**LANE, "role": ROLE}, {**LANE, "role": ROLE, "name": "again"}]}},
        f"{LANES}[1].region",
        "lanes[0]",
    ),
    "no rate": ({"detector": {"lanes": [{**LANE, "tps": 0}]}}, f"{LANES}[0].tps", "above 0"),
    "share above all": ({"detector": {"lanes": [{**LANE, "share": 1.1}]}}, f"{LANES}[0].share", "at most 1"),
    "tiers that rise": (
        {"detector": {"lanes": [{**LANE, "tiers": [{"up_to": 5, "usd": 1}, {"up_to": None, "usd": 2}]}]}},
        f"{LANES}[0].tiers[1].usd",
        "never rise",
    ),
    "a name with a space": ({"detector": {"lanes": [{**LANE, "name": "a b"}]}}, f"{LANES}[0].name", "1 to 64"),
    "an unknown key": ({"detector": {"lanes": [{**LANE, "rate": 5}]}}, f"{LANES}[0].rate", "unknown key"),
}


@pytest.mark.parametrize(("mapping", "key", "words"), WRONG.values(), ids=WRONG)
def test_wrong_lanes_are_refused_with_their_key(mapping: Mapping[str, Any], key: str, words: str) -> None:
    """Each contradiction is a problem of the job file at its key."""
    found = problems(mapping)
    assert key in found
    assert words in found[key]


def test_other_accounts_may_have_the_same_region() -> None:
    """A region may be in several lanes, as long as their credentials differ."""
    lanes = [LANE, {**LANE, "profile": "b"}, {**LANE, "role": ROLE}, {**LANE, "role": OTHER_ROLE}]
    assert len({lane.name for lane in job(*lanes).detector.lanes}) == len(lanes)


def test_lanes_are_no_part_of_what_a_checkpoint_is_bound_to() -> None:
    """Lanes come, change and go; with lanes, and after them, the region is not compared."""
    plain = parse_job({**HEAD, "detector": {"region": "us-east-1"}}, base_dir="/work")
    moved = parse_job({**HEAD, "detector": {"region": "us-west-2"}}, base_dir="/work")
    one, two = job({"region": "us-west-2"}), job({"region": "us-west-2"}, {"region": "eu-west-1"})
    assert identity(one) == identity(two)
    assert changed_settings(identity(plain), identity(one)) == []
    assert changed_settings(identity(one), identity(plain)) == []
    assert changed_settings(identity(plain), identity(moved)) == ["detector.region"]
    other = parse_job({**HEAD, "source": "s3://raw/fish/", "detector": {"lanes": [LANE]}}, base_dir="/work")
    assert changed_settings(identity(one), identity(other)) == ["source.uri"]
