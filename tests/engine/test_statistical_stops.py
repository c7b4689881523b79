"""Runs with ``stop.hit_rate`` and ``stop.errors``: where they stop, and how they are continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from asyncfilter import Job
from asyncfilter.errors import ImageError
from asyncfilter.events import JobWarning
from asyncfilter.model import StopReason
from asyncfilter.policy.sequential import is_surely_below
from asyncfilter.testing import BROKEN, Stage
from tests.kit import jobs


def make_job(stop: Mapping[str, Any], **source: Any) -> Job:
    """A job that keeps and copies robins, with these stop rules."""
    return jobs.make_job(source={"uri": "s3://raw/", **source}, stop=dict(stop))


def test_a_poor_source_is_left_and_the_run_is_a_success() -> None:
    """The run ends at the deciding image with exit 0; repeated, it makes no call; with a lower bound it continues."""
    labels = {f"{number:05d}.jpg": "Robin" if number % 100 == 50 else "Cat" for number in range(3000)}
    stage = Stage(labels)
    rule = {"below": 0.05, "confidence": 0.95}
    summary = stage.run(make_job({"hit_rate": rule}, order="random"))
    examined, keep = summary.counts.examined, summary.counts.keep
    assert (summary.stop_reason, summary.exit_code) == (StopReason.HIT_RATE, 0)
    assert is_surely_below(0.05, 0.95, hits=keep, trials=examined)
    assert examined < 400
    paid = sum(stage.detector.attempts.values())
    assert stage.run(make_job({"hit_rate": rule}, order="random")).this_run.calls == 0
    further = stage.run(make_job({"hit_rate": rule | {"below": 0.02}}, order="random"))
    assert further.counts.examined > examined
    assert further.this_run.calls == sum(stage.detector.attempts.values()) - paid
    assert set(stage.detector.attempts.values()) == {1}


@pytest.mark.parametrize(("order", "reported"), [("listing", 1), ("random", 0)])
def test_a_warning_that_a_prefix_is_no_sample_is_given_once(order: str, reported: int) -> None:
    """A run in listing order warns once that its first images are no sample; one in random order does not."""
    stage = Stage({f"{number}.jpg": "Cat" for number in range(30)})
    stage.run(make_job({"hit_rate": {"below": 0.1}}, order=order))
    job_warnings = [event for event in stage.events if isinstance(event, JobWarning)]
    assert len(job_warnings) == reported
    assert all("order: random" in event.message for event in job_warnings)


def test_copies_that_fail_do_not_move_the_stop() -> None:
    """Copies that fail for good, and a crash in between, do not move the stop from that of the one-by-one loop."""
    labels = {f"{number:05d}.jpg": "Robin" if number % 10 == 0 else "Cat" for number in range(2000)}
    job = make_job({"hit_rate": {"below": 0.25}})
    calm = Stage(labels).run(job)

    def denied(_key: str, _attempt: int) -> Exception:
        return ImageError("may not be copied", code="target_exists")

    stage = Stage(labels, sink_fault=denied)
    for life_s in (0.5, 1.0, 1.5, 2.0):
        stage.run_and_die(job, life_s)
    summary = stage.run(job)
    assert calm.stop_reason is summary.stop_reason is StopReason.HIT_RATE
    assert summary.counts.examined == calm.counts.examined
    assert summary.counts.failed == {"target_exists": calm.counts.keep}


def test_errors_stop_the_run_and_a_retry_counts_anew() -> None:
    """Too many failures end the run with exit 1 and their cause; it stays ended until failed images are retried."""
    labels = {f"{number:03d}.jpg": BROKEN if 40 <= number < 80 else "Robin" for number in range(200)}
    is_cured = False

    def fault(key: str, _attempt: int) -> Exception | None:
        broken = labels[key] == BROKEN and not is_cured
        return ImageError("no permission for the key", code="odd_cause") if broken else None

    stage = Stage(labels, fault=fault)
    job = make_job({"errors": {"rate": 0.3, "window": 20}})
    summary = stage.run(job)
    assert (summary.stop_reason, summary.exit_code) == (StopReason.ERRORS, 1)
    assert summary.counts.examined == 46
    assert summary.counts.failed == {"odd_cause": 6}
    assert "6 of the last 20" in (summary.error or "")
    assert "--retry-failed" in (summary.hint or "")
    again = stage.run(job)
    assert (again.stop_reason, again.this_run.calls) == (StopReason.ERRORS, 0)
    is_cured = True
    final = stage.run(job, retry_failed=True)
    assert (final.stop_reason, final.counts.examined, final.exit_code) == (StopReason.COMPLETED, 200, 0)


def test_errors_of_access_exit_with_4() -> None:
    """If most failures are denied access, the exit code is that of access."""
    labels = {f"{number:03d}.jpg": "Robin" for number in range(100)}

    def fault(key: str, _attempt: int) -> Exception | None:
        return ImageError("Access Denied", code="access_denied") if int(key[:3]) % 2 else None

    summary = Stage(labels, fault=fault).run(make_job({"errors": {"rate": 0.4, "window": 10}}))
    assert (summary.stop_reason, summary.exit_code, summary.counts.examined) == (StopReason.ERRORS, 4, 10)
