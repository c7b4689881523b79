"""A listing of chosen objects, and the job as it is run over it ahead of its own.

A sample of the source, and the reference images of a job, are examined through the same parts as any image: rate,
budget, repetitions and checkpoint. Each is a dry run of the pipeline over a listing of its own, on a view of the
checkpoint (``views``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asyncfilter.job.spec import Action, Aws, DetectorSpec, Job, Limits, Pricing, SourceSpec, Stop
from asyncfilter.model import ListedObject, Verdict
from asyncfilter.policy.capacity import Trial
from asyncfilter.ports import Page

PAGE_OBJECTS = 1000

REFERENCE_STORE = "references.db"
"""Where ``asyncfilter labels`` keeps what was paid for, beside the checkpoints of jobs."""


def sampling_job(job: Job) -> Job:
    """The job as its sample is examined: within the budget, but without anything that would end it before its end."""
    return dataclasses.replace(job, stop=Stop(), limits=dataclasses.replace(job.limits, max_images=None))


def trial_job(job: Job, trial: Trial) -> Job:
    """The job as it is measured: sampled at the rate and within the money of the trial."""
    job = sampling_job(job)
    limits = dataclasses.replace(job.limits, tps=trial.ceiling_tps, share=1.0, budget_micros=trial.limit_micros)
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


class ChosenSource:
    """A source that lists what was chosen, in the order given; every key once."""

    def __init__(self, chosen: Sequence[ListedObject]) -> None:
        self._chosen = chosen
        self._place = {listed.key: place for place, listed in enumerate(chosen, 1)}

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        start = 0 if after is None else self._place[after]
        return Page(self._chosen[start : start + PAGE_OBJECTS], is_last=start + PAGE_OBJECTS >= len(self._chosen))
