"""Whole runs with a Custom Labels model: its running time is paid for, not its calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncfilter import AccessError, Summary, bench, plan, run
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit import jobs
from tests.kit.services import serving

OPTIONS = SandboxOptions(synthetic=(SyntheticSpec("raw", 400),), buckets=(BucketSpec("clean"),))


make_job = partial(
    jobs.make_bare_job,
    detector={"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN},
    actions={"keep": {"copy": "s3://clean/"}},
)


async def run_model(
    folder: Path, *, options: SandboxOptions = OPTIONS, **changes: Any
) -> tuple[Summary, dict[str, int]]:
    """One run over a sandbox; the summary, and the number of calls of each operation."""
    async with serving(options) as sandbox:
        summary = await run(make_job(base_dir=folder, **changes))
        return summary, {name: stats.attempts for name, stats in sandbox.stats().operations.items()}


async def test_calls_are_free_and_time_is_charged(tmp_path: Path) -> None:
    """A run costs the model's hourly price for its duration, with any number of calls."""
    summary, calls = await run_model(tmp_path, limits={"tps": 5000})
    assert (summary.stop_reason, summary.counts.examined, summary.counts.billed_calls) == ("completed", 400, 0)
    assert calls["DetectCustomLabels"] == 400
    hourly_micros = 4_000_000
    assert summary.counts.spent_micros == pytest.approx(hourly_micros * summary.wall_s / 3600, rel=0.2)


async def test_time_runs_against_the_budget(tmp_path: Path) -> None:
    """The run ends while calls in flight can still finish within the budget."""
    summary, _ = await run_model(
        tmp_path,
        limits={"tps": 20, "budget_usd": 3, "timeout_s": 1},
        pricing={"inference_unit_hour_usd": 3600},
    )
    assert summary.stop_reason == "budget"
    assert summary.counts.spent_micros <= 3_000_000
    assert summary.exit_code == 0


async def test_a_bench_pays_for_its_time(tmp_path: Path) -> None:
    """The price covers the model's time from the start to the last answer, so that the budget does not end the run."""
    job = make_job(base_dir=tmp_path, actions=None, limits={"timeout_s": 3}, pricing={"inference_unit_hour_usd": 3600})
    async with serving(OPTIONS):
        found = await bench(job, seconds_s=2, tps=20)
    assert found.is_time_up
    assert found.summary.this_run.calls > 0
    assert 2_000_000 <= found.summary.this_run.spent_micros <= found.bench_plan.allowance_micros == 15_000_000
    assert found.bench_plan.quota is not None


async def test_a_stopped_model_is_reported_before_anything_is_listed(tmp_path: Path) -> None:
    """A stopped model is an access error with a remedy, not 400 failed images."""
    stopped = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 5),), buckets=(BucketSpec("clean"),), model_status="STOPPED"
    )
    with pytest.raises(AccessError, match="STOPPED") as caught:
        await run_model(tmp_path, options=stopped)
    assert caught.value.hint == "Start the model and run again once it is RUNNING."


@pytest.mark.slow
async def test_a_bench_says_what_a_unit_takes(tmp_path: Path) -> None:
    """Units throttle long before the quota; what one takes is kept for ``plan``."""
    options = SandboxOptions(synthetic=(SyntheticSpec("raw", 400),), inference_units=2, unit_tps=3)
    job = make_job(base_dir=tmp_path, actions=None)
    async with serving(options):
        before = await plan(job)
        found = await bench(job, seconds_s=15, tps=24)
        after = await plan(job)
    assert found.is_unit_limit
    assert found.unit_tps == pytest.approx(3, rel=0.15)
    units = [result.plan_inputs.terms.unit for result in (before, after)]
    assert [(unit.units, unit.is_measured) for unit in units if unit is not None] == [(2, False), (2, True)]
    assert after.plan_inputs.terms.limit_tps == pytest.approx(6, rel=0.15)
