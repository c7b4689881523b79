"""Listings that fail or do not go on, of any source, and copies that all fail: they end with their cause."""

from __future__ import annotations

import msgspec
import pytest

from asyncfilter.errors import EndpointError, ImageError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.model import ListedObject, StopReason, Summary
from asyncfilter.ports.examine import Page, Source
from asyncfilter.testing import Stage, run_virtually
from asyncfilter.wiring.plan import plan
from asyncfilter.wiring.run import run
from tests.kit.jobs import make_job

THROTTLED = ThrottledError("SlowDown", cause=ThrottleCause.SERVER, may_be_billed=True)
FAILED = TransientError("HTTP 500", may_be_billed=True)
ORDERS = pytest.mark.parametrize("order", ["listing", "random"])


class Repeating:
    """A source that returns the same page again and again."""

    def __init__(self) -> None:
        self.pages = 0

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        self.pages += 1
        assert self.pages < 10, "the listing is read without end"
        return Page([ListedObject("a.jpg", 10, "e" * 32)], is_last=False)


class Failing:
    """A source that raises the same error at every attempt behind its first page."""

    def __init__(self, error: Exception) -> None:
        self.attempts = 0
        self._error = error

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        self.attempts += 1
        assert self.attempts < 10_000, "the listing is read without end"
        if after is None:
            return Page([ListedObject("a.jpg", 10, "e" * 32)], is_last=False)
        raise self._error


def over(source: Source, order: str = "listing") -> Summary:
    """A run over a source, in virtual time."""
    stage = Stage({"a.jpg": "Robin"})
    job = make_job(source={"uri": "s3://raw/", "order": order})
    return run_virtually(lambda: run(job, overrides=msgspec.structs.replace(stage.overrides(), source=source)))


@ORDERS
@pytest.mark.parametrize("error", [THROTTLED, FAILED])
def test_a_listing_that_keeps_failing_ends_as_an_error_of_access(order: str, error: Exception) -> None:
    """docs/guarantees.md, *The rate holds*: a throttled page ends it after ten minutes, another failure sooner."""
    summary = over(Failing(error), order)
    assert (summary.stop_reason, summary.exit_code) == (StopReason.FAILED, 4)
    assert summary.hint
    assert str(error) in (summary.error or "")
    assert summary.wall_s < 700
    assert (summary.wall_s >= 600) is (error is THROTTLED)


@pytest.mark.parametrize("error", [THROTTLED, FAILED])
def test_a_plan_ends_as_well(error: Exception) -> None:
    """A plan has no other watch on time."""
    overrides = msgspec.structs.replace(Stage({}).overrides(), source=Failing(error))
    with pytest.raises(EndpointError, match="cannot be read"):
        run_virtually(lambda: plan(make_job(), overrides=overrides))


@ORDERS
def test_a_page_that_is_returned_again_ends_the_run(order: str) -> None:
    """A source of one's own that ignores ``after`` is named, not read without end."""
    summary = over(Repeating(), order)
    assert (summary.stop_reason, summary.exit_code) == (StopReason.FAILED, 70)
    assert "does not go on" in (summary.error or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageError.access_denied("tags", remedy="Allow s3:GetObjectTagging."), 4),
        (TransientError("HTTP 500", may_be_billed=True), 1),
    ],
)
def test_copies_that_all_fail_for_one_cause_end_the_run(error: Exception, code: int) -> None:
    """docs/guarantees.md, *One image cannot stop a run, the account can*: that holds for actions too."""
    stage = Stage({f"{n:03}.jpg": "Robin" for n in range(300)}, sink_fault=lambda _key, _attempt: error)
    summary = stage.run(make_job())
    assert (summary.stop_reason, summary.exit_code) == (StopReason.ERRORS, code)
    assert 20 <= sum(summary.counts.failed.values()) < 300


def test_some_copies_that_fail_do_not_end_it() -> None:
    """One tagged object fails alone."""
    denied = ImageError.access_denied("tags", remedy="Allow s3:GetObjectTagging.")
    stage = Stage(
        {f"{n:03}.jpg": "Robin" for n in range(100)},
        sink_fault=lambda key, _attempt: denied if int(key[:3]) % 3 == 0 else None,
    )
    summary = stage.run(make_job())
    assert (summary.stop_reason, summary.counts.failed) == (StopReason.COMPLETED, {"access_denied": 34})
