"""Names in rules are compared with the labels that exist, at the start, after the first answers and at the end."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import msgspec
import pytest

from asyncfilter import plan
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.events import ImageExamined, JobWarning
from asyncfilter.job import Job
from asyncfilter.model import Box, Detection, Instance, Label, ObjectRef, Summary
from asyncfilter.testing import MemoryReferences, Stage, run_virtually
from asyncfilter.wiring import session
from tests.kit.jobs import make_bare_job
from tests.kit.labels import birds, cycled
from tests.kit.mistakes import CUSTOM


def make_job(*names: str, **sections: Any) -> Job:
    """Images with one of these labels are kept."""
    return make_bare_job(**{"rules": [{"keep": {"any": list(names)}}], "limits": {"tps": 50}, **sections})


def said(stage: Stage) -> list[tuple[int, str]]:
    """Each caution of the runs, with the number of images that were examined before."""
    found, examined = [], 0
    for event in stage.events:
        examined += isinstance(event, ImageExamined)
        if isinstance(event, JobWarning):
            found.append((examined, event.message))
    return found


def add_boxes(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each label of this name come with a box."""
    real, instances = stage.detector.detect, (Instance(Box(0.1, 0.1, 0.5, 0.5), 95.0),)

    async def detect(image: ObjectRef) -> Detection:
        found = await real(image)
        return Detection(
            tuple(msgspec.structs.replace(one, instances=instances if one.name == name else ()) for one in found.labels)
        )

    monkeypatch.setattr(stage.detector, "detect", detect)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector of a ``Stage`` count as AWS's."""

    def context(*arguments: Any, **options: Any) -> RunContext:
        return msgspec.structs.replace(real(*arguments, **options), has_own_labels=False)

    real = session.new_context
    for module in ("session", "refilter"):
        monkeypatch.setattr(sys.modules[f"asyncfilter.wiring.{module}"], "new_context", context)


@pytest.mark.usefixtures("published")
def test_a_misspelt_label_is_told_before_the_first_image() -> None:
    """Once, and again in the summary; it stops nothing."""
    stage = Stage(birds(250))
    summary = stage.run(make_job("Robbin"))
    ((examined, sentence),) = said(stage)
    assert examined == 0
    assert "no label 'Robbin'" in sentence
    assert summary.cautions == (sentence,)
    assert (summary.stop_reason, summary.exit_code) == ("completed", 0)


@pytest.mark.usefixtures("published")
def test_an_answer_takes_a_caution_back() -> None:
    """A name that the list lacks and an answer has is no caution of the summary, nor of any later run."""
    stage = Stage(cycled(30, "Robbin", "Cat"))
    summary = stage.run(make_job("Robbin"))
    assert len(said(stage)) == 1
    assert summary.cautions == ()
    assert stage.run(make_job("Robbin", "Cat")).cautions == ()
    assert len(said(stage)) == 1


@pytest.mark.usefixtures("published")
def test_right_names_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is read only when a name is in doubt."""
    stage = Stage(birds(60))
    monkeypatch.setattr(stage.checkpoint, "labels", None)
    assert stage.run(make_job("Robin", "human")).cautions == ()


@pytest.mark.usefixtures("published")
def test_names_of_references_are_right() -> None:
    """What takes the place of references was in their labels, whatever the list says."""
    stage = Stage(birds(5))
    stage.references = MemoryReferences({"s3://pics/1.jpg": Detection((Label("Robbin", 99.0),))})
    rules = [{"keep": {"like": "s3://pics/1.jpg", "ignore": "Tre"}}]
    summary = stage.run(make_bare_job(rules=rules))
    ((examined, sentence),) = said(stage)
    assert examined == 0
    assert "no label 'Tre'" in sentence
    assert summary.cautions == (sentence,)


@pytest.mark.usefixtures("published")
def test_a_refilter_compares_too() -> None:
    """With the stored labels."""
    stage = Stage(birds(5))
    stage.run(make_job("Robin"))
    summary = stage.refilter(make_job("Cat", "Robbin"))
    assert ["no label 'Robbin'" in sentence for sentence in summary.cautions] == [True]


def test_a_detector_of_ones_own_is_compared_with_its_answers() -> None:
    """What resembles a seen name is told after 50 answers, any other name that was never seen after 200."""
    stage = Stage(cycled(400, "Scratch", "Fine"))
    summary = stage.run(make_job("Scrach", "Hole"))
    (first, alike), (second, unlike) = said(stage)
    assert 50 <= first < 100
    assert 200 <= second < 250
    assert "no answer so far has the label 'Scrach'" in alike
    assert "no answer so far has the label 'Hole'" in unlike
    assert summary.cautions == (alike, unlike)


def test_a_sample_is_compared_at_its_end() -> None:
    """A plan has what its sample showed, where labels are not published."""
    stage = Stage(cycled(400, "Scratch", "Fine"))
    job = make_job("Scrach", limits={"tps": 500})
    assert run_virtually(partial(plan, job, overrides=stage.overrides())).cautions == ()
    found = run_virtually(partial(plan, job, sample=60, overrides=stage.overrides()))
    (sentence,) = found.cautions
    assert "no answer so far has the label 'Scrach'; the nearest that was seen is 'Scratch'" in sentence


@pytest.mark.usefixtures("published")
def test_a_box_takes_a_caution_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that the list has without boxes, and an answer with one, can be counted; also in what comes later."""
    job = make_bare_job(rules=[{"keep": {"count": {"label": "Robin", "min": 1}}}])
    labels = dict.fromkeys(birds(20), "Robin")
    assert "'Robin' never has boxes" in Stage(labels).run(job).cautions[0]
    stage = Stage(labels)
    add_boxes(stage, "Robin", monkeypatch)
    assert stage.run(job).cautions == ()
    assert len(said(stage)) == 1


@pytest.mark.usefixtures("published")
def test_a_model_without_boxes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Custom Labels models of whole images have none, so that a count or an area never holds."""
    rules = [{"keep": {"count": {"label": "Scratch", "min": 1}}}, {"review": {"area": {"label": "Fine", "max": 0.3}}}]
    stage = Stage(cycled(400, "Scratch", "Fine"))
    job = make_bare_job(rules=rules, limits={"tps": 50}, detector=CUSTOM)
    summary = stage.run(job)
    assert all(50 <= examined < 100 for examined, _ in said(stage))
    assert [text.partition(",")[0] for text in summary.cautions] == [
        "rules[0] (keep): no answer so far has a box",
        "rules[1] (review): no answer so far has a box",
    ]
    some = Stage(cycled(400, "Scratch", "Fine"))
    add_boxes(some, "Scratch", monkeypatch)
    assert some.run(job).cautions == ()


def test_few_answers_say_nothing() -> None:
    """A name may still come."""
    stage = Stage(cycled(49, "Scratch", "Fine"))
    assert stage.run(make_job("Scrach", "Hole")).cautions == ()
    assert said(stage) == []


def test_answers_of_all_runs_count() -> None:
    """A run that makes no call compares with what is stored; a late answer takes a caution back."""
    labels = cycled(210, "Scratch", "Fine") | {"z.jpg": "Hole"}
    stage = Stage(labels)
    first: Summary = stage.run(make_job("Hole", limits={"tps": 50, "max_images": 205}))
    assert len(first.cautions) == 1
    again = stage.run(make_job("Hole", limits={"tps": 50, "max_images": 205}))
    assert again.this_run.calls == 0
    assert again.cautions[-1:] == first.cautions
    assert stage.run(make_job("Hole")).cautions == ()
