"""``audit`` and ``calibrate``: what is asked, what the answers certify, and what is written."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.cli.app import command_line
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import ByHand
from asyncfilter.model import ActionKind, Failure
from asyncfilter.records.answers import AskedAs, TakenOver
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.wiring.draws import asked_images
from tests.kit.audits import AuditedJob, audited_job, image, is_good, subjects
from tests.kit.jobs import write_job


class Commands:
    """Runs commands about one job."""

    def __init__(self, audited: AuditedJob) -> None:
        self.audited = audited
        self.folder = audited.path.parent

    def __call__(self, name: str, *options: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = command_line([name, str(self.audited.path), *options])
        return code, out.getvalue(), err.getvalue()

    def json(self, name: str, *options: str, code: int = 0) -> dict[str, Any]:
        """What ``--json`` says."""
        found, out, err = self(name, *options, "--json")
        assert found == code, err
        mapping: dict[str, Any] = json.loads(out)
        return mapping

    def ask(self, *options: str) -> Path:
        """A file of tasks with what ``audit`` asks."""
        tasks = self.folder / "tasks.json"
        code, _, err = self("audit", "-o", str(tasks), "--yes", *options)
        assert code == 0, err
        return tasks

    def answer_all(self, *options: str, times: int = 1) -> None:
        """Ask and answer honestly, milestone after milestone."""
        for _ in range(times):
            self.audited.answer(subjects(self.ask(*options)))
            options = ()


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """A job of 1,500 images."""
    return Commands(audited_job(tmp_path, 1500))


def parts(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Both parts of the first draw or rule."""
    yield from (found.get("draws") or found["rules"])[0]["parts"].values()


# -- audit -------------------------------------------------------------------------------------------------------------


def test_nothing_to_work_on_is_said(tmp_path: Path) -> None:
    """Without a checkpoint, or without a draw, the exit code is 1 and the hint names the command that helps."""
    commands = Commands(AuditedJob(path=write_job(tmp_path / "job.yaml")))
    for name in ("audit", "calibrate"):
        code, _, err = commands(name)
        assert (code, "asyncfilter run" in err) == (1, True)
    commands = Commands(audited_job(tmp_path, 10))
    code, _, err = commands("calibrate")
    assert (code, "asyncfilter audit" in err) == (1, True)
    assert not (tmp_path / ".asyncfilter" / "robins.answers.db").exists()


def test_a_draw_is_frozen_until_another_is_asked_for(commands: Commands) -> None:
    """Later calls repeat it; other options are refused; ``--new`` draws again, and the old draw stays."""
    first = commands.json("audit", "--precision", "0.9", "--milestones", "50,25")
    (draw,) = first["draws"]
    assert {name: draw[name] for name in ("draw", "rule", "seed", "confidence", "precision", "recall", "floor")} == {
        "draw": 1, "rule": 1, "seed": 1, "confidence": 0.95, "precision": 0.9, "recall": None, "floor": 60.0,
    }  # fmt: skip
    assert [part["milestones"] for part in parts(first)] == [[25, 50], [25, 50]]
    assert commands.json("audit") == first
    assert (
        commands.json("audit", "--precision", "0.9", "--milestones", "25,50", "--floor", "60", "--seed", "1") == first
    )
    for option, value in (("--precision", "0.8"), ("--recall", "0.9"), ("--confidence", "0.9"), ("--floor", "70"),
                          ("--milestones", "25"), ("--seed", "2")):  # fmt: skip
        code, _, err = commands("audit", option, value)
        assert (code, "--new" in err, option in err) == (2, True, True)
    again = commands.json("audit", "--new", "--floor", "70")
    assert (again["draws"][0]["draw"], again["draws"][0]["seed"], again["draws"][0]["floor"]) == (2, 2, 70.0)
    assert commands.json("audit") == again
    commands.answer_all()
    assert commands.json("calibrate", "--draw", "1")["rules"][0]["draw"] == 1


def test_a_target_chosen_after_answers_in_the_same_order_is_cautioned_about(commands: Commands) -> None:
    """The caution stays with the draw; one without answers, or in another order, has none."""
    assert commands.json("audit", "--milestones", "50")["cautions"] == []
    assert commands.json("audit", "--new", "--seed", "1", "--milestones", "50")["cautions"] == []
    commands.answer_all()
    (caution,) = commands.json("audit", "--new", "--seed", "1", "--precision", "0.8", "--milestones", "50")["cautions"]
    assert "draw 3 of rules[1] has the order of draw 2" in caution
    assert commands.json("calibrate")["cautions"] == commands.json("audit")["cautions"] == [caution]
    assert commands.json("calibrate", "--draw", "1")["cautions"] == []
    assert commands.json("audit", "--new", "--milestones", "50")["cautions"] == []


def test_two_jobs_of_one_name_that_share_answers_share_no_draw(tmp_path: Path) -> None:
    """Another source makes another job of it: each has its own draw, and neither takes that of the other by number."""
    both = [
        Commands(audited_job(tmp_path / source, 60, source=f"s3://{source}/", answers=str(tmp_path / "a.db")))
        for source in ("one", "other")
    ]
    found = [
        commands.json("audit", "--precision", precision)["draws"]
        for commands, precision in zip(both, ("0.9", "0.8"), strict=True)
    ]
    assert [[draw["draw"] for draw in draws] for draws in found] == [[1], [2]]
    assert [commands.json("calibrate")["rules"][0]["precision"] for commands in both] == [0.9, 0.8]
    assert both[1]("calibrate", "--draw", "1")[0] == 1


def test_a_draw_beside_a_lost_answers_file_is_cautioned_about(commands: Commands) -> None:
    """The job follows the lost one, and refuses the file that the draw makes until the lost one is merged into it."""
    job = commands.audited.job
    followed = TakenOver(id="0" * 32, serial=7)

    async def follow() -> None:
        checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
        await checkpoint.commit(Batch(answers=followed))
        await checkpoint.aclose()

    asyncio.run(follow())
    (caution,) = commands.json("audit")["cautions"]
    assert followed.id in caution
    assert commands.json("audit")["cautions"] == []


@pytest.mark.parametrize("price", ["inf", "1e400", "nan", "-1"])
def test_a_price_is_a_number(commands: Commands, price: str) -> None:
    """Infinity has no place in JSON."""
    assert commands("calibrate", "--hourly-usd", price)[0] == 2


def test_images_examined_since_and_those_in_no_population_are_counted(commands: Commands) -> None:
    """A frozen draw does not grow; what came later is said."""
    before = commands.json("audit")
    replace = msgspec.structs.replace
    moved = DoneEffect(ActionKind.MOVE, "s3://x/y")
    commands.audited.add(
        [
            image(1501),
            image(1502),
            replace(image(1503), effects=(moved,)),
            replace(image(1504), detection=None, failure=Failure("denied", "no")),
            replace(image(1505), seq=None),
        ]
    )
    after = commands.json("audit")
    assert after["draws"] == before["draws"]
    assert before["examined_since"] == 0
    assert before["excluded"] == {"failed": 0, "unplaced": 0, "removed": 0}
    assert after["examined_since"] in {2, 3}  # with the moved one, where the checkpoint stored its move
    assert after["excluded"]["failed"] == 1
    assert after["excluded"]["unplaced"] == 1


def test_each_format_asks_the_same_images_and_is_blind(commands: Commands) -> None:
    """No verdict, score or rule of the machine is in any of them, unless it is asked for."""
    keys: dict[str, list[str]] = {}
    for name in ("label-studio", "csv", "jsonl", "ground-truth"):
        code, out, err = commands("audit", "--milestones", "20", "--format", name, "-o", "-")
        assert code == 0, err
        assert not any(word in out for word in ("prediction", 'verdict":', "score", "Robin", "reject"))
        if name == "csv":
            rows = list(csv.reader(io.StringIO(out, newline="")))
            assert ",".join(rows[0]) == "key,verdict,label,labels,reviewer,at,bucket,etag,size_bytes,note"
            assert {row[1] for row in rows[1:]} == {""}
            keys[name] = [row[0] for row in rows[1:]]
        elif name == "label-studio":
            keys[name] = [task["data"]["asyncfilter"]["key"] for task in json.loads(out)]
        else:
            lines = [json.loads(line) for line in out.splitlines()]
            keys[name] = [line.get("key") or line["source-ref"].removeprefix("s3://raw/") for line in lines]
            if name == "jsonl":
                assert list(lines[0]) == ["draw", "part", "position", "bucket", "key", "etag", "size_bytes"]
                assert [(line["part"], line["position"]) for line in lines] == [
                    (part, position) for part in ("taken", "rest") for position in range(1, 21)
                ]
    assert len(keys["csv"]) == 40
    assert keys["csv"] == keys["label-studio"] == keys["jsonl"] == keys["ground-truth"]


def test_the_machine_is_shown_where_it_is_asked_for(commands: Commands) -> None:
    """Tasks then have a prediction with the rules' verdict and its score; formats without a place refuse."""
    _, out, _ = commands("audit", "--milestones", "20", "--show-machine", "-o", "-")
    tasks = json.loads(out)
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"3.0"}
    choices = [
        result["value"]["choices"]
        for task in tasks
        for result in task["predictions"][0]["result"]
        if result["from_name"] == "verdict"
    ]
    assert {choice for one in choices for choice in one} == {"keep", "reject"}
    for name in ("csv", "ground-truth"):
        code, _, err = commands("audit", "--show-machine", "--format", name, "-o", "-")
        assert (code, "--show-machine" in err) == (2, True)


def test_only_what_lacks_an_answer_up_to_the_next_milestone_is_asked(commands: Commands) -> None:
    """The prefix ends at the first gap; answers beyond it are not asked again; ``--all`` writes every position."""
    asked = subjects(commands.ask("--milestones", "20,40"))
    assert len(asked) == 40
    commands.audited.answer(asked[3:])
    taken, rest = parts(commands.json("audit"))
    assert (taken["prefix"], taken["answered"], taken["next_milestone"], taken["missing"]) == (0, 17, 20, 3)
    assert (rest["prefix"], rest["answered"], rest["next_milestone"], rest["missing"]) == (20, 20, 40, 20)
    first = asked_images(commands.audited.job).first
    again = subjects(commands.ask())
    assert [one.key for one in first] == [one.key for one in again]
    assert again[:3] == asked[:3]
    assert len(again) == 23
    assert len(subjects(commands.ask("--all"))) == 80
    commands.audited.answer(again)
    commands.answer_all()
    for part in parts(commands.json("audit")):
        assert (part["prefix"], part["next_milestone"], part["missing"]) == (40, None, None)
    assert subjects(commands.ask()) == []


def test_milestones_of_small_parts(tmp_path: Path) -> None:
    """Those below the size of a part, and the size itself where a larger one was announced; none without an image."""
    commands = Commands(audited_job(tmp_path, 60, rules=[{"keep": {"any": ["Robin"], "confidence": 30}}]))
    taken, rest = parts(commands.json("audit", "--milestones", "10,50,200"))
    assert (taken["images"], taken["milestones"]) == (60, [10, 50, 60])
    assert (rest["images"], rest["milestones"], rest["next_milestone"], rest["missing"]) == (0, [], None, None)
    code, out, _ = commands("audit")
    assert (code, "no image" in out) == (0, True)


def test_objects_that_changed_or_vanished_count_as_unsure(commands: Commands) -> None:
    """They are not asked; in the part taken they count against the rule, whatever was said about them before."""
    asked = subjects(commands.ask("--milestones", "25"))
    commands.audited.answer(asked)
    before = commands.json("calibrate")["rules"][0]["thresholds"][0]
    gone = next(one for one in asked if is_good(one.key))
    changed = int(gone.key[2:8])
    commands.audited.add(
        [msgspec.structs.replace(image(changed), id=2000, seq=2000, etag="f" * 32)], unplaced=[changed]
    )
    taken, _ = parts(commands.json("audit"))
    assert (taken["changed"], taken["answered"], taken["prefix"]) == (1, 25, 25)
    after = commands.json("calibrate")["rules"][0]["thresholds"][0]
    assert (after["good"], after["unsure"]) == (before["good"] - 1, before["unsure"] + 1)
    assert gone not in subjects(commands.ask("--all"))


def test_several_rules_are_drawn_in_one_pass(tmp_path: Path) -> None:
    """Each has a draw and a seed of its own; ``--rule`` takes some; an image of two draws is asked once."""
    rules = [{"keep": {"any": ["Robin"], "confidence": 90}}, {"keep": {"all": ["Robin"], "confidence": 80}}]
    commands = Commands(audited_job(tmp_path, 300, rules=rules))
    found = commands.json("audit", "--milestones", "100")
    assert [(draw["draw"], draw["rule"], draw["seed"]) for draw in found["draws"]] == [(1, 0, 1), (2, 1, 2)]
    assert [draw["rule"] for draw in commands.json("audit", "--rule", "1")["draws"]] == [1]
    assert [rule["rule"] for rule in commands.json("calibrate", "--rule", "1")["rules"]] == [1]
    asked = subjects(commands.ask())
    assert len(asked) == len(set(asked))
    lines = commands("audit", "--format", "jsonl", "-o", "-")[1].splitlines()
    assert len(lines) > len(asked)
    for option in ("5", "-1"):
        assert commands("audit", "--rule", option)[0] == 2


def test_no_population_is_exit_1_and_leaves_no_file(tmp_path: Path) -> None:
    """An earlier rule takes every image."""
    rules = [{"reject": {"any": ["Robin"], "confidence": 1}}, {"keep": {"any": ["Robin"]}}]
    commands = Commands(audited_job(tmp_path, 20, rules=rules))
    assert commands("audit")[0] == 1
    assert not commands.audited.job.answers_path.exists()


# -- calibrate ---------------------------------------------------------------------------------------------------------


def test_from_answers_to_a_changed_job(commands: Commands) -> None:
    """A lower threshold is certified, written, and true: the job has it, and nothing else of the file changes."""
    commands.answer_all("--precision", "0.9", "--recall", "0.9", "--milestones", "100,200,400", times=3)
    rule = commands.json("calibrate", "--hourly-usd", "30")["rules"][0]
    certified, advice = rule["certified"], rule["advice"]
    assert certified["keep_from"] < 85
    assert (certified["precision"], certified["confidence"]) == (0.9, 0.95)
    kept = [one for one in map(image, range(1, 1501)) if _robin(one) >= certified["keep_from"] and not _person(one)]
    assert sum(one.key.startswith("g/") for one in kept) / len(kept) >= 0.9
    assert (advice["keep_from"], advice["kept"]) == (certified["keep_from"], len(kept))
    assert rule["losses"]["certified"]
    (change, *_) = advice["patch"]
    assert (change["path"], change["from"], change["to"]) == ("rules[1].keep.confidence", 85, advice["keep_from"])
    assert advice["set"][0] == f"rules[1].keep.confidence={advice['keep_from']:g}"
    assert advice["usd_people"] == pytest.approx(advice["hours"] * 30)

    before = commands.audited.path.read_bytes()
    code, _, err = commands("calibrate", "--write")
    assert (code, "--yes" in err, commands.audited.path.read_bytes()) == (130, True, before)
    found = commands.json("calibrate", "--write", "--yes")
    assert found["written"] is True
    after = commands.audited.path.read_bytes()
    lines = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(lines) == len(advice["patch"])
    assert commands.audited.job.rules[1].conditions[0].confidence_pct == advice["keep_from"]
    again = commands.json("calibrate", "--write", "--yes")
    assert (again["written"], again["rules"][0]["outdated"], again["rules"][0]["advice"]["patch"]) == (False, False, [])
    assert again["rules"][0]["certified"] == certified
    assert (again["rules"][0]["keep_from"], again["rules"][0]["drawn_keep_from"]) == (advice["keep_from"], 85)


def test_what_people_cost_is_what_plan_counts_with(commands: Commands) -> None:
    """Without ``--hourly-usd`` it is ``pricing.by_hand`` of the job; no market is named that takes no new customers."""
    commands.answer_all("--precision", "0.95", "--milestones", "100,200,400", times=3)
    advice = commands.json("calibrate")["rules"][0]["advice"]
    assert advice["asked"]
    assert advice["usd_people"] == pytest.approx(advice["hours"] * ByHand().hour_micros / 1e6)
    own = ("--set", "pricing.by_hand.hour_usd=1000")
    assert commands.json("calibrate", *own)["rules"][0]["advice"]["usd_people"] == pytest.approx(advice["hours"] * 1000)
    assert commands.json("calibrate", *own, "--hourly-usd", "0")["rules"][0]["advice"]["usd_people"] == 0
    _, shown, _ = commands("calibrate", *own)
    words = " ".join(shown.split())
    assert f"for one person, ${advice['hours'] * 1000:,.2f}" in words
    assert "Ground Truth" not in words


def _robin(one: StoredImage) -> float:
    assert one.detection is not None
    return max(label.confidence_pct for label in one.detection.labels if label.name == "Robin")


def _person(one: StoredImage) -> bool:
    assert one.detection is not None
    return any(label.name == "Person" for label in one.detection.labels)


def test_a_rule_that_changed_is_outdated_and_not_written(commands: Commands) -> None:
    """Its figures are shown, without advice; ``--write`` exits 1 and changes nothing."""
    commands.answer_all("--precision", "0.8", "--milestones", "100", times=1)
    text = commands.audited.path.read_text("utf-8").replace("Person", "People")
    commands.audited.path.write_text(text, "utf-8")
    found = commands.json("calibrate", "--write", "--yes", code=1)
    rule = found["rules"][0]
    assert (rule["outdated"], rule["advice"], rule["advice_reason"]) == (True, None, "outdated")
    assert found["written"] is False
    assert commands.audited.path.read_text("utf-8") == text
    assert commands.json("audit")["draws"][0]["outdated"] is True


def test_a_threshold_that_is_not_in_the_file_is_not_written(tmp_path: Path) -> None:
    """The advice stands; there is no number that could be changed."""
    rules = [{"keep": {"any": ["Robin"]}}]
    commands = Commands(audited_job(tmp_path, 800, rules=rules))
    commands.answer_all("--precision", "0.6", "--milestones", "100", "--floor", "40")
    before = commands.audited.path.read_bytes()
    rule = commands.json("calibrate", "--write", "--yes", code=1)["rules"][0]
    assert "not written in the file" in rule["advice"]["patch_problem"]
    assert (rule["advice"]["patch"], rule["advice"]["set"]) == (
        [], [f"rules[0].keep.confidence={rule['advice']['keep_from']:g}"]
    )  # fmt: skip
    assert commands.audited.path.read_bytes() == before


def test_another_target_is_only_looked_at(commands: Commands) -> None:
    """``--set-precision`` certifies nothing, unless it is the announced one."""
    commands.answer_all("--precision", "0.8", "--milestones", "100")
    rule = commands.json("calibrate", "--set-precision", "0.5")["rules"][0]
    assert (rule["announced"], rule["precision"], rule["certified"]) == (False, 0.5, None)
    assert rule["advice_reason"] == "not_announced"
    assert not any(one["certified"] for one in rule["thresholds"])
    same = commands.json("calibrate", "--set-precision", "0.8")["rules"][0]
    assert (same["announced"], same["certified"] is not None) == (True, True)
    for value in ("0", "1.5", "nan"):
        assert commands("calibrate", "--set-precision", value)[0] == 2


def test_a_rule_without_a_score_is_measured_and_not_advised(tmp_path: Path) -> None:
    """One threshold, its own; 98 images are the whole part."""
    rules = [{"keep": {"any": ["Robin"], "none": ["Person"], "confidence": 80}}]
    commands = Commands(audited_job(tmp_path, 400, rules=rules))
    assert commands("audit")[0] == 1
    commands.answer_all("--rule", "0", "--precision", "0.9", "--milestones", "100")
    rule = commands.json("calibrate")["rules"][0]
    (threshold,) = rule["thresholds"]
    assert (threshold["threshold"], threshold["n"], threshold["certified"]) == (80.0, 98, True)
    assert (rule["advice"], rule["advice_reason"]) == (None, "no_score")


def test_agreement_and_pace(commands: Commands) -> None:
    """Every twentieth position asked twice gives a pair; the median time an image was shown is the pace."""
    asked = subjects(commands.ask("--milestones", "40"))
    commands.audited.answer(asked, shown_ms=2000)
    twice = [one for number, one in enumerate(asked[:40], 1) if number % 20 == 0]
    commands.audited.answer(twice, asked_as=AskedAs.SECOND, reviewer="ben")
    assert [look.image.key for look in asked_images(commands.audited.job).second][:1] == [asked[59].key]
    commands.audited.answer(asked[:5], asked_as=AskedAs.SECOND, reviewer="carl", word=lambda _: "unsure")
    found = commands.json("calibrate")
    assert found["agreement"] == {"pairs": 2, "agreed": None, "share": None, "low": None, "high": None, "ac1": None}
    assert found["reviewers"] == [
        {"name": "anna", "answers": 80, "seconds": 2.0},
        {"name": "ben", "answers": 2, "seconds": None},
        {"name": "carl", "answers": 5, "seconds": None},
    ]


def test_the_checkpoint_is_only_read(commands: Commands) -> None:
    """Not one byte of it changes, and a lock that a run holds does not matter."""
    path = commands.audited.job.checkpoint
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as run:
        run.execute("BEGIN IMMEDIATE")
        commands.answer_all("--milestones", "20")
        assert commands("calibrate")[0] == 0
        run.execute("ROLLBACK")
    assert path.read_bytes() == before


def test_the_text_says_what_is_certain_and_what_is_missing(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 40 columns too."""
    commands.ask("--precision", "0.8", "--milestones", "100,200")
    _, out, _ = commands("calibrate")
    assert "no threshold is certified yet" in out
    assert "100 missing for the statement at 100 answers" in out
    commands.answer_all()
    _, out, _ = commands("calibrate")
    assert "What a certificate means" in out
    assert "--write" in out
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = commands("calibrate")
    assert max(map(len, out.splitlines())) <= 40
    assert "\u25cf" in out


def test_people_who_err_certify_nothing(commands: Commands) -> None:
    """All unsure: nothing is good in the part taken, and everything may be lost in the rest."""
    asked = subjects(commands.ask("--milestones", "50"))
    commands.audited.answer(asked, word=lambda _: "unsure")
    rule = commands.json("calibrate")["rules"][0]
    assert rule["certified"] is None
    assert {one["good"] for one in rule["thresholds"]} == {0}
    assert rule["losses"]["good"] == 50
