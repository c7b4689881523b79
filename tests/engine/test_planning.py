"""``plan`` on ports in memory: what it counts, what it pays for, and what it must not change."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job, Summary, plan
from asyncfilter.errors import EndpointError, TransientError
from asyncfilter.model import ListedObject, StopReason
from asyncfilter.policy.forecast import PlanResult
from asyncfilter.testing import MemorySource, Stage, run_virtually
from tests.kit import jobs, labels

make_job = partial(jobs.make_job, source={"uri": "s3://raw/", "order": "random"}, limits={"tps": 1000})
birds = partial(labels.birds, every=4, broken_every=10)


def planned(stage: Stage, job: Job, sample: int = 0) -> PlanResult:
    """A plan in a process of its own."""
    try:
        return run_virtually(
            partial(plan, job, sample=sample, overrides=stage.overrides(), on_event=stage.events.append)
        )
    finally:
        stage.checkpoint = stage.checkpoint.reopen()


def test_without_a_sample_nothing_is_paid_or_written() -> None:
    """The listing is counted, with every reason for a skip; detector, sink and checkpoint are not used."""
    stage = Stage(birds(50))
    for listed in (ListedObject("a/", 0, "x"), ListedObject("b.txt", 5, "x"), ListedObject("c.jpg", 0, "x")):
        stage.source.put(listed)
    found = planned(stage, make_job())
    survey = found.plan_inputs.survey
    assert (survey.listed, survey.unpaid, survey.skipped) == (53, 50, {"folder": 1, "not_included": 1, "empty": 1})
    assert (found.forecast.calls, found.forecast.cost_micros, found.forecast.duration_s) == (50, 50_000, 0.05)
    assert not stage.detector.attempts
    assert not stage.checkpoint.images
    assert not stage.checkpoint.runs


def test_a_sample_is_paid_once_and_free_for_the_run() -> None:
    """The run uses the labels that the sample paid for; its copies and counts are those of a run without a sample."""
    stage, calm = Stage(birds(200)), Stage(birds(200))
    found = planned(stage, make_job(), sample=60)
    assert found.sample is not None
    assert sum(stage.detector.attempts.values()) == 60 == found.sample.this_run.examined
    assert stage.sink.performed == []
    again = planned(stage, make_job(), sample=60)
    assert again.sample is not None
    assert again.sample.this_run.calls == 0
    assert again.estimates is not None
    assert found.estimates is not None
    assert again.estimates.hit_rate == found.estimates.hit_rate
    summary, expected = stage.run(make_job()), calm.run(make_job())
    assert set(stage.detector.attempts.values()) == {1}
    assert summary.counts.spent_micros == expected.counts.spent_micros
    assert (stage.copied(), stage.verdicts()) == (calm.copied(), calm.verdicts())


def test_the_sample_is_what_the_random_order_begins_with() -> None:
    """With the seed of the job, a run to as many images as were sampled makes no call."""
    stage = Stage(birds(300))
    planned(stage, make_job(), sample=40)
    summary = stage.run(make_job(limits={"tps": 1000, "max_images": 40}))
    assert (summary.this_run.calls, summary.counts.examined) == (0, 40)


@settings(max_examples=60, deadline=None)
@given(examined=st.integers(0, 80), sample=st.integers(1, 100), seed=st.integers(0, 50), matches=st.none() | st.just(9))
def test_a_sample_leaves_the_run_where_it_was(examined: int, sample: int, seed: int, matches: int | None) -> None:
    """Sampling in the middle of a job changes no verdict, copy or stop of it."""
    stop = {} if matches is None else {"matches": matches}
    job = make_job(stop=stop, source="s3://raw/")
    stage, calm = Stage(birds(80), seed=seed), Stage(birds(80), seed=seed)
    stage.run(make_job(stop=stop, source="s3://raw/", limits={"tps": 1000, "max_images": examined or 1}))
    before = {row.key: row.seq for row in stage.checkpoint.images if row.seq is not None}
    mark = msgspec.json.encode(stage.checkpoint.opened.watermark)
    found = planned(stage, job, sample=sample)
    assert found.sample is not None
    assert found.sample.this_run.examined == min(sample, 80)
    assert {row.key: row.seq for row in stage.checkpoint.images if row.seq is not None} == before
    assert msgspec.json.encode(stage.checkpoint.opened.watermark) == mark
    summary, expected = stage.run(job), calm.run(job)
    assert set(stage.detector.attempts.values()) == {1}
    assert (stage.copied(), stage.verdicts()) == (calm.copied(), calm.verdicts())
    assert summary.stop_reason == expected.stop_reason


def test_known_images_are_decided_by_the_rules_of_now() -> None:
    """A sample of images examined under other rules costs nothing and counts the verdicts of the present rules."""
    stage = Stage(birds(100))
    stage.run(make_job())
    found = planned(stage, make_job(rules=[{"keep": {"any": "Cat"}}]), sample=100)
    assert found.sample is not None
    now = found.sample.this_run
    cats = sum(label == "Cat" for label in stage.labels.values())
    assert (now.calls, now.keep, sum(now.failed.values())) == (0, cats, 10)
    assert (found.plan_inputs.survey.settled, found.plan_inputs.survey.unpaid) == (100, 0)


def test_changed_objects_are_sampled_as_they_are_now() -> None:
    """A new version of an examined object is unpaid; its old row keeps its position until the run reaches it."""
    stage = Stage(birds(20))
    stage.run(make_job())
    stage.source.put(ListedObject("00000.jpg", 1000, "another-etag"))
    found = planned(stage, make_job(), sample=20)
    assert found.plan_inputs.survey.unpaid == 1
    assert stage.detector.attempts["00000.jpg"] == 2
    assert stage.run(make_job()).this_run.calls == 0


def test_the_budget_holds_for_a_sample() -> None:
    """A sample that the budget does not cover ends with the budget; it has examined the first images of the draw."""
    stage = Stage(birds(200))
    found = planned(stage, make_job(limits={"tps": 1000, "budget_usd": 0.02}), sample=100)
    assert found.sample is not None
    assert found.sample.stop_reason is StopReason.BUDGET
    assert found.sample.counts.spent_micros == 20_000
    assert found.estimates is not None
    seen = {row.key for row in stage.checkpoint.images}
    drawn = [listed.key for listed in found.plan_inputs.survey.drawn]
    counted = drawn[: found.estimates.sampled]
    assert set(counted) <= seen
    assert found.forecast.ends is StopReason.BUDGET


def test_stop_rules_do_not_cut_a_sample_short() -> None:
    """Stop rules do not apply to a sample: one that ended at its first matches would be biased."""
    stage = Stage(birds(200))
    job = make_job(
        stop={"matches": 1, "misses_in_a_row": 1, "hit_rate": {"below": 0.9}, "errors": {"rate": 0.1, "window": 1}},
        limits={"tps": 1000, "max_images": 5},
    )
    found = planned(stage, job, sample=80)
    assert found.sample is not None
    assert (found.sample.stop_reason, found.sample.this_run.examined) == (StopReason.COMPLETED, 80)


def test_a_sample_that_was_killed_is_not_paid_twice() -> None:
    """A killed sample is resumed; little more than what was in flight is paid again."""
    import anyio

    stage = Stage(birds(300))
    job = make_job(limits={"tps": 100, "concurrency": 5})

    async def killed_sample() -> None:
        with anyio.move_on_after(2.0):
            await plan(job, sample=150, overrides=stage.overrides())

    run_virtually(killed_sample)
    stage.checkpoint = stage.checkpoint.reopen()
    paid = sum(stage.detector.attempts.values())
    assert 5 < paid < 150
    found = planned(stage, job, sample=150)
    assert found.sample is not None
    assert found.sample.this_run.examined == 150
    assert sum(stage.detector.attempts.values()) <= 150 + 5


def test_same_content_is_counted_once() -> None:
    """Objects with the same bytes cost one call, in the forecast as in the run."""
    stage = Stage(birds(30))
    for number in range(10):
        stage.source.put(ListedObject(f"same-{number}.jpg", 500, "0123456789abcdef0123456789abcdef"))
    found = planned(stage, make_job())
    assert (found.plan_inputs.survey.unpaid, found.plan_inputs.survey.shared, found.forecast.calls) == (40, 9, 31)
    assert stage.run(make_job()).counts.calls == 31


def test_the_listing_is_tried_again_and_given_up_in_time() -> None:
    """A page with a transient failure is requested again; one that always fails ends the plan with an error."""
    reset = TransientError("reset", may_be_billed=False)
    stage, objects = Stage(birds(30)), [ListedObject(key, 1000, f"etag-{key}") for key in birds(30)]
    stage.source = MemorySource(objects, page_objects=7, fault=lambda _after, attempt: reset if attempt < 3 else None)
    assert planned(stage, make_job()).plan_inputs.survey.listed == 30
    stage.source = MemorySource(objects, fault=lambda _after, _attempt: reset)
    with pytest.raises(EndpointError, match="listing cannot be read"):
        planned(stage, make_job())


def test_the_summary_of_a_sample_counts_the_sample_alone() -> None:
    """``this_run`` of the sample has its verdicts; the checkpoint's own counts are as they were."""
    stage = Stage(birds(100))
    first: Summary = stage.run(make_job(limits={"tps": 1000, "max_images": 30}))
    found = planned(stage, make_job(), sample=50)
    assert found.sample is not None
    now = found.sample.this_run
    assert now.keep + now.reject + sum(now.failed.values()) == 50
    assert stage.checkpoint.opened.watermark.tally.examined == first.counts.examined == 30
