"""Whole runs with a Custom Labels model: calls cost nothing each, its time does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncfilter import AccessError, Summary, bench, parse_job, run
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN

OPTIONS = SandboxOptions(synthetic=(SyntheticSpec("raw", 400),), buckets=(BucketSpec("clean"),))


async def run_model(
    tmp_path: Path, patch: pytest.MonkeyPatch, *, options: SandboxOptions = OPTIONS, **changes: Any
) -> tuple[Summary, dict[str, int]]:
    """One run over a sandbox; the summary, and how often each operation was called."""
    settings: dict[str, Any] = {
        "version": 1,
        "name": "model",
        "source": "s3://raw/",
        "detector": {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN},
        "rules": [{"keep": {"any": "Robin"}}],
        "actions": {"keep": {"copy": "s3://clean/"}},
    }
    async with Sandbox(options) as sandbox:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        summary = await run(parse_job(settings | changes, base_dir=tmp_path))
        return summary, {name: stats.attempts for name, stats in sandbox.stats().operations.items()}


async def test_calls_are_free_and_time_is_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run costs the model's hourly price for as long as it lasts, whatever it calls."""
    summary, calls = await run_model(tmp_path, monkeypatch, limits={"tps": 5000})
    assert (summary.stop_reason, summary.counts.examined, summary.counts.billed_calls) == ("completed", 400, 0)
    assert calls["DetectCustomLabels"] == 400
    hourly_micros = 4_000_000
    assert summary.counts.spent_micros == pytest.approx(hourly_micros * summary.wall_s / 3600, rel=0.2)


async def test_time_runs_against_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends while what is in flight can still finish within the budget."""
    summary, _ = await run_model(
        tmp_path,
        monkeypatch,
        limits={"tps": 20, "budget_usd": 3, "timeout_s": 1},
        pricing={"inference_unit_hour_usd": 3600},
    )
    assert summary.stop_reason == "budget"
    assert summary.counts.spent_micros <= 3_000_000
    assert summary.exit_code == 0


async def test_a_bench_pays_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its price covers the model's time from the start to the last answer, so that it is not the money that ends it."""
    settings: dict[str, Any] = {
        "version": 1,
        "name": "model",
        "source": "s3://raw/",
        "detector": {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN},
        "rules": [{"keep": {"any": "Robin"}}],
        "limits": {"timeout_s": 3},
        "pricing": {"inference_unit_hour_usd": 3600},
    }
    async with Sandbox(OPTIONS) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        found = await bench(parse_job(settings, base_dir=tmp_path), seconds_s=2, tps=20)
    assert found.is_time_up
    assert found.summary.this_run.calls > 10
    assert 2_000_000 <= found.summary.this_run.spent_micros <= found.trial.allowance_micros == 15_000_000
    assert found.trial.quota is not None


async def test_model_that_does_not_run_is_told_before_anything_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped model is an access error with a remedy, not 400 failed images."""
    stopped = SandboxOptions(
        synthetic=(SyntheticSpec("raw", 5),), buckets=(BucketSpec("clean"),), model_status="STOPPED"
    )
    with pytest.raises(AccessError, match="STOPPED") as caught:
        await run_model(tmp_path, monkeypatch, options=stopped)
    assert caught.value.hint == "Start the model and run again once it is RUNNING."
