"""A listing without images ends a run with its likely cause; a run that found nothing new is a success."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import plan
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.examine.empty_listing import SEARCH_S, EmptyListing
from asyncfilter.errors import ExitCode, PermissionDeniedError, ThrottleCause, ThrottledError
from asyncfilter.events import Draining
from asyncfilter.job import Job
from asyncfilter.job.spec import Order
from asyncfilter.model import ListedObject, NothingFound, StopReason, Summary
from asyncfilter.policy.forecast import PlanResult
from asyncfilter.testing import LoopClock, MemorySource, Stage, run_virtually
from tests.kit.jobs import make_bare_job
from tests.kit.labels import birds


def emptied(*objects: ListedObject | str) -> Stage:
    """A stage whose source has these objects; a key alone is an object of 1,000 bytes."""
    stage = Stage({})
    stage.source = MemorySource(
        one if isinstance(one, ListedObject) else ListedObject(one, 1000, "e") for one in objects
    )
    return stage


def planned(stage: Stage, job: Job) -> PlanResult:
    """A plan over the stage."""
    return run_virtually(partial(plan, job, overrides=stage.overrides()))


def explained(stage: Stage, **source: Any) -> Summary:
    """The summary of a run that has nothing to examine, after a plan that says the same."""
    job = make_bare_job(source={"uri": "s3://raw/birds/", **source})
    found = planned(stage, job)
    summary = stage.run(job)
    assert summary.stop_reason is StopReason.NOTHING_TO_EXAMINE
    assert (summary.exit_code, summary.complete) == (ExitCode.SOME_FAILED, False)
    assert summary.nothing is not None
    if job.source.order is Order.LISTING:
        assert found.plan_inputs.nothing == summary.nothing
    assert found.forecast.ends is StopReason.NOTHING_TO_EXAMINE
    assert found.plan_inputs.nothing is not None
    assert f"nothing to examine: {found.plan_inputs.nothing.message}" in found.cautions
    assert (summary.error, summary.hint) == (summary.nothing.message, summary.nothing.hint)
    return summary


@pytest.mark.parametrize("order", ["listing", "random"])
def test_nothing_listed(order: str) -> None:
    """The address is named; nothing was skipped."""
    summary = explained(emptied(), order=order)
    assert summary.error is not None
    assert "no object is listed in s3://raw/birds/" in summary.error
    assert (summary.counts.listed, summary.counts.skipped) == (0, {})


@pytest.mark.parametrize("order", ["listing", "random"])
def test_each_reason_has_up_to_three_keys(order: str) -> None:
    """With the number of all of them, the most frequent reason first."""
    keys = [f"birds/{number:04d}.txt" for number in range(1500)]
    stage = emptied(*keys, "birds/", ListedObject("birds/a.jpg", 0, "e"), "birds/z.txt")
    summary = explained(stage, order=order)
    assert summary.nothing is not None
    assert summary.counts.skipped == {"folder": 1, "empty": 1, "not_included": 1501}
    assert {reason: len(kept) for reason, kept in summary.nothing.skipped_keys.items()} == {
        "folder": 1,
        "empty": 1,
        "not_included": 3,
    }
    assert summary.error is not None
    assert "1,503 objects are listed in s3://raw/birds/, and all are skipped: 1,501 not included (" in summary.error
    for kept in summary.nothing.skipped_keys.values():
        assert all(repr(key) in summary.error for key in kept)


CAUSES: dict[str, tuple[list[Any], dict[str, Any], str, str]] = {
    "braces": (
        ["birds/a.jpg", "birds/b.png"],
        {"include": ["*.{jpg,png}"]},
        "braces ({a,b}) have no meaning",
        'Set source.include to ["*.jpg", "*.png"].',
    ),
    "a double star": (
        ["birds/a.jpg"],
        {"include": ["birds/**/*.jpg"]},
        "`**/` needs a folder",
        'Set source.include to ["birds/**.jpg"].',
    ),
    "a glob of the name alone": (
        ["birds/robin-1.jpg"],
        {"include": ["robin-*.jpg"]},
        "globs are compared with the whole key",
        'Set source.include to ["*/robin-*.jpg"].',
    ),
    "a glob without a star": (
        ["birds/1.jpg"],
        {"include": [".jpg"]},
        "a glob must match the whole key",
        'Set source.include to ["*.jpg"].',
    ),
    "the Unicode form of a glob": (
        ["birds/cafe\u0301.jpg"],
        {"include": ["*caf\u00e9.jpg"]},
        "the Unicode form of a glob",
        "Copy the glob from a key.",
    ),
    "an extension that is not included": (
        ["birds/a.webp", "birds/b.webp", "birds/c.txt"],
        {},
        "the extension: the images are .webp",
        'Set source.include to ["*.jpg", "*.jpeg", "*.png", "*.webp"] and convert: true.',
    ),
    "no images at all": (["birds/a.txt", "birds/b"], {}, "no key has one of an image (found: .txt, none)", 'to ["*"]'),
    "excluded": (
        ["birds/a.jpg"],
        {"exclude": ["*/x/*", "*/a*"]},
        "source.exclude leaves out every image ('*/a*')",
        "Remove that glob from source.exclude.",
    ),
    "empty objects": ([ListedObject("birds/a.jpg", 0, "e")], {}, "every object is empty", "Upload the images again."),
    "archived objects": (
        [ListedObject("birds/a.jpg", 5, "e", "DEEP_ARCHIVE")],
        {},
        "every object is archived",
        "Restore the objects in S3, then run again.",
    ),
    "too large objects": (
        [ListedObject("birds/a.jpg", 20_000_000, "e")],
        {},
        "larger than the service accepts",
        "Scale the images down; with convert: true 200 MB are taken.",
    ),
    "marks of folders": (["birds/"], {}, "only marks of folders", "Set source.uri to where the images are."),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_likely_cause(name: str) -> None:
    """Cause and remedy are told, whichever rules the globs break."""
    objects, source, cause, hint = CAUSES[name]
    summary = explained(emptied(*objects), **source)
    assert summary.nothing is not None
    assert cause in summary.nothing.likely_cause
    assert hint in summary.nothing.hint
    assert f"Likely cause: {summary.nothing.likely_cause}." in summary.nothing.message


def test_the_drain_has_the_explanation() -> None:
    """It is in the log and in the events, too."""
    stage = emptied("birds/a.txt")
    summary = explained(stage)
    drains = [event for event in stage.events if isinstance(event, Draining)]
    assert [(drain.reason, drain.message) for drain in drains] == [("nothing_to_examine", summary.error)]


def test_a_run_that_finds_nothing_new_is_a_success() -> None:
    """A checkpoint with images, a listing that has lost all of them: the run is complete."""
    stage = Stage(birds(4))
    job = make_bare_job()
    assert stage.run(job).stop_reason is StopReason.COMPLETED
    for key in birds(4):
        stage.source.remove(key)
    again = stage.run(job)
    assert (again.stop_reason, again.exit_code, again.complete) == (StopReason.COMPLETED, ExitCode.OK, True)
    assert planned(stage, job).plan_inputs.nothing is None


def test_images_that_come_later_are_examined() -> None:
    """The same checkpoint goes on once there are images."""
    stage = Stage(birds(3))
    every = [stage.source.head(key) for key in birds(3)]
    for key in birds(3):
        stage.source.remove(key)
    job = make_bare_job()
    assert stage.run(job).stop_reason is StopReason.NOTHING_TO_EXAMINE
    for one in every:
        assert one is not None
        stage.source.put(one)
    summary = stage.run(job)
    assert (summary.stop_reason, summary.counts.examined, summary.counts.listed) == (StopReason.COMPLETED, 3, 3)


def test_failed_images_are_images() -> None:
    """A run whose images all fail has examined something."""
    summary = Stage({"a.jpg": "Broken"}).run(make_bare_job())
    assert (summary.stop_reason, summary.exit_code, summary.complete) == ("completed", ExitCode.SOME_FAILED, True)


class Elsewhere:
    """``Places`` with which there is trouble."""

    prefix = "birds/"

    def __init__(self, answer: Callable[[], Awaitable[Sequence[Any]]]) -> None:
        self._answer = answer

    def address(self, prefix: str) -> str:
        """See ``Places``."""
        return f"s3://raw/{prefix}"

    def above(self, prefix: str) -> Sequence[str]:
        """See ``Places``."""
        del prefix
        return [""]

    async def folders(self, prefix: str) -> Sequence[str]:
        """See ``Places``."""
        del prefix
        return await self._answer()

    async def objects(self, prefix: str) -> Sequence[ListedObject]:
        """See ``Places``."""
        del prefix
        return await self._answer()


async def denied() -> Sequence[Any]:
    """A place that may not be listed."""
    raise PermissionDeniedError("AccessDenied")


async def throttled() -> Sequence[Any]:
    """A place that is never listed."""
    raise ThrottledError("slow down", cause=ThrottleCause.RATE)


async def silent() -> Sequence[Any]:
    """A place without an answer."""
    await anyio.sleep_forever()
    return ()


@pytest.mark.parametrize("answer", [denied, throttled, silent])
def test_trouble_with_the_search_is_no_error(answer: Callable[[], Awaitable[Sequence[Any]]]) -> None:
    """It is given up soon, and the explanation is shorter."""
    clock = LoopClock()
    empty_listing = EmptyListing(
        make_bare_job(source="s3://raw/birds/").source,
        source=MemorySource(),
        places=Elsewhere(answer),
        check=lambda _listed: None,
        repeat=Repeater(max_attempts=3, pause=full_pause(clock), rng=Random(0)),
    )

    async def explain() -> tuple[NothingFound, float]:
        began_s = clock.monotonic()
        return await empty_listing.explain(0, {}, {}), clock.monotonic() - began_s

    found, took_s = run_virtually(explain)
    assert took_s <= SEARCH_S + 1
    assert found.nearest_prefix is None
    assert found.message == "no object is listed in s3://raw/birds/. Likely cause: no key begins with 'birds/'."


# -- Complete ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({}, "completed"),
        ({"stop": {"matches": 2}}, "matches"),
        ({"stop": {"misses_in_a_row": 2}}, "misses_in_a_row"),
        ({"limits": {"max_images": 5}}, "max_images"),
        ({"limits": {"budget_usd": 0.004}, "pricing": {"tiers": [{"up_to": None, "usd": 0.001}]}}, "budget"),
        ({"stop": {"errors": {"rate": 0.3, "window": 3}}}, "errors"),
        ({"source": {"uri": "s3://raw/", "order": "random"}, "stop": {"hit_rate": {"below": 0.99}}}, "hit_rate"),
    ],
)
def test_complete_is_the_whole_listing(sections: dict[str, Any], reason: str) -> None:
    """Only a run that no stop rule, cap or budget cut short is complete; a second one says the same."""
    stage = Stage(birds(30, every=5, broken_every=5))
    job = make_bare_job(**sections)
    for _ in range(2):
        summary = stage.run(job)
        assert summary.stop_reason == reason
        assert summary.complete is (reason == "completed")
    dry = stage.run(job, dry_run=True)
    assert dry.complete is (reason == "completed")


def test_a_refilter_is_as_complete_as_what_it_filters() -> None:
    """It lists nothing: it is complete when the last run had listed everything."""
    part, whole = Stage(birds(30)), Stage(birds(30))
    part.run(make_bare_job(limits={"max_images": 5}))
    whole.run(make_bare_job())
    cats = make_bare_job(rules=[{"keep": {"any": "Cat"}}])
    assert (part.refilter(cats).complete, whole.refilter(cats).complete) == (False, True)


@settings(max_examples=40, deadline=None)
@given(images=st.integers(0, 12), cap=st.none() | st.integers(1, 12), matches=st.none() | st.integers(1, 12))
def test_complete_means_that_every_image_is_examined(images: int, cap: int | None, matches: int | None) -> None:
    """And nothing to examine means that there is none."""
    stage = Stage(birds(images))
    job = make_bare_job(limits={"max_images": cap}, stop={"matches": matches} if matches else {})
    summary = stage.run(job)
    assert not summary.complete or summary.counts.examined == images == summary.counts.listed
    assert (summary.stop_reason is StopReason.NOTHING_TO_EXAMINE) == (images == 0)
    assert msgspec.to_builtins(summary)["complete"] is summary.complete
