"""The job as it is run ahead of its own, over a listing of chosen objects.

A sample of the source, and the reference images of a job, are examined through the same parts as any image: rate,
budget, repetitions and checkpoint. Each is a dry run of the pipeline over a listing of its own, on a view of the
checkpoint (``overlays``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from asyncfilter.job.spec import Action, Aws, DetectorSpec, Job, Limits, Pricing, SourceSpec, Stop
from asyncfilter.model import Verdict
from asyncfilter.policy.throughput import BenchPlan

REFERENCE_STORE = "references.db"
"""Where ``asyncfilter labels`` keeps what was paid for, beside the checkpoints of jobs."""


def sampling_job(job: Job) -> Job:
    """The job as its sample is examined: within the budget, but without anything that would end it before its end."""
    return dataclasses.replace(job, stop=Stop(), limits=dataclasses.replace(job.limits, max_images=None))


def bench_job(job: Job, bench_plan: BenchPlan) -> Job:
    """The job as it is measured: sampled at the rate and within the money of the bench plan."""
    job = sampling_job(job)
    limits = dataclasses.replace(
        job.limits, tps=bench_plan.ceiling_tps, share=1.0, budget_micros=bench_plan.limit_micros
    )
    return dataclasses.replace(job, limits=limits)


def reference_job(job: Job) -> Job:
    """The job as its references are examined: nothing is decided about them."""
    return dataclasses.replace(sampling_job(job), rules=())


def store_job(store: Path, aws: Aws) -> Job:
    """A job of references alone, that keeps them in the file ``store``: nothing is listed, decided or done."""
    return Job(
        name="references",
        path=None,
        source=SourceSpec(bucket=""),
        detector=DetectorSpec(),
        rules=(),
        otherwise=Verdict.REJECT,
        actions={verdict: Action() for verdict in Verdict},
        limits=Limits(),
        stop=Stop(),
        checkpoint=store,
        pricing=Pricing(),
        aws=aws,
    )
