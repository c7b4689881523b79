"""Certified thresholds over real photographs, labelled by a real classifier; folder names know the truth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.answers import new_uid, open_answers
from asyncfilter.records.answers import AskedAs, NewAnswer, PersonVerdict, Subject
from asyncfilter.sandbox import BucketSpec, LabelSource, LoadSpec, SandboxOptions, SandboxProcess
from tests.kit.workspace import Workspace

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="the real photographs are not on this machine"),
]

TARGET = 0.9
JERSEY = ["Jersey"]
RACCOON = ["Grey Fox", "Badger", "Madagascar Cat", "Black-Footed Ferret", "Weasel", "Arctic Fox", "Polecat", "Mongoose"]
PRESENT, FLOOR = 60.0, 5.0
RULES = [
    {verdict: {"any": names, "confidence": confidence}}
    for names in (JERSEY, RACCOON)
    for verdict, confidence in (("keep", PRESENT), ("review", FLOOR))
]


def is_good(key: str) -> bool:
    """Whether people want the picture: a T-shirt, a long sleeve or a raccoon."""
    return key.startswith(("t-shirt/", "longsleeve/", "raccoon/"))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The job, run over clothes of ten classes, raccoons and other wildlife."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("photos")
    for photo in (DATA / "photos" / "clothing").rglob("*.jpg"):
        _put(photo, folder / "bucket" / photo.parent.name)
    for photo in (DATA / "photos" / "raccoon" / "images").glob("*.jpg"):
        _put(photo, folder / "bucket" / "raccoon")
    for photo in (DATA / "photos" / "cameratrap").glob("*.jpg"):
        _put(photo, folder / "bucket" / "wild")
    options = SandboxOptions(
        load=(LoadSpec("raw", str(folder / "bucket")),),
        buckets=(BucketSpec("clean"),),
        labels=LabelSource.ONNX,
        onnx_model=str(DATA / "models" / "mobilenet_v2_1.0_224_quant.onnx"),
        onnx_labels=str(DATA / "models" / "imagenet_labels.txt"),
    )
    with SandboxProcess(options) as sandbox:
        workspace = Workspace(folder, sandbox, rules=RULES)
        assert workspace.json("run", "job.yaml")["examined"] > 240
        yield workspace


def _put(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)


def _exported(job: Workspace) -> list[dict[str, Any]]:
    code, out, err = job.here("export", "job.yaml")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def _scores(job: Workspace) -> dict[int, dict[str, float]]:
    """By rule, the score of each image in its population, from the labels that are exported."""
    found: dict[int, dict[str, float]] = {0: {}, 2: {}}
    for row in _exported(job):
        labels: dict[str, float] = {}
        for label in row["labels"]:
            for name in (label["name"], *label["aliases"]):
                labels[name] = max(labels.get(name, 0.0), label["confidence_pct"])
        for number, names in ((0, JERSEY), (2, RACCOON)):
            found[number][row["key"]] = score = max(labels.get(name, 0.0) for name in names)
            if score >= FLOOR:
                break  # this rule or its review takes the image
    return found


def _answer(job: Workspace, keys: list[str]) -> None:
    """Answer as the folders do."""
    etags = {row["key"]: (row["etag"], row["size_bytes"]) for row in _exported(job)}
    with open_answers(job.folder / ".asyncfilter" / "robins.answers.db") as file:
        file.add(
            [
                NewAnswer(
                    uid=new_uid(),
                    subject=Subject(bucket="raw", key=key, etag=etags[key][0], size_bytes=etags[key][1]),
                    reviewer="folder",
                    at_unix_s=1.0,
                    verdict=PersonVerdict.KEEP if is_good(key) else PersonVerdict.REJECT,
                    asked_as=AskedAs.AUDIT,
                    shown_ms=2000,
                )
                for key in keys
            ]
        )


def _questions(job: Workspace, rule: int, part: str) -> list[str]:
    """The keys of a part by position, as ``audit --all`` writes them."""
    output = job.folder / "questions.jsonl"
    output.unlink(missing_ok=True)
    job.json("audit", "job.yaml", "--rule", str(rule), "--all", "--format", "jsonl", "-o", str(output))
    rows = map(json.loads, output.read_text("utf-8").splitlines())
    return [row["key"] for row in rows if row["part"] == part]


def _check(job: Workspace, rule: int, scores: dict[str, float]) -> dict[str, Any]:
    """Compare what is certified, and what the intervals and bounds say, with the truth of the whole population."""
    (found,) = job.json("calibrate", "job.yaml", "--rule", str(rule))["rules"]
    taken = {key: score for key, score in scores.items() if score >= FLOOR}
    for one in found["thresholds"]:
        images = [key for key, score in taken.items() if score >= one["threshold"]]
        good = sum(map(is_good, images))
        assert one["images"] == len(images)
        if images:
            assert one["low"] <= good / len(images) <= one["high"]
        assert not one["certified"] or good / len(images) >= TARGET
    if found["losses"] is not None:
        lost = sum(is_good(key) for key in scores if key not in taken)
        assert found["losses"]["lost_low"] <= lost <= found["losses"]["lost_high"]
        kept = sum(map(is_good, taken))
        assert found["losses"]["recall_low"] <= kept / (kept + lost)
    return found  # type: ignore[no-any-return]


def test_certified_thresholds_have_the_precision_that_they_certify(job: Workspace) -> None:
    """For two rules, in odd orders of work, at every milestone; the advice is then written and kept by a refilter."""
    options = ("--precision", str(TARGET), "--recall", "0.5", "--milestones", "20,40,80", "--seed", "1")
    assert {one["rule"] for one in job.json("audit", "job.yaml", *options)["draws"]} == {0, 2}
    scores, found = _scores(job), {}
    for rule in scores:
        taken, rest = _questions(job, rule, "taken"), _questions(job, rule, "rest")
        uncertain_first = sorted(taken, key=lambda key: abs(scores[rule][key] - PRESENT))
        for keys in (uncertain_first[:10], taken[:20] + rest[-5:], taken[:40], rest[:40], taken, rest):
            _answer(job, keys)
            found[rule] = _check(job, rule, scores[rule])
    assert found[0]["certified"] is None
    assert found[0]["next"]["instead"] < TARGET
    advice = found[2]["advice"]
    assert advice["keep_from"] < PRESENT
    assert advice["kept"] > 2 * sum(score >= PRESENT for score in scores[2].values())
    assert job.json("calibrate", "job.yaml", "--write", "--yes")["written"]
    job.json("refilter", "job.yaml")
    kept = [row["key"] for row in _exported(job) if row["rule"] == 2]
    assert len(kept) == advice["kept"]
    assert sum(map(is_good, kept)) / len(kept) >= TARGET
