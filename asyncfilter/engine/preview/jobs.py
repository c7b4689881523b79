"""The jobs of preview runs, derived from the user's job.

A sample of the source, and the reference images of a job, are examined by the same parts as any image: with its rate,
budget, retries and checkpoint. Each is a dry run of the pipeline over a list of chosen objects, on a view of the
checkpoint (``overlays``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from asyncfilter.job.spec import Action, Aws, DetectorSpec, Job, Limits, Pricing, SourceSpec, Stop, TargetCheck
from asyncfilter.model import S3Location, Verdict
from asyncfilter.policy.throughput import BenchPlan

REFERENCE_STORE = "references.db"
"""The file, beside the checkpoints of jobs, in which ``asyncfilter labels`` stores what was paid for."""


def sampling_job(job: Job) -> Job:
    """The job for its sample: with its budget, but without stop rules and ``limits.max_images``.

    Its targets are only looked at: the command that plans the job has shown the rest.
    """
    limits = dataclasses.replace(job.limits, max_images=None)
    return dataclasses.replace(job, stop=Stop(), limits=limits, check_targets=TargetCheck.EXISTS)


def bench_job(job: Job, bench_plan: BenchPlan) -> Job:
    """The job for its benchmark: a sample at the rate and within the budget of the bench plan."""
    job = sampling_job(job)
    limits = dataclasses.replace(
        job.limits, tps=bench_plan.ceiling_tps, share=1.0, budget_micros=bench_plan.limit_micros
    )
    return dataclasses.replace(job, limits=limits)


def reference_job(job: Job) -> Job:
    """The job for its references: without rules, since they are not decided."""
    return dataclasses.replace(sampling_job(job), rules=())


def store_job(store: Path, aws: Aws) -> Job:
    """A job without a source, rules or actions, for references that are stored in the file ``store``."""
    return _bare_job(SourceSpec(bucket=""), aws, store)


def place_job(place: S3Location, aws: Aws) -> Job:
    """A job without rules, actions and checkpoint, to look at the objects of ``place``."""
    return _bare_job(SourceSpec(bucket=place.bucket, prefix=place.key), aws, Path())


def _bare_job(source: SourceSpec, aws: Aws, store: Path) -> Job:
    return Job(
        name="references",
        path=None,
        source=source,
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
