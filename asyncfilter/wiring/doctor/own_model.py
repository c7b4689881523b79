"""A model of one's own: whether it can be opened, and a job that needs nothing but this machine."""

from __future__ import annotations

from anyio import to_thread

from asyncfilter.errors import AsyncFilterError
from asyncfilter.folders import check_folder
from asyncfilter.job.spec import Job
from asyncfilter.model import S3, StoreKind, folder_of
from asyncfilter.policy.findings import Finding, Health


def uses_s3(job: Job) -> bool:
    """Whether a job has images, targets or a model in S3."""
    stores = {job.source.store, *job.target_stores}
    return StoreKind.S3 in stores or (job.detector.own is not None and (job.detector.model or "").startswith(S3))


def is_offline(job: Job) -> bool:
    """Whether a job needs no network and no credentials."""
    return job.detector.own is not None and not uses_s3(job)


async def of_own_job(job: Job) -> list[Finding]:
    """What a job without network depends on: its folder and its model."""
    try:
        if job.source.store is StoreKind.FOLDER:
            await to_thread.run_sync(check_folder, folder_of(job.source.bucket))
    except AsyncFilterError as error:
        found = Finding.failed("job", error)
    else:
        found = Finding(name="job", health=Health.OK, text="the source can be listed; no network is needed")
    return [found, *await of_own_model(job)]


async def of_own_model(job: Job) -> list[Finding]:
    """The model of a job, opened and closed again; nothing for other kinds."""
    if job.detector.own is None:
        return []
    from asyncfilter.wiring.own_models import open_own_model  # noqa: PLC0415  not needed by most jobs

    try:
        opened = await open_own_model(job, None)
    except AsyncFilterError as error:
        return [Finding.failed("model", error)]
    opened.close()
    text = f"{opened.described}; {'; '.join(opened.cautions)}" if opened.cautions else opened.described
    health = Health.NOTE if opened.cautions else Health.OK
    return [Finding(name="model", health=health, text=text, facts={"model_version": opened.version})]
