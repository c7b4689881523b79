"""Runs with a model that was trained on pictures: its own thresholds decide, its labels are those of its evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest

from asyncfilter import Summary, plan, run
from asyncfilter.job import Job
from asyncfilter.policy.forecast import PlanResult
from tests.contract.test_sandbox_custom_labels import Service
from tests.contract.test_sandbox_training import body_at, datasets, draw_birds, ended, open_service
from tests.kit.jobs import make_bare_job
from tests.kit.services import aws_settings

__all__ = ["open_service"]

pytestmark = pytest.mark.skipif(find_spec("numpy") is None, reason="trainings need the extra sandbox-training")


def test_a_trained_model_decides_by_its_own_thresholds(
    open_service: Callable[..., Service],
    tmp_path: Path,
) -> None:
    """``plan`` shows the thresholds of the summary, a run decides by them, and counts of whole images are a caution."""
    service = open_service(unit_tps=1000)
    train, test = draw_birds(service.sandbox, 48)
    described = ended(service, datasets(service, "birds", train, test))
    summary = json.loads(body_at(service, described["EvaluationResult"]["Summary"]))
    thresholds = {row["Label"]: row["Metrics"]["Threshold"] * 100 for row in summary["LabelEvaluationResults"]}
    service.start(described["ProjectVersionArn"])
    service.wait(480)
    make_job: Callable[..., Job] = partial(
        make_bare_job,
        source="s3://pics/",
        detector={"kind": "rekognition-custom-labels", "model": described["ProjectVersionArn"]},
        limits={"tps": 2000},
        base_dir=tmp_path,
    )
    assumed = make_job(rules=[{"keep": {"any": "robin", "confidence": "assumed"}}])
    number = make_job(
        rules=[{"keep": {"any": "robin", "confidence": thresholds["robin"]}}], checkpoint=str(tmp_path / "other.sqlite")
    )
    counted = make_job(rules=[{"keep": {"count": {"label": "robin", "min": 1}}}], checkpoint=str(tmp_path / "c.sqlite"))

    async def all_of_them() -> tuple[PlanResult, Summary, Summary, PlanResult]:
        return await plan(assumed), await run(assumed), await run(number), await plan(counted)

    with aws_settings(**service.sandbox.environment()):
        planned, found, same, warned = anyio.run(all_of_them)
    assert planned.plan_inputs.thresholds_pct == {"robin": pytest.approx(thresholds["robin"], abs=1e-5)}
    assert planned.plan_inputs.terms.unit is not None
    assert found.counts.examined == 48
    assert found.counts.keep == same.counts.keep > 0
    assert any("classifies whole images and finds no boxes" in caution for caution in warned.cautions)
