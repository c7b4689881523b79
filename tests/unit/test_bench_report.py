"""The report of a bench: settings that a job file accepts, and the figures of the measurement."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from asyncfilter import Job
from asyncfilter.aws.session import Endpoint
from asyncfilter.model import Counts, StopReason, Summary
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin
from asyncfilter.policy.quota_advice import LONGEST_TIMEOUT_S, demand, settings
from asyncfilter.policy.throughput import BenchPlan, Measurement, Samples, Second, throughput
from asyncfilter.report.as_json import json_text
from asyncfilter.report.terminal.bench import bench_mapping, draw_bench, question, settings_yaml
from tests.kit.jobs import make_bare_job


def make_job(**limits: Any) -> Job:
    """A job with these limits."""
    return make_bare_job(limits=limits)


def make_found(
    accepted: int = 50,
    throttled: int = 0,
    *,
    seconds: int = 31,
    ceiling_tps: float = 75.0,
    quota_tps: float | None = 50.0,
    latency_ms: int = 300,
    images: int | None = None,
    stop_reason: StopReason = StopReason.COMPLETED,
) -> Measurement:
    """A measurement that is equal in every second except for the throttles, which are all early."""
    every = [Second(accepted, accepted, 0, accepted * latency_ms / 1000) for _ in range(seconds)]
    every[: min(3, seconds)] = [Second(accepted + throttled, accepted, throttled, 1.0)] * min(3, seconds)
    calls = accepted * seconds
    samples = Samples(seconds=every, latencies=Counter({latency_ms: calls}), peak_in_flight=40, size_bytes=5000 * calls)
    now = Counts(calls=calls, attempts=calls + 3 * throttled, throttled=3 * throttled, spent_micros=1000 * calls)
    return Measurement(
        bench_plan=BenchPlan(
            seconds_s=30,
            ceiling_tps=ceiling_tps,
            quota=None if quota_tps is None else QuotaAnswer(quota_tps, QuotaOrigin.DEFAULT),
            region="us-east-1" if quota_tps else "",
            is_local=False,
            allowance_micros=2_300_000,
            limit_micros=2_300_000,
            quota_micros=1_500_000,
            images=images,
        ),
        summary=Summary(
            run_id="x",
            name="robins",
            stop_reason=stop_reason,
            counts=now,
            this_run=now,
            budget_micros=None,
            tps_mean=1.0,
            tps_limit=None,
            wall_s=30.0,
            resumed=False,
            checkpoint="x.db",
        ),
        samples=samples,
        throughput=throughput(samples, ceiling_tps),
        is_time_up=stop_reason is StopReason.COMPLETED,
    )


def drawn(found: Measurement, job: Job, width: int, within_s: float | None = None) -> str:
    """The report as text."""
    out = io.StringIO()
    Console(file=out, width=width).print(draw_bench(job, found, within_s))
    return out.getvalue()


@given(
    accepted=st.integers(1, 3000),
    throttled=st.integers(0, 50),
    ceiling_tps=st.floats(1, 5000),
    quota_tps=st.none() | st.floats(0.5, 5000),
    latency_ms=st.integers(1, 400_000),
    width=st.integers(10, 200),
    limits=st.fixed_dictionaries(
        {},
        optional={
            "timeout_s": st.floats(0.1, 3600),
            "concurrency": st.integers(1, 10_000),
            "share": st.floats(0.01, 1),
            "tps": st.floats(1, 1000),
        },
    ),
)
def test_settings_are_a_part_of_a_job_file(
    accepted: int,
    throttled: int,
    ceiling_tps: float,
    quota_tps: float | None,
    latency_ms: int,
    width: int,
    limits: dict[str, Any],
) -> None:
    """The printed settings of any measurement are YAML that a job accepts, with the same values, at any width."""
    job = make_job(**limits)
    found = make_found(accepted, throttled, ceiling_tps=ceiling_tps, quota_tps=quota_tps, latency_ms=latency_ms)
    advised = settings(found, job.limits)
    if advised is None:
        return
    pasted = yaml.safe_load(settings_yaml(job, found, advised, width))
    taken = make_bare_job(**pasted).limits
    assert taken.tps == (None if advised.tps is None else pytest.approx(advised.tps, rel=1e-4))
    assert taken.concurrency == advised.concurrency
    assert advised.timeout_s == pytest.approx(pasted["limits"].get("timeout_s", job.limits.timeout_s), rel=1e-4)
    assert job.limits.timeout_s <= advised.timeout_s <= max(job.limits.timeout_s, LONGEST_TIMEOUT_S)


@pytest.mark.parametrize(
    ("found", "tps", "word"),
    [
        (make_found(49, 9), None, "the quota is 50 (default); 49 a second were accepted"),
        (make_found(30, 9), 30.0, "30 a second were accepted, though the quota is 50"),
        (make_found(65, 9), 65.0, "65 a second were accepted, though the quota is 50"),
        (make_found(75), 75.0, "at least: the limit was not reached"),
        (make_found(20, ceiling_tps=20.0), None, "and no more were tried"),
        (make_found(20), None, "and no more were made"),
        (make_found(5, 2, ceiling_tps=7.5, quota_tps=5.0), None, "the quota is 5 "),
        (make_found(40, 9, quota_tps=None), 40.0, "40 a second were accepted"),
    ],
)
def test_a_rate_is_advised_where_the_reported_quota_is_wrong(found: Measurement, tps: float | None, word: str) -> None:
    """The quota of Service Quotas is used (``auto``) unless the measurement contradicts it; a comment says why."""
    job = make_job()
    advised = settings(found, job.limits)
    assert advised is not None
    assert advised.tps == tps
    assert word in " ".join(settings_yaml(job, found, advised).replace("#", "").split())


def test_concurrency_and_time_out_are_advised_where_they_are_too_small() -> None:
    """A concurrency too low for the rate becomes ``auto``; a time-out near the latencies is raised."""
    found = make_found(50, 9, latency_ms=900)
    small, large = (settings(found, make_job(concurrency=number).limits) for number in (10, 100))
    assert small is not None
    assert large is not None
    assert (small.concurrency, large.concurrency) == (None, 100)
    short, long = (settings(found, make_job(timeout_s=seconds).limits) for seconds in (1, 15))
    assert short is not None
    assert long is not None
    assert (short.timeout_s, long.timeout_s) == (2, 15)


def test_what_was_too_short_advises_nothing() -> None:
    """Without a steady rate there are no settings, and text and JSON show it."""
    found = make_found(50, 9, seconds=8, stop_reason=StopReason.BUDGET)
    assert settings(found, make_job().limits) is None
    text = drawn(found, make_job(), 80)
    assert "too short to find the rate" in text
    assert "the budget was spent before its 30 s" in text
    assert "limits:" not in text
    nothing = make_found(0, seconds=0)
    assert nothing.throughput is None
    assert "not known" in drawn(nothing, make_job(), 80)
    assert bench_mapping(make_job(), nothing)["accepted_tps"] is None


def test_the_quota_for_a_target_time_is_worked_out() -> None:
    """The needed rate is images per second, rounded up; a peak is five seconds; none if the rate is enough."""
    found = make_found(50, 9, images=1_001_550)
    wanted = demand(found, 3600)
    assert wanted is not None
    assert (wanted.images, wanted.needed_tps, wanted.peak_calls, wanted.is_met) == (1_000_000, 278, 1390, False)
    assert wanted.duration_s == pytest.approx(20_000)
    enough = demand(found, 8 * 3600)
    assert enough is not None
    assert enough.is_met
    request = bench_mapping(make_job(), found, 3600)["request"]
    assert isinstance(request, dict)
    assert (request["wanted_tps"], request["peak_calls"], request["quota_code"]) == (278, 1390, "L-E29B542B")
    assert "278 calls a second" in drawn(found, make_job(), 100, 3600)
    assert demand(make_found(), 3600) is None


def test_nothing_is_requested_that_is_granted_already() -> None:
    """If less than the reported quota is accepted, an increase is no remedy: other clients use the quota."""
    found = make_found(30, 9, images=145_000)
    mapping = bench_mapping(make_job(), found, 3600)
    request, needed = mapping["request"], mapping["demand"]
    assert isinstance(request, dict)
    assert isinstance(needed, dict)
    assert (needed["needed_tps"], needed["is_met"], needed["is_told"]) == (41, False, True)
    assert (request["wanted_tps"], request["peak_calls"]) == (None, None)
    assert "other programs may use it" in drawn(found, make_job(), 100, 3600)


@pytest.mark.parametrize("width", [40, 100])
def test_it_fits_the_terminal(width: int) -> None:
    """No line is wider than the terminal, and all figures are shown."""
    text = drawn(make_found(49, 9, images=100_000), make_job(), width, 3600)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for words in ("50 calls a second (default)", "49 calls a second", "300 ms (p99)", "L-E29B542B", "asyncfilter run"):
        assert words in " ".join(text.split())


def test_the_question_names_the_most_it_can_cost() -> None:
    """Rate, time, likely and highest price, and that the labels stay."""
    text = question(make_found().bench_plan)
    for word in ("75 calls a second", "30 s", "$1.50", "at most $2.30", "kept"):
        assert word in text


def test_scripts_get_figures_of_a_detector_of_ones_own() -> None:
    """Without Service Quotas there is no reported quota and no request for more; the JSON is complete."""
    mapping = msgspec.json.decode(json_text(bench_mapping(make_job(), make_found(quota_tps=None))))
    assert (mapping["quota_tps"], mapping["request"], mapping["region"]) == (None, None, None)
    assert mapping["accepted_tps"] == 50.0


@pytest.mark.parametrize(
    ("origin", "is_loopback"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://[::1]:4566", True),
        ("http://localhost:80", True),
        ("http://aws.localhost", True),
        ("https://rekognition.us-east-1.amazonaws.com", False),
        ("https://vpce-0a1b.rekognition.us-east-1.vpce.amazonaws.com", False),
        ("https://10.0.0.7", False),
        ("https://localhost.example.com", False),
    ],
)
def test_only_this_machine_is_no_account(origin: str, is_loopback: bool) -> None:
    """An endpoint of a private network is a real account, for which payment needs consent."""
    endpoint = Endpoint(origin=origin, host="x", base_path="", service="rekognition", region="us-east-1")
    assert endpoint.is_loopback is is_loopback
