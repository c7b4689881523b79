"""``labels``: the labels of reference images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from asyncfilter.aws import open_references
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.preview.jobs import REFERENCE_STORE, store_job
from asyncfilter.engine.preview.list_source import ChosenSource
from asyncfilter.engine.preview.references import examine
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import Aws, Job
from asyncfilter.policy.reference_labels import Labelled
from asyncfilter.ports.examine import References
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.detectors import aws_backend, own_backend
from asyncfilter.wiring.inputs import inputs_of
from asyncfilter.wiring.overrides import Overrides, accepts_world
from asyncfilter.wiring.session import new_context, sqlite


@accepts_world
async def label_references(
    uris: Sequence[str],
    *,
    store: Path | None = None,
    aws: Aws | None = None,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    leaves_out: bool = False,
) -> Labelled:
    """Examine reference images with Rekognition; labels that were paid for are kept, and not paid for again.

    Args:
        uris: ``s3://bucket/key``, or paths of files, which are sent.
        store: The SQLite file in which labels are kept: ``references.db`` beside a job's checkpoint is used by the job
            too. By default the one in ``.asyncfilter`` of the working folder.
        aws: The AWS settings.
        overrides: Your own references, checkpoint or clock.
        interrupt: ``request`` it to stop.
        leaves_out: Images that cannot be examined are left out of the result, and are no error.

    Raises:
        UsageError: An image cannot be examined, or no region is known to send files to.
        CheckpointError: The store cannot be used.
        AccessError: AWS cannot be reached, or denies access.
    """
    overrides, uris = overrides or Overrides(), list(dict.fromkeys(uris))
    job = store_job(store or Path(".asyncfilter") / REFERENCE_STORE, aws or Aws())
    async with AsyncExitStack() as stack:
        references, backend = await _open(job, uris, overrides, stack)
        checkpoint = overrides.checkpoint or await sqlite(job, stack)
        found = await examine(
            job,
            uris,
            references=references,
            checkpoint=checkpoint,
            elsewhere=(),
            inputs=inputs_of(job, ChosenSource(()), backend),
            context=new_context(overrides, interrupt=interrupt),
            leaves_out=leaves_out,
        )
        if found.ended is not None:
            raise AsyncFilterError(found.ended.error or "interrupted", hint=found.ended.hint)
        return Labelled(labels=dict(found.labels), calls=found.calls, spent_micros=found.spent_micros)


async def _open(
    job: Job, uris: Sequence[str], overrides: Overrides, stack: AsyncExitStack
) -> tuple[References, DetectorBackend]:
    """The port that examines references, and its backend with rate and prices."""
    if overrides.references is not None:
        return overrides.references, own_backend(job, overrides.references)
    clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
    references = await open_references(uris, clients=clients, spec=job.detector)
    return references, await aws_backend(job, clients.session, references, references.region)
