"""``audit`` and ``calibrate`` from the outside: every figure recomputed from labels and answers, without their code."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any, cast

import pytest

from asyncfilter.answers import new_uid, open_answers
from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.job import load_job
from asyncfilter.job.fingerprint import identity
from asyncfilter.model import Detection, Label
from asyncfilter.policy.calibration import Announced, Candidate, Part, Position, RuleDraw
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.answers import CurrentVerdict, NewAnswer, PersonVerdict, Subject
from asyncfilter.records.progress import Batch, Watermark
from asyncfilter.sandbox import SandboxProcess
from tests.kit import calibration_oracle as oracle
from tests.kit.checkpoints import stored_image
from tests.kit.workspace import Workspace

IMAGES, SEED, FLOOR, PRESENT = 300, 11, 60.0, 85.0
PRECISION, RECALL = 0.87, 0.85
MILESTONES = {"taken": (30, 60, 120), "rest": (30, 60, 120)}
RULES = [
    {"reject": {"any": "Person", "confidence": 80}},
    {"keep": {"any": "Robin", "confidence": PRESENT}},
    {"review": {"any": "Robin", "confidence": FLOOR}},
    {"keep": {"any": "Owl", "confidence": 90}},
]
AUDIT = ("--precision", str(PRECISION), "--recall", str(RECALL), "--confidence", "0.9", "--seed", str(SEED))


def labels_of(rng: random.Random) -> dict[str, float]:
    """Labels with confidences of two decimals, some of them exactly those of rules."""
    found = {"Robin": rng.choice([60, 85, 84.99, 59.99, *(rng.randint(3000, 10_000) / 100 for _ in range(12))])}
    return found | {name: rng.randint(5000, 10_000) / 100 for name in ("Person", "Owl") if rng.random() < 0.2}


LABELS = {f"robin/{number:03}.jpg": labels_of(random.Random(number)) for number in range(IMAGES)}


class _NoService:
    """What a workspace needs of a sandbox, for commands that call no service."""

    def environment(self) -> dict[str, str]:
        """No settings of AWS."""
        return {}


@pytest.fixture
async def job(tmp_path: Path) -> Workspace:
    """A job that has examined images with exactly these labels."""
    workspace = Workspace(tmp_path, cast("SandboxProcess", _NoService()), rules=RULES)
    loaded = load_job(workspace.job)
    rules = compile_rules(loaded)
    images = []
    for number, (key, labels) in enumerate(LABELS.items(), 1):
        detection = Detection(tuple(Label(name, pct) for name, pct in labels.items()), "3.0")
        decision = rules.decide(detection)
        images.append(stored_image(number, key=key, detection=detection, decision=decision))
    async with await open_checkpoint(loaded.checkpoint, identity=identity(loaded), name=loaded.name) as checkpoint:
        await checkpoint.commit(Batch(new=images, watermark=Watermark(seq=IMAGES)))
    return workspace


def rank(key: str) -> tuple[int, str]:
    """The rank of an image: a keyed hash of its key, ties by key."""
    digest = hashlib.blake2b(b"audit\n" + key.encode(), digest_size=8, key=SEED.to_bytes(16, "big", signed=True))
    return int.from_bytes(digest.digest(), "big") >> 1, key


def populations() -> tuple[list[str], list[str]]:
    """The keys of both parts in the order of their ranks."""
    population = [key for key, labels in LABELS.items() if labels.get("Person", 0) < 80]
    taken = [key for key in population if LABELS[key]["Robin"] >= FLOOR]
    rest = [key for key in population if LABELS[key]["Robin"] < FLOOR and LABELS[key].get("Owl", 0) < 90]
    return sorted(taken, key=rank), sorted(rest, key=rank)


def word_of(key: str) -> PersonVerdict | None:
    """What people say: mostly the truth, which depends on the score."""
    rng = random.Random(f"word {key}")
    if rng.random() < 0.03:
        return PersonVerdict.UNSURE
    is_good = rng.random() < (
        0.55 + 0.45 * (LABELS[key]["Robin"] - FLOOR) / 30 if LABELS[key]["Robin"] >= FLOOR else 0.02
    )
    return PersonVerdict.KEEP if is_good else PersonVerdict.REJECT


def answer(workspace: Workspace, keys: list[str]) -> dict[str, CurrentVerdict]:
    """Store an answer for each key; the answers."""
    code, out, err = workspace.here("export", "job.yaml")
    assert code == 0, err
    etags = {row["key"]: row for row in map(json.loads, out.splitlines())}
    words = {key: word for key in keys if (word := word_of(key)) is not None}
    with open_answers(workspace.folder / ".asyncfilter" / "robins.answers.db") as file:
        file.add(
            [
                NewAnswer(
                    uid=new_uid(),
                    subject=Subject(
                        bucket="raw", key=key, etag=etags[key]["etag"], size_bytes=etags[key]["size_bytes"]
                    ),
                    reviewer="anna",
                    at_unix_s=1.0,
                    verdict=word,
                    shown_ms=4000,
                )
                for key, word in words.items()
            ]
        )
    return {key: CurrentVerdict(word.value) for key, word in words.items()}


def draw_of(words: dict[str, CurrentVerdict]) -> RuleDraw:
    """What the definitions are computed from."""
    parts = []
    for keys in populations():
        milestones = tuple(n for n in MILESTONES["taken"] if n < len(keys))
        milestones += (len(keys),) if len(keys) <= 120 else ()
        positions = [Position(LABELS[key]["Robin"], words.get(key)) for key in keys[: max(milestones)]]
        parts.append(Part(images=len(keys), milestones=milestones, positions=positions))
    taken = populations()[0]
    thresholds = map(float, range(60, 100))
    return RuleDraw(
        announced=Announced(precision=PRECISION, recall=RECALL, confidence=0.9),
        present=PRESENT,
        floor=FLOOR,
        candidates=tuple(Candidate(one, sum(LABELS[key]["Robin"] >= one for key in taken)) for one in thresholds),
        taken=parts[0],
        rest=parts[1],
    )


def test_audit_draws_by_rank_and_calibrate_counts_the_prefix(job: Workspace) -> None:
    """Positions, prefixes and all figures, with answers that have gaps, and with all answers."""
    taken, rest = populations()
    questions = job.folder / "questions.jsonl"
    found = job.json(
        "audit", "job.yaml", *AUDIT, "--milestones", "30,60,120", "--format", "jsonl", "-o", str(questions)
    )
    (draw,) = [one for one in found["draws"] if one["rule"] == 1]
    assert draw["parts"]["taken"] == _part(len(taken), [30, 60, 120], 0, 0, 30)
    assert draw["parts"]["rest"] == _part(len(rest), [30, 60, len(rest)], 0, 0, 30)
    rows = [row for row in map(json.loads, questions.read_text("utf-8").splitlines()) if row["draw"] == draw["draw"]]
    assert [row["key"] for row in rows] == taken[:30] + rest[:30]
    assert [(row["part"], row["position"]) for row in rows][28:32] == [
        ("taken", 29), ("taken", 30), ("rest", 1), ("rest", 2)
    ]  # fmt: skip

    words = answer(job, taken[:70] + taken[71:110] + taken[140:] + rest[:33] + rest[40:50])
    check(job, words, prefixes=(70, 33), answered=(70 + 39, 43))
    words |= answer(job, [*taken, *rest])
    check(job, words, prefixes=(120, len(rest)), answered=(120, len(rest)))


def _part(images: int, milestones: list[int], prefix: int, answered: int, missing: int) -> dict[str, Any]:
    following = next((n for n in milestones if n > prefix), None)
    return {
        "images": images,
        "milestones": milestones,
        "prefix": prefix,
        "answered": answered,
        "changed": 0,
        "next_milestone": following,
        "missing": missing if following else None,
    }


def check(
    job: Workspace, words: dict[str, CurrentVerdict], *, prefixes: tuple[int, int], answered: tuple[int, int]
) -> None:
    """Compare all figures of rule 1 with what the definitions say."""
    draw = draw_of(words)
    found = job.json("calibrate", "job.yaml", "--rule", "1", "--hourly-usd", "30")
    (rule,) = found["rules"]
    for name, part, prefix, number in zip(("taken", "rest"), (draw.taken, draw.rest), prefixes, answered, strict=True):
        following = next((n for n in part.milestones if n > prefix), 0)
        missing = sum(one.answer is None for one in list(part.positions)[:following])
        assert rule["parts"][name] == _part(part.images, list(part.milestones), prefix, number, missing), name
    target = oracle.decimal(PRECISION)
    by_milestone = {n: oracle.certified_at(draw, n, target) for n in oracle.reached(draw.taken)}
    passed = set().union(*by_milestone.values())
    _check_thresholds(draw, rule["thresholds"], passed)
    low, high = oracle.loss_bounds(draw, 2)
    kept = oracle.kept_low(draw, FLOOR, draw.taken.images, 2)
    assert (rule["losses"]["lost_low"], rule["losses"]["lost_high"]) == (low, high)
    assert rule["losses"]["recall_low"] == pytest.approx(kept / (kept + high), abs=1e-9)
    assert rule["losses"]["certified"] == (kept / (kept + high) >= RECALL)
    _check_next(draw, rule["next"], passed)
    _check_advice(draw, rule, passed, by_milestone)


def _check_thresholds(draw: RuleDraw, found: list[dict[str, Any]], passed: set[int]) -> None:
    n, last = draw.taken.prefix // 25 * 25, oracle.reached(draw.taken)[-1]
    p = oracle.p_values(draw, last, oracle.decimal(PRECISION))
    for number, (one, candidate) in enumerate(zip(found, draw.candidates, strict=True)):
        seen = oracle.seen(draw.taken, n, candidate.threshold)
        low, high = oracle.looked_at(seen.good, seen.n, candidate.images, draw.announced.alpha)
        assert one == {
            "threshold": candidate.threshold,
            "images": candidate.images,
            "n": seen.n,
            "good": seen.good,
            "unsure": seen.unsure,
            "share": pytest.approx(seen.good / seen.n, abs=1e-9) if seen.n else None,
            "low": pytest.approx(float(low), abs=1e-9),
            "high": pytest.approx(float(high), abs=1e-9),
            "p": pytest.approx(float(p[number]), abs=1e-9),
            "milestone": last,
            "certified": number in passed,
        }


def _check_next(draw: RuleDraw, found: dict[str, Any] | None, passed: set[int]) -> None:
    if [one.threshold for one in draw.candidates].index(PRESENT) in passed:
        assert found is None
        return
    expected = oracle.next_answers(draw, oracle.decimal(PRECISION), draw.taken.prefix)
    assert expected is not None
    assert found == {name: getattr(expected, name) for name in expected.__struct_fields__}


def _check_advice(draw: RuleDraw, rule: dict[str, Any], passed: set[int], by_milestone: dict[int, set[int]]) -> None:
    if not passed:
        assert (rule["certified"], rule["advice"], rule["advice_reason"]) == (None, None, "not_certified")
        return
    keep_from = draw.candidates[min(passed)].threshold
    milestone = next(n for n, found in by_milestone.items() if min(passed) in found)
    assert rule["certified"] == {
        "keep_from": keep_from, "precision": PRECISION, "confidence": 0.9, "milestone": milestone
    }  # fmt: skip
    ask_from = oracle.ask_from(draw, keep_from)
    assert ask_from is not None
    images = {one.threshold: one.images for one in draw.candidates}
    advice = rule["advice"]
    assert (advice["keep_from"], advice["ask_from"]) == (keep_from, ask_from)
    asked = images[ask_from] - images[keep_from]
    assert (advice["kept"], advice["asked"]) == (images[keep_from], asked)
    assert advice["hours"] == pytest.approx(asked * 4 / 3600, abs=1e-9)
    assert advice["usd_people"] == pytest.approx(asked * 4 / 3600 * 30, abs=1e-9)
    assert advice["usd_ground_truth"] == pytest.approx(0.012 * asked, abs=1e-9)
    values = {"rules[1].keep.confidence": keep_from, "rules[2].review.confidence": ask_from}
    assert {one["path"]: one["to"] for one in advice["patch"]} == {
        path: to for path, to in values.items() if to != {"rules[1].keep.confidence": PRESENT}.get(path, FLOOR)
    }
