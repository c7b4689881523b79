"""Runs whose rules name reference images: paid once, kept, within the budget, and free where payment is forbidden."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.errors import ImageError, TransientError, UsageError
from asyncfilter.events import LikeResolved, RulesApplied, RunStarted
from asyncfilter.model import Detection, Label, ListedObject, StopReason
from asyncfilter.testing import MemoryReferences, Stage
from tests.kit import jobs
from tests.kit.labels import cycled

GOOD = ["s3://good/1.jpg", "s3://good/2.jpg"]


def labelled(*names: str) -> Detection:
    """A detection of these labels with a high confidence."""
    return Detection(tuple(Label(name, 95.0) for name in names), "3.0")


make_job = partial(jobs.make_job, rules=[{"keep": {"like": GOOD, "confidence": 85}}], limits={"tps": 1000})
"""A job that keeps images similar to two reference images."""


def make_stage(**options: Any) -> Stage:
    """Robins, wings and cats, alternating; the reference images show a robin and a wing."""
    stage = Stage(cycled(60, "Robin", "Wing", "Cat"))
    stage.detector.learn({key: [(label, 95.0)] for key, label in stage.labels.items()})
    stage.references = MemoryReferences({GOOD[0]: labelled("Robin", "Nature"), GOOD[1]: labelled("Wing")}, **options)
    return stage


def attempts(stage: Stage) -> int:
    """Reference images paid for."""
    assert stage.references is not None
    return sum(stage.references.attempts.values())


def test_references_are_paid_once_and_their_names_decide() -> None:
    """The first run pays for the references and reports their labels; the second run and refilter use them for free."""
    stage = make_stage()
    summary = stage.run(make_job())
    assert (attempts(stage), summary.counts.calls, summary.this_run.calls) == (2, 62, 62)
    assert summary.counts.spent_micros == summary.this_run.spent_micros == 62_000
    assert (summary.counts.keep, summary.counts.reject, summary.resumed) == (40, 20, False)
    assert [type(event) for event in stage.events[:2]] == [RunStarted, LikeResolved]
    reported = stage.events[1]
    assert isinstance(reported, LikeResolved)
    assert (reported.names, reported.references, reported.calls) == (["Robin", "Wing"], GOOD, 2)
    again = stage.run(make_job())
    assert (attempts(stage), again.this_run.calls, again.counts.calls) == (2, 0, 62)
    narrower = make_job(rules=[{"keep": {"like": GOOD[1], "confidence": 85}}])
    filtered = stage.refilter(narrower)
    assert (filtered.counts.keep, attempts(stage)) == (20, 2)


def test_decisions_are_made_anew_when_a_reference_changes() -> None:
    """A replaced reference image is examined again, and the new rule is applied to the stored labels."""
    stage = make_stage()
    stage.run(make_job())
    assert stage.references is not None
    stage.references.etags[GOOD[1]] = "another"
    stage.references._labels[GOOD[1]] = labelled("Cat")
    stage.events.clear()
    summary = stage.run(make_job())
    assert (summary.this_run.calls, summary.counts.keep) == (1, 40)
    assert any(isinstance(event, RulesApplied) for event in stage.events)
    assert stage.verdicts()["00002.jpg"] == "keep"
    assert stage.verdicts()["00001.jpg"] == "reject"


def test_the_same_labels_need_no_new_decision() -> None:
    """If references give the same names, stored decisions stay valid: only the resulting names count."""
    stage = make_stage()
    stage.run(make_job())
    stage.events.clear()
    stage.run(make_job(rules=[{"keep": {"any": ["Robin", "Wing"], "confidence": 85}}]))
    assert not any(isinstance(event, RulesApplied) for event in stage.events)


def test_refilter_never_pays_for_a_reference() -> None:
    """An unknown reference is an error with a remedy, and no call is made."""
    stage = make_stage()
    stage.run(make_job(rules=[{"keep": {"any": "Robin"}}]))
    with pytest.raises(UsageError, match="not known"):
        stage.refilter(make_job())
    assert attempts(stage) == 0


def test_known_content_is_free_under_another_address() -> None:
    """The same picture at a second address costs nothing, and refilter finds it there too."""
    stage = make_stage()
    stage.run(make_job())
    assert stage.references is not None
    stage.references.etags["s3://good/copy.jpg"] = stage.references.etags[GOOD[0]]
    job = make_job(rules=[{"keep": {"like": "s3://good/copy.jpg", "confidence": 85}}])
    assert stage.run(job).this_run.calls == 0
    assert stage.refilter(job).counts.keep == 20
    assert attempts(stage) == 2


def test_a_reference_of_the_source_is_free_for_the_listing() -> None:
    """A reference image that the job also lists is examined once: its row is cached until it is placed."""
    stage = make_stage()
    uri = "s3://raw/00000.jpg"
    stage.references = MemoryReferences({uri: labelled("Robin")})
    stage.references.etags[uri] = "etag-00000.jpg"
    job = make_job(rules=[{"keep": {"like": uri, "confidence": 85}}])
    summary = stage.run(job)
    assert (summary.counts.calls, summary.counts.from_checkpoint, summary.counts.overshoot) == (60, 1, 0)
    assert stage.detector.attempts["00000.jpg"] == 0
    assert stage.verdicts()["00000.jpg"] == "keep"


def test_references_count_against_the_budget() -> None:
    """A budget that does not cover the references is an error before the run begins; it is never exceeded."""
    stage = make_stage()
    summary = stage.run(make_job(limits={"tps": 1000, "budget_usd": 0.001}))
    assert summary.stop_reason is StopReason.BUDGET
    assert "1 reference images are not examined" in (summary.error or "")
    assert summary.counts.spent_micros == 1000
    assert not stage.detector.attempts
    more = stage.run(make_job(limits={"tps": 1000, "budget_usd": 0.012}))
    assert (attempts(stage), more.counts.spent_micros) == (2, 12_000)


def test_repetitions_for_references_are_those_of_any_image() -> None:
    """Transient failures are repeated and may be billed; a permanent failure is an error that names the image."""
    stage = make_stage(fault=lambda _uri, n: TransientError("reset", may_be_billed=True) if n == 1 else None)
    summary = stage.run(make_job())
    assert (attempts(stage), summary.counts.billed_calls, summary.counts.keep) == (4, 64, 40)
    broken = make_stage(fault=lambda _uri, _n: ImageError("not a JPEG or PNG", code="invalid_image_format"))
    with pytest.raises(UsageError, match=r"reference s3://good/1.jpg .*invalid_image_format"):
        broken.run(make_job())
    assert not broken.detector.attempts


def test_a_missing_reference_is_an_error_before_anything_is_paid() -> None:
    """All addresses are checked before the first call."""
    stage = make_stage()
    job = make_job(rules=[{"keep": {"like": [*GOOD, "s3://good/gone.jpg"], "confidence": 85}}])
    with pytest.raises(UsageError, match=r"gone.jpg .*vanished"):
        stage.run(job)
    assert attempts(stage) == 0


@pytest.mark.parametrize("at_s", [0.05, 0.15, 0.25, 0.9, 1.3, 1.6])
def test_killed_among_references(at_s: float) -> None:
    """Killed before, between and after references, the run can be resumed; at most calls in flight are paid twice."""
    stage, calm = make_stage(), make_stage()
    job = make_job(limits={"tps": 1000, "concurrency": 1})
    stage.run_and_die(job, at_s)
    summary, expected = stage.run(job), calm.run(job)
    assert (summary.counts.keep, stage.verdicts()) == (expected.counts.keep, calm.verdicts())
    assert attempts(stage) + sum(stage.detector.attempts.values()) <= 62 + 1


@pytest.mark.parametrize("tps", [1, 2, 20])
def test_references_and_listing_share_the_rate(tps: int) -> None:
    """Attempts at references and images together exceed the rate in no second."""
    import anyio

    stage = make_stage()
    sent: list[float] = []
    assert stage.references is not None
    detect_once = stage.references.detect

    async def detect(image: Any) -> Detection:
        sent.append(anyio.current_time())
        return await detect_once(image)

    stage.references.detect = detect  # type: ignore[method-assign]

    def delay_s(_key: str) -> float:
        sent.append(anyio.current_time())
        return 0.05

    stage.detector.delay_s = delay_s
    stage.run(make_job(limits={"tps": tps}))
    for index, start_s in enumerate(sent):
        assert sum(start_s <= moment_s < start_s + 1.0 for moment_s in sent[index:]) <= 1.05 * tps + 1
    assert len(sent) == 62


def test_a_sample_resolves_references_too() -> None:
    """``plan --sample`` pays for references within the budget, and the run uses them for free."""
    from asyncfilter import plan
    from asyncfilter.testing import run_virtually

    stage = make_stage()
    found = run_virtually(partial(plan, make_job(), sample=30, overrides=stage.overrides()))
    stage.checkpoint = stage.checkpoint.reopen()
    assert found.sample is not None
    assert attempts(stage) == 2
    assert found.sample.this_run.keep > 10
    assert stage.run(make_job()).this_run.calls == 30
    assert attempts(stage) == 2


def test_an_object_that_only_looks_like_a_reference_is_examined() -> None:
    """A cached row belongs to the content that was examined: a newer version of the object is paid for."""
    stage = make_stage()
    uri = "s3://raw/00000.jpg"
    stage.references = MemoryReferences({uri: labelled("Robin")})
    stage.references.etags[uri] = "etag-00000.jpg"
    stage.source.put(ListedObject("00000.jpg", 1000, "newer"))
    job = make_job(rules=[{"keep": {"like": uri, "confidence": 85}}])
    summary = stage.run(job)
    assert stage.detector.attempts["00000.jpg"] == 1
    assert summary.counts.calls == 61


async def test_references_are_not_prepared_as_images_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """References are sent unprepared, unlike the folder's own images; so they are in a plan and a sample."""
    from PIL import Image

    from asyncfilter import plan, refilter, run
    from asyncfilter.sandbox import Sandbox, SandboxOptions

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        Image.new("RGB", (200, 150), (20 * number, 90, 40)).save(photos / f"{number:02d}.jpg")
    Image.new("RGB", (200, 150), "red").save(tmp_path / "good.jpg")
    job = jobs.make_bare_job(
        base_dir=tmp_path,
        source="./photos",
        rules=[{"keep": {"like": ["./good.jpg"], "confidence": 1}}],
        precheck="header",
        limits={"tps": 50},
    )
    async with Sandbox(SandboxOptions()) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        forecast = await plan(job)
        assert (forecast.plan_inputs.survey.unpaid, forecast.forecast.calls) == (12, 12)
        found = await plan(job, sample=5)
        assert found.sample is not None
        assert (found.sample.this_run.examined, found.sample.counts.calls) == (5, 6)
        summary = await run(job)
        assert (summary.counts.examined, summary.counts.failed, summary.counts.calls) == (12, {}, 13)
        assert (await refilter(job)).counts.examined == 12
        assert sandbox.stats().operations["DetectLabels"].billed == 13
