"""``labels`` and ``plan`` as commands: their output, questions, payments and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.errors import ExitCode
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
    """One sandbox for all tests."""
    with SandboxProcess(
        SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),), tps=200.0)
    ) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace."""
    return Workspace(tmp_path, sandbox, **JOB)


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_plan_is_free(workspace: Workspace) -> None:
    """Without a sample nothing is paid and no file is written; the figures are those of the listing."""
    before = workspace.billed()
    found = workspace.json("plan", "job.yaml")
    assert found["listed"] == PICTURES
    assert found["candidates"] + sum(found["skipped"].values()) == PICTURES
    assert found["unpaid"] == found["candidates"]
    assert found["calls"] == found["unpaid"] - found["same_content"]
    assert found["cost_usd"] == pytest.approx(found["calls"] / 1000)
    assert (found["ends"], found["tps"], found["sample"]) == ("completed", 200.0, None)
    assert found["hours"] == pytest.approx(found["calls"] / 200 / 3600, abs=1e-4)
    assert found["by_hand_usd"] == pytest.approx([0.037 * found["candidates"], 0.111 * found["candidates"]])
    assert (found["by_hand"]["hour_usd"], found["by_hand"]["images_per_hour"]) == (44.4, 1200)
    assert "BLS" in found["by_hand"]["source"]
    assert workspace.billed() == before
    assert not (workspace.folder / ".asyncfilter").exists()


def test_a_sample_is_kept_for_the_run(workspace: Workspace) -> None:
    """A sample is paid for once and gives estimates with intervals; the run pays for the other images."""
    found = workspace.json("plan", "job.yaml", "--sample", "30", "--yes")
    sample = found["sample"]
    assert sample["examined"] == 30
    for name in ("hit_rate", "failure_share", "keep_total", "total_usd", "kept_usd"):
        assert sample[name]["low"] <= sample[name]["value"] <= (sample[name]["high"] or float("inf"))
    assert sample["confidence"] == 0.95
    code, _, err = workspace.here("plan", "job.yaml", "--sample", "30", "--yes")
    assert code == 0, err
    before = workspace.billed()
    code, out, err = workspace.here("run", "job.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["this_run"]["calls"] == found["calls"] - sample["calls"]
    assert workspace.billed() - before == json.loads(out)["this_run"]["billed_calls"]


def test_a_sample_in_a_script_needs_a_yes(workspace: Workspace) -> None:
    """Without a terminal and without ``--yes`` nothing is listed and nothing is paid: exit 2, and the flag is named."""
    result = workspace("plan", "job.yaml", "--sample", "5")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert not (workspace.folder / ".asyncfilter").exists()


@pytest.mark.parametrize(("answer", "calls"), [("n\n", 0), ("y\n", 5)])
def test_the_price_is_shown_before_the_question(workspace: Workspace, answer: str, calls: int) -> None:
    """On a terminal the question names calls and dollars; nothing is paid without a yes; the plan is always shown."""
    before = workspace.billed()
    terminal = workspace.terminal("plan", "job.yaml", "--sample", "5", has_stdout=False)
    terminal.read_until("[y/N]")
    assert "5 calls, $0.005" in terminal.seen
    terminal.type(answer)
    assert terminal.end() == 0
    assert "listed" in terminal.out
    assert ("hit rate" in terminal.out) == bool(calls)
    assert workspace.billed() - before <= calls


def test_the_cost_by_hand_is_that_of_the_users_own_people(workspace: Workspace) -> None:
    """Hourly cost and pace are settings of the job; the plan says so, and no closed market is named."""
    own = ("--set", "pricing.by_hand.hour_usd=30", "--set", "pricing.by_hand.images_per_hour=600")
    found = workspace.json("plan", "job.yaml", *own)
    assert found["by_hand_usd"] == pytest.approx([0.05 * found["candidates"], 0.15 * found["candidates"]])
    assert found["by_hand"]["hours"] == pytest.approx([found["candidates"] / 600, found["candidates"] / 200], abs=0.005)
    assert found["by_hand"]["source"] == "pricing.by_hand of the job file"
    _, out, _ = workspace.here("plan", "job.yaml", *own)
    text = " ".join(out.split())
    assert "1 to 3 people look at each image, 600 an hour at $30.00 an hour" in text
    assert "BLS" not in text
    _, out, _ = workspace.here("plan", "job.yaml")
    assert "BLS" in out
    assert not {"crowd", "Ground Truth", "Turk"} & set(out.split())


def test_nothing_has_no_cost_by_hand(workspace: Workspace) -> None:
    """Of no image there is no work for people."""
    code, out, _ = workspace.here("plan", "job.yaml", "--set", "source.uri=s3://raw/nothing-here/")
    assert (code, "nothing to examine" in out, "by hand" in out) == (0, True, False)


def test_a_plan_as_text(workspace: Workspace) -> None:
    """The same figures as text, with a warning where the order makes a stop rule doubtful."""
    code, out, _ = workspace.here(
        "plan", "job.yaml", "--set", "source.order=listing", "--set", "limits.budget_usd=0.01"
    )
    assert code == 0
    for text in ("listed", "to pay for", "for 10 calls", "ends the run", "by hand", "no random sample of the rest"):
        assert text in " ".join(out.split())


def test_labels_of_many_images_need_a_yes(workspace: Workspace) -> None:
    """A pattern of the shell that matched too much pays for nothing."""
    many = [f"s3://raw/{number}.jpg" for number in range(21)]
    before = workspace.billed()
    code, _, err = workspace.here("labels", *many)
    assert (code, workspace.billed()) == (2, before)
    assert "21 images are more than a few references, and each is paid for" in err
    assert "--yes" in err
    assert "no such object" in workspace.here("labels", *many, "--yes")[2]
    assert "no such object" in workspace.here("labels", *many[:20], many[0])[2]


def test_a_plan_names_the_next_step(workspace: Workspace) -> None:
    """A sample before anything is paid, and the run; the run alone when all labels are there."""
    before = workspace.here("plan", "job.yaml")[1].splitlines()
    (first,) = (at for at, line in enumerate(before) if line.startswith("next "))
    assert "--sample" in before[first]
    assert "run job.yaml" in " ".join(before[first + 1 :])
    workspace.here("run", "job.yaml", "--dry-run")
    after = workspace.here("plan", "job.yaml")[1].splitlines()
    (only,) = (line for line in after if line.startswith("next "))
    assert "run job.yaml" in only


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("plan", "absent.yaml"), 2, "absent.yaml"),
        (("plan", "job.yaml", "--sample", "-3"), 2, "--sample"),
        (("plan", "job.yaml", "--on", "ray"), 2, "--on ray: only a sample is examined"),
        (("plan", "job.yaml", "--json", "--events", "-", "--sample", "1", "--yes"), 2, "stdout"),
        (("plan", "job.yaml", "--set", "source.uri=s3://no-such-bucket/"), 4, "no-such-bucket"),
        (("labels",), 2, "IMAGE"),
        (("labels", "absent.jpg"), 2, "absent.jpg"),
        (("labels", "s3://raw/absent.jpg"), 2, "no such object"),
        (("labels", "s3://no-such-bucket/x.jpg"), 4, "no-such-bucket"),
        (("labels", "s3://raw/absent.jpg", "--confidence", "101"), 2, "--confidence"),
    ],
)
def test_errors_are_reported_in_a_line(workspace: Workspace, arguments: tuple[str, ...], code: int, text: str) -> None:
    """Each mistake has its exit code and a message, and no traceback."""
    found, _, err = workspace.here(*arguments)
    assert (found, text in err, "Traceback" in err) == (code, True, False), err


def test_a_file_that_is_no_picture_is_named_as_it_was_given(workspace: Workspace) -> None:
    """It is in no bucket, so it has no address in S3."""
    code, _, err = workspace.here("labels", "./job.yaml")
    assert (code, "): ./job.yaml: the object is not a JPEG or PNG" in err, "s3:///" in err) == (2, True, False), err


def test_another_source_is_refused(workspace: Workspace) -> None:
    """A plan of a job whose checkpoint is of another source gives the run's error: exit 3."""
    workspace.here("plan", "job.yaml", "--sample", "1", "--yes")
    code, _, err = workspace.here("plan", "job.yaml", "--set", "source.uri=s3://raw/raw/robin/")
    assert code == 3
    assert "source.uri" in err


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robins(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Addresses of three intact pictures of robins."""
    workspace = Workspace(tmp_path_factory.mktemp("robins"), sandbox, **JOB)
    workspace.here("plan", "job.yaml", "--sample", str(PICTURES), "--yes")
    _, out, _ = workspace.here("export", "job.yaml", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    sure = [row["key"] for row in rows if any(label["name"] == "Robin" for label in row.get("labels") or ())]
    return [f"s3://raw/{key}" for key in sure[:3]]


def test_labels_give_a_rule_that_works(workspace: Workspace, robins: list[str]) -> None:
    """The printed rule, pasted into a job, keeps the images it came from; the second call is free."""
    Image.new("RGB", (200, 150), "red").save(workspace.folder / "local.jpg")
    found = workspace.json("labels", *robins, "local.jpg", "--confidence", "60", "--ignore", "sky")
    assert [image["uri"] for image in found["images"]] == [*robins, "local.jpg"]
    assert "Robin" in found["selected"]
    assert not {"Animal", "Bird", "Nature", "Outdoors", "Sky"} & set(found["selected"])
    assert found["calls"] == 4
    assert found["spent_usd"] == 0.004
    assert workspace.json("labels", *robins, "local.jpg")["calls"] == 0
    pasted = write_job(
        workspace.folder / "pasted.yaml", **JOB | {"rules": None, "otherwise": None, "checkpoint": "pasted.db"}
    )
    pasted.write_text(pasted.read_text() + found["rule"])
    code, out, err = workspace.here("run", "pasted.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] >= 3


def test_labels_as_text(workspace: Workspace, robins: list[str]) -> None:
    """The text has labels, boxes, names that are too general with the reason, the rule and the cost."""
    code, out, err = workspace.here("labels", *robins, "--confidence", "60")
    assert code == 0, err
    for text in (robins[0], "Bird > Animal", "above Robin", "3 of 3", "- keep: {any: [", "3 paid calls, $0.003"):
        assert text in out


def test_a_job_that_is_like_good_images(workspace: Workspace, robins: list[str]) -> None:
    """``like`` uses the labels that ``labels`` paid for; the log names the result; refilter works and never pays."""
    workspace.here("labels", *robins)
    rules = [{"keep": {"like": robins, "ignore": ["Wood"], "confidence": 60}}]
    write_job(workspace.folder / "like.yaml", **JOB | {"name": "like", "rules": rules})
    code, out, err = workspace.here("run", "like.yaml", "--json")
    assert code in {0, 1}, err
    assert json.loads(out)["keep"] > 0
    assert "like_resolved" in err
    assert "Robin" in err
    code, _, err = workspace.here("refilter", "like.yaml", "--set", "rules[0].keep.confidence=75")
    assert code in {0, 1}, err
    code, _, err = workspace.here("refilter", "like.yaml", "--set", "rules[0].keep.like=s3://raw/other.jpg")
    assert code == 2
    assert "not known" in err


def test_labels_of_an_unreachable_service_is_a_failure_of_access(workspace: Workspace) -> None:
    """Where no engine repeats a call, a missing connection is no internal error."""
    env = {**workspace.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    ended = workspace("labels", "s3://bucket/a.jpg", "--yes", env=env)
    assert ended.returncode == ExitCode.ACCESS
    assert "hint: Check the network, AWS_ENDPOINT_URL" in ended.stderr
