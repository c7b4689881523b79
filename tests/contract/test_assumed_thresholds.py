"""``confidence: assumed``: the thresholds of the model's evaluation decide, and are kept with what they decided."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asyncfilter import plan, refilter, run
from asyncfilter.checkpoint import read_status
from asyncfilter.errors import PermissionDeniedError, ResourceNotReadyError, UsageError
from asyncfilter.events import Event, RunStarted, ThresholdsAssumed
from asyncfilter.report.terminal.status import draw_status, status_mapping
from asyncfilter.sandbox import BucketSpec, DenyRule, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit import jobs
from tests.kit.services import serving

LABELS = ("Robin", "Person", "Sparrow")
OPTIONS = SandboxOptions(
    synthetic=(SyntheticSpec("raw", 60),),
    buckets=(BucketSpec("clean"),),
    model_thresholds=(("Robin", 0.9), ("Person", 0.42)),
)
DENIED = replace(OPTIONS, deny=(DenyRule("DescribeProjects"),))
DETECTOR = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}

make_job = partial(
    jobs.make_bare_job,
    detector=DETECTOR,
    rules=[{"keep": {"any": ["Robin", "Person"], "confidence": "assumed"}}],
    actions={"keep": {"copy": "s3://clean/"}},
    limits={"tps": 5000},
)


async def calls_of(options: SandboxOptions, folder: Path, **changes: Any) -> tuple[Any, dict[str, int]]:
    """A run, and the calls of each operation."""
    async with serving(options) as sandbox:
        summary = await run(make_job(base_dir=folder, **changes))
        return summary, {name: stats.attempts for name, stats in sandbox.stats().operations.items()}


async def test_thresholds_decide_and_are_kept(tmp_path: Path) -> None:
    """A run decides as one with the numbers, and ``refilter`` needs no service to do so again."""
    job = make_job(base_dir=tmp_path)
    numbers = [{"keep": {"any": "Robin", "confidence": 90}}, {"keep": {"any": "Person", "confidence": 42}}]
    events: list[Event] = []
    async with serving(OPTIONS):
        summary = await run(job, on_event=events.append)
        other = await run(make_job(base_dir=tmp_path, rules=numbers, checkpoint=str(tmp_path / "other.sqlite")))
    assert summary.counts.keep == other.counts.keep > 0
    assert read_status(job.checkpoint).model.labels == {"Robin": 0.9, "Person": 0.42}
    assert isinstance(events[0], RunStarted)
    (told,) = [event for event in events if isinstance(event, ThresholdsAssumed)]
    assert told.thresholds == {"Robin": 90.0, "Person": 42.0}
    status = read_status(job.checkpoint)
    assert status_mapping(status, job.checkpoint, job)["thresholds"] == told.thresholds
    console = Console(record=True, width=100)
    console.print(draw_status(status, job.checkpoint, job))
    assert "Person 42.0 %, Robin 90.0 %, from the evaluation of the model" in console.export_text()
    async with serving(OPTIONS) as sandbox:
        again = await refilter(job)
        assert again.counts.keep == summary.counts.keep
        assert not {"DescribeProjects", "GetObject"} & sandbox.stats().operations.keys()


async def test_other_thresholds_decide_anew(tmp_path: Path) -> None:
    """They are part of the fingerprint: the stored images are decided again, at no cost."""
    first, _ = await calls_of(OPTIONS, tmp_path)
    second, calls = await calls_of(replace(OPTIONS, model_thresholds=(("Robin", 1.0), ("Person", 1.0))), tmp_path)
    assert first.counts.keep > 0
    assert second.counts.keep == 0
    assert "DetectCustomLabels" not in calls


async def test_without_permission_nothing_is_paid(tmp_path: Path) -> None:
    """The error says what to allow, and what to write instead."""
    async with serving(DENIED) as sandbox:
        with pytest.raises(PermissionDeniedError, match="confidence: assumed: ") as caught:
            await run(make_job(base_dir=tmp_path))
        assert "DetectCustomLabels" not in sandbox.stats().operations
    assert str(caught.value.hint).endswith("Or write numbers in place of confidence: assumed.")
    assert not (tmp_path / "job.sqlite").exists()


async def test_stored_thresholds_need_no_permission(tmp_path: Path) -> None:
    """A run that goes on uses those of its checkpoint."""
    first, _ = await calls_of(OPTIONS, tmp_path, limits={"tps": 5000, "max_images": 20})
    second, _ = await calls_of(DENIED, tmp_path)
    assert (first.counts.examined, second.counts.examined) == (20, 60)


async def test_a_model_without_evaluation(tmp_path: Path) -> None:
    """Nothing is paid for."""
    async with serving(replace(OPTIONS, model_thresholds=())):
        with pytest.raises(ResourceNotReadyError, match=r"confidence: assumed: .* has no evaluation"):
            await run(make_job(base_dir=tmp_path))


async def test_a_label_without_threshold(tmp_path: Path) -> None:
    """The nearest label is named."""
    rules = [{"keep": {"any": "Persson", "confidence": "assumed"}}]
    async with serving(OPTIONS):
        with pytest.raises(UsageError, match=r"rules\[0\]\.keep.*'Persson' is none of its labels") as caught:
            await run(make_job(base_dir=tmp_path, rules=rules))
    assert str(caught.value.hint).startswith("Write 'Person', the nearest")


async def test_refilter_before_a_run_says_so(tmp_path: Path) -> None:
    """The checkpoint of a run with a number has no thresholds when its model could not be looked at."""
    numbers = [{"keep": {"any": "Robin", "confidence": 90}}]
    summary, _ = await calls_of(DENIED, tmp_path, rules=numbers)
    assert summary.counts.examined == 60
    with pytest.raises(UsageError, match="not known yet") as caught:
        await refilter(make_job(base_dir=tmp_path, actions=None))
    assert "asyncfilter run" in str(caught.value.hint)


async def test_names_are_compared_with_the_evaluation(tmp_path: Path) -> None:
    """Before anything is paid for, and without ``assumed``."""
    rules = [{"keep": {"any": "Robbin", "confidence": 50}}]
    async with serving(OPTIONS):
        found = await plan(make_job(base_dir=tmp_path, rules=rules))
        summary = await run(make_job(base_dir=tmp_path, rules=rules, limits={"tps": 5000, "max_images": 1}))
    caution = "rules[0] (keep): the model has no label 'Robbin'; the nearest is 'Robin'"
    assert caution in found.cautions
    assert caution in summary.cautions


@pytest.mark.parametrize("pricing", [{}, {"inference_units": 2}])
async def test_calls_need_no_look_at_the_model(tmp_path: Path, pricing: dict[str, int]) -> None:
    """A run goes on with a caution."""
    numbers = [{"keep": {"any": "Robin", "confidence": 90}}]
    summary, calls = await calls_of(DENIED, tmp_path, rules=numbers, pricing=pricing)
    assert (summary.exit_code, summary.counts.examined) == (0, 60)
    (caution,) = [each for each in summary.cautions if "inference_units" in each]
    assert ("2 inference units" if pricing else "1 inference unit") in caution
    assert ("DescribeProjects" in calls) == (not pricing)


async def test_every_label_is_asked_for(tmp_path: Path) -> None:
    """The default asks for a confidence of 0: a later rule may need what this one leaves out."""
    job = make_job(base_dir=tmp_path)
    assert job.detector.min_confidence_pct == 0
