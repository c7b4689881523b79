"""The commands over a job with lanes: what ``run``, ``status`` and the events tell, and which mistakes are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncfilter.sandbox import BucketSpec, Noise, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.options import ModelVersionSpec, SamplesSpec
from asyncfilter.sandbox.rates import RateSpec
from tests.kit.workspace import Workspace

OTHER = "210987654321"
LANES = [
    {"region": "us-east-1"},
    {"name": "west", "region": "us-west-2", "share": 0.5},
    {"name": "other", "region": "us-east-1", "role": f"arn:aws:iam::{OTHER}:role/lane"},
]
SUMS = ("calls", "attempts", "throttled", "retried", "billed_calls", "spent_usd")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A sandbox with a quota for each lane, and another model in one region."""
    options = SandboxOptions(
        samples=(SamplesSpec("raw", 20),),
        buckets=(BucketSpec("clean"),),
        noise=Noise(0, 0, 0, 0),
        rates=(RateSpec(100.0), RateSpec(60.0, "us-west-2"), RateSpec(40.0, "us-east-1", OTHER)),
        model_versions=(ModelVersionSpec("3.9", "us-west-2"),),
    )
    with SandboxProcess(options) as served:
        yield served


def test_a_run_with_lanes_tells_what_each_did(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Header, events, summary and status name the lanes; their sums are those of the run."""
    place = Workspace(tmp_path, sandbox, detector={"lanes": LANES}, convert=True)
    code, out, err = place.here("run", "job.yaml", "--json", "--events", "events.jsonl")
    assert code in {0, 1}, err
    assert [line.split(" name=")[1].split()[0] for line in err.splitlines() if " lane name=" in line] == [
        "us-east-1",
        "west",
        "other",
    ]
    summary = json.loads(out)
    for part in (summary, summary["this_run"]):
        assert part["lanes"].keys() == {"us-east-1", "west", "other"}
        for key in SUMS:
            assert sum(lane[key] for lane in part["lanes"].values()) == pytest.approx(part[key])
    assert summary["tps_limit"] == 100 + 30 + 40
    assert summary["lanes"]["west"]["model_versions"] == ["3.9"]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events[0]["lanes"] == ["us-east-1", "west", "other"]
    assert {event["lane"] for event in events if event["event"] == "image_examined"} == {"us-east-1", "west", "other"}
    (differ,) = [event for event in events if event["event"] == "model_versions_differ"]
    assert differ["versions"]["west"] == ["3.9"]
    assert any("west: 3.9" in caution for caution in summary["cautions"])
    status = place.json("status", "job.yaml")
    assert {name: lane["calls"] for name, lane in status["lanes"].items()} == {
        name: lane["calls"] for name, lane in summary["lanes"].items()
    }
    assert place.here("export", "job.yaml", "-o", "out.jsonl")[0] == 0
    exported = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    lanes = {row["extra"]["asyncfilter"]["lane"] for row in exported if row["extra"]}
    assert lanes == {"us-east-1", "west", "other"}


def test_mistakes_about_lanes_end_before_the_first_call(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Exit code 2 names the key, or both lanes; 4 the lane that is outside the bucket's region."""
    place = Workspace(tmp_path, sandbox, detector={"lanes": LANES}, convert=True)
    billed = place.billed()
    for code, words, setting in (
        (2, "limits.tps", "limits.tps=5"),
        (2, "detector.region", "detector.region=us-east-1"),
        (2, "detector.lanes", "detector.lanes=[]"),
        (2, "us-east-1 and other", "detector.lanes[2].role=arn:aws:iam::123456789012:role/lane"),
        (4, "lane west", "convert=false"),
    ):
        found, _, err = place.here("run", "job.yaml", "--set", setting)
        assert (found, words in err) == (code, True), err
    assert place.billed() == billed


def test_doctor_looks_at_each_lane(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Account, region and rate of each; a lane that cannot be opened is an error with its name."""
    place = Workspace(tmp_path, sandbox, detector={"lanes": LANES}, convert=True)
    found = json.loads(place.here("doctor", "job.yaml", "--json")[1])["checks"]
    lanes = {one["facts"]["name"]: one["facts"] for one in found if one["name"] == "lane"}
    assert {name: facts["tps"] for name, facts in lanes.items()} == {"us-east-1": 100, "west": 30, "other": 40}
    assert lanes["other"]["account"] == OTHER
    place = Workspace(tmp_path, sandbox, detector={"lanes": LANES})
    code, out, _ = place.here("doctor", "job.yaml", "--json")
    (trouble,) = [one for one in json.loads(out)["checks"] if one["name"] == "lanes"]
    assert code == 4
    assert trouble["text"].startswith("lane west: ")


def test_bench_measures_one_region(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """A job with lanes is refused, with the settings that name one of them."""
    place = Workspace(tmp_path, sandbox, detector={"lanes": LANES}, convert=True)
    code, _, err = place.here("bench", "job.yaml", "--yes")
    assert code == 2
    assert "detector.lanes=null" in err
