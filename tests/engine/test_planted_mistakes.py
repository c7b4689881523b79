"""Planted mistakes are told before the first paid call, once, by ``plan`` and ``run`` alike; sound jobs say nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from asyncfilter import Job, Summary, plan, run
from asyncfilter.errors import ExitCode, JobError
from asyncfilter.events import ImageExamined, JobWarning
from asyncfilter.job import load_job, parse_job
from asyncfilter.policy.job_warnings import job_warnings
from asyncfilter.testing import Stage, run_virtually
from tests.kit import labels
from tests.kit.jobs import COPIES, FLAT_PRICE, job_document
from tests.kit.mistakes import CAUTIONED, REFUSED, ROBIN, Mistake

IMAGES = 60
SOUND = {"rules": [{"keep": ROBIN}], "actions": COPIES, "limits": {"tps": 100}, "pricing": FLAT_PRICE}
"""The job that each mistake is planted in."""


def make_job(sections: dict[str, Any]) -> Job:
    """The sound job with other sections."""
    return parse_job(job_document(**SOUND | sections), base_dir="/nowhere")


def planned(job: Job, stage: Stage) -> tuple[str, ...]:
    """The cautions of a plan, which pays for nothing."""
    found = run_virtually(partial(plan, job, overrides=stage.overrides()))
    assert not stage.detector.attempts
    return found.cautions


def executed(job: Job, stage: Stage) -> Summary:
    """The summary of a run."""
    return run_virtually(partial(run, job, overrides=stage.overrides(), on_event=stage.events.append))


@pytest.mark.parametrize("name", CAUTIONED)
def test_a_caution_tells_the_mistake(name: str) -> None:
    """Plan and run give the sentence once, before the first image, and the run goes on."""
    mistake: Mistake = CAUTIONED[name]
    job = make_job(mistake.sections)
    stage = Stage(labels.birds(IMAGES, every=4))
    said = planned(job, stage)
    assert sum(mistake.told in sentence for sentence in said) == 1, said
    summary = executed(job, stage)
    kinds = [event for event in stage.events if isinstance(event, JobWarning | ImageExamined)]
    warnings = [event.message for event in kinds if isinstance(event, JobWarning)]
    assert warnings == [event.message for event in kinds[: len(warnings)] if isinstance(event, JobWarning)]
    assert tuple(warnings) == said == summary.cautions
    assert summary.exit_code in {ExitCode.OK, ExitCode.SOME_FAILED}


@pytest.mark.parametrize("name", REFUSED)
def test_a_job_without_sense_is_refused(name: str) -> None:
    """The message names the key."""
    with pytest.raises(JobError, match="job:1:1") as refused:
        make_job(REFUSED[name].sections)
    assert REFUSED[name].told in str(refused.value)


def test_the_job_without_a_mistake_says_nothing() -> None:
    """What each mistake is planted in is sound."""
    stage = Stage(labels.birds(IMAGES, every=4))
    assert planned(make_job({}), stage) == ()
    assert executed(make_job({}), stage).cautions == ()


def test_a_stop_rule_that_holds_already_is_told() -> None:
    """A second run over a checkpoint with enough matches ends at once, and says so; so does its plan."""
    job = make_job({"stop": {"matches": 3}})
    stage = Stage(labels.birds(IMAGES, every=4))
    assert executed(job, stage).cautions == ()
    stage.checkpoint = stage.checkpoint.reopen()
    attempts = dict(stage.detector.attempts)
    found = run_virtually(partial(plan, job, overrides=stage.overrides()))
    stage.checkpoint = stage.checkpoint.reopen()
    summary = executed(job, stage)
    assert dict(stage.detector.attempts) == attempts
    assert len(summary.cautions) == 1
    assert "stop.matches holds already" in summary.cautions[0]
    assert found.cautions == summary.cautions


def test_a_budget_that_is_spent_is_told() -> None:
    """A run that can pay for no other image says so at its start."""
    job = make_job({"limits": {"tps": 100, "budget_usd": 0.01}})
    stage = Stage(labels.birds(IMAGES, every=4))
    assert executed(job, stage).cautions == ()
    stage.checkpoint = stage.checkpoint.reopen()
    again = executed(job, stage)
    assert again.this_run.calls == 0
    assert "limits.budget_usd: 0.01 is spent" in again.cautions[0]


# -- No false alarm ----------------------------------------------------------------------------------------------------

REPOSITORY = Path(__file__).parents[2]
CONFIG = sorted((REPOSITORY / "config").glob("*.yaml"))

SOUND_JOBS: dict[str, dict[str, Any]] = {
    "rules of the glossary": {
        "rules": [
            {"reject": {"any": ["Person"], "confidence": 85}},
            {"keep": {"any": ["Robin", "Bird"], "confidence": 85}},
            {"review": {"any": ["Robin", "Bird"], "confidence": 60}},
        ],
        "actions": {"keep": {"copy": "s3://clean/{key}"}, "review": {"copy": "s3://review/{key}"}},
        "limits": {"budget_usd": 25},
        "stop": {"matches": 50, "misses_in_a_row": 20},
    },
    "a trial with few images of a job with many matches": {
        "limits": {"max_images": 10, "budget_usd": 1},
        "stop": {"matches": 500, "misses_in_a_row": 200},
    },
    "a cleanup that removes what does not match": {
        "rules": [{"reject": {"any": ["Person", "Face"], "confidence": 90}}, {"keep": {"any": "Clothing"}}],
        "otherwise": "review",
        "actions": {"reject": {"move": "s3://quarantine/{name}/{key}"}},
    },
    "a cleanup that keeps all but a few": {
        "rules": [{"reject": {"any": "Person", "confidence": 90}}],
        "otherwise": "keep",
        "actions": {"reject": "delete"},
    },
    "everything to people but the certain ones": {
        "rules": [{"keep": {"any": "Robin", "confidence": 99}}, {"reject": {"none": "Bird", "confidence": 20}}],
        "otherwise": "review",
    },
    "counts and areas": {
        "rules": [
            {"keep": [{"count": {"label": "Dog", "min": 1, "max": 1}}, {"area": {"label": "Dog", "min": 0.1}}]},
            {"review": {"count": {"label": "Dog", "min": 1}}},
            {"reject": {"area": {"label": "Person", "max": 0.05}, "not": {"any": "Cat"}}},
        ],
    },
    "categories before names": {
        "rules": [
            {"reject": {"category": "Weapons and Military", "confidence": 40}},
            {"keep": {"category": ["Animals and Pets"], "none": "Person"}},
            {"review": {"category": ["Animals and Pets"]}},
        ],
    },
    "tags": {"actions": {"keep": {"tag": {"bird": "yes"}}, "reject": {"tag": {"bird": "no"}}}},
    "duplicates skipped": {"source": {"uri": "s3://raw/", "duplicates": "skip"}, "actions": COPIES},
    "duplicates deleted": {"actions": {"keep": {"copy": "s3://clean/{key}"}, "duplicate": "delete"}},
    "a random sample with a statistical stop": {
        "source": {"uri": "s3://raw/", "order": "random", "seed": 3},
        "stop": {"hit_rate": {"below": 0.1}, "errors": {"rate": 0.1}},
        "limits": {"max_images": 2000},
    },
    "a threshold of the detector below all rules": {
        "detector": {"min_confidence": 50, "max_labels": 50},
        "rules": [{"keep": {"any": "Robin", "confidence": 50}}],
    },
    "a model of one's own": {
        "detector": {
            "kind": "rekognition-custom-labels",
            "model": "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v.2026-01-01T00.00.00/1767225600000",
            "min_confidence": 30,
        },
        "rules": [{"keep": {"any": "Robin", "confidence": 70}}, {"review": {"any": "Robin", "confidence": 40}}],
        "pricing": {"inference_units": 2},
    },
    "formats that are converted": {
        "source": {"uri": "s3://raw/", "include": ["*.jpg", "*.webp", "*.heic"]},
        "convert": True,
    },
    "a slow account that others use": {
        "limits": {"tps": 5, "share": 0.5, "concurrency": 4, "timeout_s": 30, "max_attempts": 12},
        "pricing": {"used_this_month": 400_000},
    },
    "targets by name and label": {
        "rules": [{"keep": {"any": ["Dog", "Cat"], "confidence": 80}}],
        "actions": {"keep": {"copy": "s3://pets/{label}/{basename}", "if_exists": "skip"}},
    },
    "a folder": {
        "source": "./photos",
        "rules": [{"keep": {"any": ["Person", "Face"], "confidence": 80}}, {"review": {"any": ["Person", "Face"]}}],
        "actions": {"keep": {"link": "./people/{key}"}, "review": {"copy": "./unsure/{label}/{basename}"}},
    },
    "references": {
        "rules": [
            {"keep": {"like": ["s3://raw/1.jpg", "s3://raw/2.jpg"], "confidence": 85, "ignore": "Tree"}},
            {"review": {"like": ["s3://raw/1.jpg", "s3://raw/2.jpg"], "confidence": 60, "ignore": "Tree"}},
        ],
    },
    "no rule but what must not be there": {"rules": [{"keep": {"none": ["Person", "Car"], "confidence": 30}}]},
    "targets by parts of the name": {
        "source": {"uri": "s3://raw/", "include": ["*.png"]},
        "actions": {"keep": {"copy": "s3://clean/{label}/{stem}.png"}, "review": {"copy": "s3://clean/{stem}-r.{ext}"}},
        "rules": [{"keep": {"any": "Robin", "confidence": 80}}, {"review": {"any": "Robin"}}],
    },
    "photos by another program's names": {
        "source": {"uri": "s3://raw/", "include": ["*"]},
        "precheck": "header",
        "actions": {"keep": {"copy": "s3://clean/{stem}"}},
    },
    "small birds that are there": {
        "rules": [{"keep": {"any": "Bird", "area": {"label": "Bird", "max": 0.5}}}, {"reject": {"none": "Bird"}}],
    },
    "no large person": {
        "rules": [{"reject": {"none": "Bird"}}, {"keep": {"area": {"label": "Person", "max": 0.05}}}],
    },
    "patience with a slow line": {"limits": {"timeout_s": 120, "max_attempts": 20}},
    "one match is enough": {"stop": {"matches": 1}, "limits": {"budget_usd": 5}},
}


@pytest.mark.parametrize("name", SOUND_JOBS)
def test_a_sound_job_says_nothing(name: str) -> None:
    """No false alarm."""
    assert job_warnings(parse_job(job_document(**SOUND_JOBS[name]), base_dir="/nowhere")) == []


@pytest.mark.parametrize("path", CONFIG, ids=lambda path: path.stem)
def test_the_examples_say_nothing(path: Path) -> None:
    """No false alarm about a job that ships with the program."""
    assert job_warnings(load_job(path)) == []


def _documented() -> list[tuple[str, dict[str, Any]]]:
    """The whole jobs in README and docs."""
    found = []
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))):
        for number, block in enumerate(path.read_text("utf-8").split("```yaml\n")[1:]):
            document = yaml.safe_load(block.partition("```")[0])
            if isinstance(document, dict) and {"version", "source", "rules"} <= document.keys():
                found.append((f"{path.name}-{number}", document))
    return found


@pytest.mark.parametrize(("name", "document"), _documented())
def test_the_jobs_in_the_documents_say_nothing(name: str, document: dict[str, Any]) -> None:
    """No false alarm about a job that a document shows."""
    del name
    assert job_warnings(parse_job(document, base_dir="/nowhere")) == []
