"""``labels``: what the detector sees in reference images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from asyncfilter.aws import open_references
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.references import examine
from asyncfilter.engine.sampling import REFERENCE_STORE, ChosenSource, store_job
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import Aws, Job
from asyncfilter.policy.references import Labelled
from asyncfilter.ports import References
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.detectors import aws_backend, own_backend
from asyncfilter.wiring.session import new_context, sqlite
from asyncfilter.wiring.ways import inputs_of
from asyncfilter.wiring.world import Overrides


async def label_references(
    uris: Sequence[str],
    *,
    store: Path | None = None,
    aws: Aws | None = None,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
) -> Labelled:
    """Have Rekognition look at reference images; what was paid for is kept, and never paid for again.

    Args:
        uris: ``s3://bucket/key``, or paths of files, which are sent.
        store: The SQLite file they are kept in: ``references.db`` beside a job's checkpoint serves the job too. By
            default the one in ``.asyncfilter`` of the working folder.
        aws: How AWS is reached.
        overrides: References, checkpoint or clock of your own.
        interrupt: ``request`` it to leave.

    Raises:
        UsageError: An image cannot be examined, or no region is known to send files to.
        CheckpointError: The store cannot be used.
        AccessError: AWS cannot be reached, or refuses.
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
            way=inputs_of(job, ChosenSource(()), backend),
            errand=new_context(overrides, interrupt=interrupt),
        )
        if found.ended is not None:
            raise AsyncFilterError(found.ended.error or "interrupted", hint=found.ended.hint)
        return Labelled(labels=dict(found.labels), calls=found.calls, spent_micros=found.spent_micros)


async def _open(
    job: Job, uris: Sequence[str], overrides: Overrides, stack: AsyncExitStack
) -> tuple[References, DetectorBackend]:
    """What examines references, with the rate and the price at which it does."""
    if overrides.references is not None:
        return overrides.references, own_backend(job, overrides.references)
    clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
    references = await open_references(uris, clients=clients, spec=job.detector)
    return references, await aws_backend(job, clients.session, references, references.region)
