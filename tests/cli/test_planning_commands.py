"""``labels`` and ``plan`` as commands: what they print, what they ask, what they pay, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.workspace import Workspace

PICTURES = 60
JOB: dict[str, Any] = {
    "source": {"uri": "s3://raw/raw/", "order": "random"},
    "rules": [{"keep": {"any": ["Robin"], "confidence": 60}}],
    "limits": {"budget_usd": 1},
    "stop": {"hit_rate": {"below": 0.01}},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One for all tests."""
    with SandboxProcess(
        SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=200.0)
    ) as process:
        yield process


@pytest.fixture
def place(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new one."""
    return Workspace(tmp_path, sandbox, **JOB)


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_plan_is_free(place: Workspace) -> None:
    """Without a sample nothing is paid and no file is written; the figures are those of the listing."""
    before = place.billed()
    found = place.json("plan", "job.yaml")
    assert found["listed"] == PICTURES
    assert found["candidates"] + sum(found["skipped"].values()) == PICTURES
    assert found["unpaid"] == found["candidates"]
    assert found["calls"] == found["unpaid"] - found["same_content"]
    assert found["cost_usd"] == pytest.approx(found["calls"] / 1000)
    assert (found["ends"], found["tps"], found["sample"]) == ("completed", 200.0, None)
    assert found["hours"] == pytest.approx(found["calls"] / 200 / 3600, abs=1e-4)
    assert found["by_hand_usd"] == pytest.approx([0.036 * found["candidates"], 0.06 * found["candidates"]])
    assert place.billed() == before
    assert not (place.folder / ".asyncfilter").exists()


def test_a_sample_is_kept_for_the_run(place: Workspace) -> None:
    """It is paid for once, gives estimates with intervals, and the run pays for the rest."""
    found = place.json("plan", "job.yaml", "--sample", "30", "--yes")
    sample = found["sample"]
    assert sample["examined"] == 30
    for name in ("hit_rate", "failure_share", "keep_total", "total_usd", "kept_usd"):
        assert sample[name]["low"] <= sample[name]["value"] <= (sample[name]["high"] or float("inf"))
    assert sample["confidence"] == 0.95
    code, _, err = place.here("plan", "job.yaml", "--sample", "30", "--yes")
    assert code == 0, err
    before = place.billed()
    code, out, err = place.here("run", "job.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["this_run"]["calls"] == found["calls"] - sample["calls"]
    assert place.billed() - before == json.loads(out)["this_run"]["billed_calls"]


def test_a_sample_in_a_script_needs_a_yes(place: Workspace) -> None:
    """Without a terminal and without ``--yes`` nothing is listed and nothing is paid: exit 2, and the flag is named."""
    result = place("plan", "job.yaml", "--sample", "5")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert not (place.folder / ".asyncfilter").exists()


@pytest.mark.parametrize(("answer", "calls"), [("n\n", 0), ("y\n", 5)])
def test_the_price_is_said_before_it_is_asked_for(place: Workspace, answer: str, calls: int) -> None:
    """On a terminal the question names calls and dollars; only a yes pays, and the plan is shown either way."""
    before = place.billed()
    terminal = place.terminal("plan", "job.yaml", "--sample", "5", has_stdout=False)
    terminal.read_until("[y/N]")
    assert "5 calls, $0.005" in terminal.seen
    terminal.type(answer)
    assert terminal.end() == 0
    assert "listed" in terminal.out
    assert ("hit rate" in terminal.out) == bool(calls)
    assert place.billed() - before <= calls


def test_a_plan_for_people(place: Workspace) -> None:
    """The same figures in words, with a caution where the order makes a stop rule doubtful."""
    code, out, _ = place.here("plan", "job.yaml", "--set", "source.order=listing", "--set", "limits.budget_usd=0.01")
    assert code == 0
    for words in ("listed", "to pay for", "for 10 calls", "ends the run", "by hand", "no sample of the rest"):
        assert words in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("plan", "absent.yaml"), 2, "absent.yaml"),
        (("plan", "job.yaml", "--sample", "-3"), 2, "--sample"),
        (("plan", "job.yaml", "--json", "--events", "-", "--sample", "1", "--yes"), 2, "stdout"),
        (("plan", "job.yaml", "--set", "source.uri=s3://no-such-bucket/"), 4, "no-such-bucket"),
        (("labels",), 2, "IMAGE"),
        (("labels", "absent.jpg"), 2, "absent.jpg"),
        (("labels", "s3://raw/absent.jpg"), 2, "no such object"),
        (("labels", "s3://no-such-bucket/x.jpg"), 4, "no-such-bucket"),
        (("labels", "s3://raw/absent.jpg", "--confidence", "101"), 2, "--confidence"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(place: Workspace, arguments: tuple[str, ...], code: int, word: str) -> None:
    """Each mistake has its exit code and a word about it, and no traceback."""
    found, _, err = place.here(*arguments)
    assert (found, word in err, "Traceback" in err) == (code, True, False), err


def test_another_source_is_refused(place: Workspace) -> None:
    """A plan of a job whose checkpoint is of another source says what the run would say: exit 3."""
    place.here("plan", "job.yaml", "--sample", "1", "--yes")
    code, _, err = place.here("plan", "job.yaml", "--set", "source.uri=s3://raw/raw/robin/")
    assert code == 3
    assert "source.uri" in err


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robins(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Addresses of three pictures of robins that are whole."""
    place = Workspace(tmp_path_factory.mktemp("robins"), sandbox, **JOB)
    place.here("plan", "job.yaml", "--sample", str(PICTURES), "--yes")
    _, out, _ = place.here("export", "job.yaml", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    sure = [row["key"] for row in rows if any(label["name"] == "Robin" for label in row.get("labels") or ())]
    return [f"s3://raw/{key}" for key in sure[:3]]


def test_labels_give_a_rule_that_works(place: Workspace, robins: list[str]) -> None:
    """The printed rule, pasted into a job, keeps the images it came from; the second look is free."""
    Image.new("RGB", (200, 150), "red").save(place.folder / "local.jpg")
    found = place.json("labels", *robins, "local.jpg", "--confidence", "60", "--ignore", "sky")
    assert [image["uri"] for image in found["images"]] == [*robins, "local.jpg"]
    assert "Robin" in found["selected"]
    assert not {"Animal", "Bird", "Nature", "Outdoors", "Sky"} & set(found["selected"])
    assert found["calls"] == 4
    assert found["spent_usd"] == 0.004
    assert place.json("labels", *robins, "local.jpg")["calls"] == 0
    pasted = write_job(
        place.folder / "pasted.yaml", **JOB | {"rules": None, "otherwise": None, "checkpoint": "pasted.db"}
    )
    pasted.write_text(pasted.read_text() + found["rule"])
    code, out, err = place.here("run", "pasted.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] >= 3


def test_labels_for_people(place: Workspace, robins: list[str]) -> None:
    """Labels, boxes, what is too general and why, the rule and the money."""
    code, out, err = place.here("labels", *robins, "--confidence", "60")
    assert code == 0, err
    for words in (robins[0], "Bird > Animal", "above Robin", "3 of 3", "- keep: {any: [", "3 paid calls, $0.003"):
        assert words in out


def test_a_job_that_is_like_good_images(place: Workspace, robins: list[str]) -> None:
    """``like`` uses what ``labels`` paid for; the log names what it came to; refilter works, and never pays."""
    place.here("labels", *robins)
    rules = [{"keep": {"like": robins, "ignore": ["Wood"], "confidence": 60}}]
    write_job(place.folder / "like.yaml", **JOB | {"name": "like", "rules": rules})
    code, out, err = place.here("run", "like.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] > 0
    assert "like_resolved" in err
    assert "Robin" in err
    code, _, err = place.here("refilter", "like.yaml", "--set", "rules[0].keep.confidence=75")
    assert code in {0, 1}, err
    code, _, err = place.here("refilter", "like.yaml", "--set", "rules[0].keep.like=s3://raw/other.jpg")
    assert code == 2
    assert "not known" in err
