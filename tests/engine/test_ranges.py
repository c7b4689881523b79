"""``source.ranges``: whatever their number, a run has the answer of a serial listing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.engine.core import range_reader
from asyncfilter.engine.examine import ranged_listing
from asyncfilter.errors import AccessError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.model import ListedObject, StopReason
from asyncfilter.ports.examine import Page
from asyncfilter.testing import MemorySource, Stage, run_virtually
from asyncfilter.wiring.plan import survey
from tests.engine.test_same_answer import LABELS, STOPS
from tests.kit import jobs
from tests.kit.labels import birds

PAGE = 7
SLOW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of a few keys, so that few images are many pages."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (range_reader, ranged_listing):
            patch.setattr(module, "PAGE_OBJECTS", PAGE)
        patch.setattr(range_reader, "WORTH_A_CUT", 2 * PAGE)
        yield


class Paged:
    """A source with latencies, whose requests are counted."""

    def __init__(self, source: MemorySource, seed: int) -> None:
        self._source = source
        self._chance = random.Random(seed)
        self.pages = 0

    async def page(self, after: str | None) -> Page:
        self.pages += 1
        await anyio.sleep(0.01 + self._chance.random() / 20)
        return await self._source.page(after)


def ranged_job(ranges: int, *, order: str = "listing", duplicates: str = "same", **sections: Any) -> Job:
    """A job that keeps robins."""
    source = {"uri": "s3://raw/", "order": order, "ranges": ranges, "duplicates": duplicates}
    rules = [{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}]
    return jobs.make_job(source=source, rules=rules, **sections)


def staged(labels: dict[str, str], seed: int, *, is_twice: bool = False) -> Stage:
    """A stage whose listing has latencies; with ``is_twice`` every second image has the content of the one before."""
    stage = Stage(labels, seed=seed, page_objects=PAGE)
    if is_twice:
        for former, key in zip(sorted(labels)[::2], sorted(labels)[1::2], strict=False):
            stage.source.put(ListedObject(key, 1000, f"etag-{former}"))
    stage.source = Paged(stage.source, seed)  # type: ignore[assignment]
    return stage


def answer(stage: Stage, job: Job, lives_s: list[float] = []) -> tuple[object, ...]:  # noqa: B006  read only
    """What a run, killed at these times before, comes to."""
    for life_s in lives_s:
        stage.run_and_die(job, life_s)
    summary = stage.run(job)
    counts = summary.counts
    rows = [(row.seq, row.key, row.decision, row.failure) for row in stage.checkpoint.images if row.seq is not None]
    skipped = dict(counts.skipped)
    return sorted(rows), set(stage.copied()), summary.stop_reason, counts.examined, counts.listed, skipped


@SLOW
@given(
    labels=LABELS,
    stop=STOPS,
    cap=st.none() | st.integers(1, 40),
    ranges=st.integers(2, 12),
    seed=st.integers(0, 99),
    order=st.sampled_from(["listing", "random"]),
    duplicates=st.sampled_from(["same", "skip"]),
)
def test_the_answer_is_that_of_one_range(
    labels: dict[str, str], stop: dict[str, Any], cap: int | None, ranges: int, seed: int, order: str, duplicates: str
) -> None:
    """Positions, verdicts, copies, failures, stop, and what was listed and skipped."""
    found = [
        answer(
            staged(labels, seed, is_twice=True),
            ranged_job(number, order=order, duplicates=duplicates, stop=stop, limits={"tps": 5000, "max_images": cap}),
        )
        for number in (1, ranges)
    ]
    assert found[0] == found[1]


@SLOW
@given(
    labels=LABELS,
    ranges=st.integers(2, 12),
    seed=st.integers(0, 99),
    order=st.sampled_from(["listing", "random"]),
    lives_s=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4),
)
def test_the_answer_through_deaths(
    labels: dict[str, str], ranges: int, seed: int, order: str, lives_s: list[float]
) -> None:
    """Killed at any moments, the runs together give the answer of a serial listing."""
    whole = answer(staged(labels, seed), ranged_job(1, order=order))
    assert answer(staged(labels, seed), ranged_job(ranges, order=order), lives_s) == whole


def test_a_second_run_sees_what_was_put_meanwhile() -> None:
    """After a whole pass the listing is made anew; the images of the first are not paid for again."""
    stage = staged(birds(60) | {"new.jpg": "Robin"}, 1)
    source, job = stage.source._source, ranged_job(8)  # type: ignore[attr-defined]
    source.remove("new.jpg")
    assert stage.run(job).counts.examined == 60
    source.put(ListedObject("new.jpg", 1000, "etag-new"))
    summary = stage.run(job)
    assert (summary.counts.examined, summary.this_run.billed_calls) == (61, 1)


def test_a_run_without_ranges_keeps_no_listing_in_ranges() -> None:
    """What a finished pass in ranges has stored goes with the next pass, whatever its ranges."""
    stage = staged(birds(60), 1)
    stage.run(ranged_job(8))
    assert run_virtually(lambda: stage.checkpoint.count_listed("")) == 60
    assert stage.run(ranged_job(1)).this_run.billed_calls == 0
    assert run_virtually(lambda: stage.checkpoint.count_listed("")) == 0


def test_a_dry_run_leaves_no_listing_to_the_run() -> None:
    """What was put after a dry run is found by the run."""
    stage = staged(birds(60) | {"new.jpg": "Robin"}, 1)
    source, job = stage.source._source, ranged_job(8)  # type: ignore[attr-defined]
    source.remove("new.jpg")
    assert stage.run(job, dry_run=True).counts.examined == 60
    source.put(ListedObject("new.jpg", 1000, "etag-new"))
    assert stage.run(job).counts.examined == 61


@pytest.mark.parametrize("stop", [{"limits": {"tps": 5000, "max_images": 10}}, {"stop": {"matches": 1}}])
def test_a_stop_ends_the_listing(stop: dict[str, Any]) -> None:
    """Of a thousand pages few are listed when two are needed."""
    stage = staged({f"{number:05d}.jpg": "Robin" for number in range(7000)}, 1)
    assert stage.run(ranged_job(4, **stop)).stop_reason in {StopReason.MAX_IMAGES, StopReason.MATCHES}
    assert stage.source.pages <= 4 * (2 + 4)  # type: ignore[attr-defined]


def test_throttles_and_resets_of_the_store_fail_no_image() -> None:
    """SlowDown is waited for, a reset is repeated, each for its own request."""
    stage = staged(birds(200), 1)
    stage.source._source._fault = lambda key, attempt: (  # type: ignore[attr-defined]
        [ThrottledError("SlowDown", cause=ThrottleCause.RATE), TransientError("reset", may_be_billed=False)][
            hash(key) % 2
        ]
        if attempt < 3
        else None
    )
    summary = stage.run(ranged_job(8))
    assert (summary.stop_reason, summary.counts.examined, summary.counts.failed) == (StopReason.COMPLETED, 200, {})


def test_a_denied_listing_ends_the_run() -> None:
    """The error of any range is the run's; what was paid for until then is kept."""
    stage = staged(birds(200), 1)
    stage.source._source._fault = lambda key, _attempt: AccessError("denied") if key > "0" else None  # type: ignore[attr-defined]
    summary = stage.run(ranged_job(8))
    assert (summary.stop_reason, summary.exit_code) == (StopReason.FAILED, 4)


@SLOW
@given(labels=LABELS, ranges=st.integers(2, 12), seed=st.integers(0, 99), sample=st.integers(0, 5))
def test_a_plan_is_that_of_one_range(labels: dict[str, str], ranges: int, seed: int, sample: int) -> None:
    """Counts, sample and skipped keys, although pages are counted in the order in which they arrive."""
    keys = labels | dict.fromkeys([f"{key}.txt" for key in labels], "Cat")
    found = []
    for number in (1, ranges):
        stage = staged(keys, seed, is_twice=True)
        plan = partial(survey, ranged_job(number), sample=sample, overrides=stage.overrides())
        found.append(run_virtually(plan))
    assert found[0].survey == found[1].survey
