"""The order in which ``doctor`` looks at things, and what follows from what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from asyncfilter.aws import AwsClients, detector_region, open_clients, open_without_keys
from asyncfilter.errors import AsyncFilterError, CredentialsError
from asyncfilter.folders import check_folder
from asyncfilter.job.spec import Aws, DetectorKind, Job
from asyncfilter.model import StoreKind, folder_of
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.wiring.doctor import account, machine, network
from asyncfilter.wiring.doctor.lanes import of_lanes
from asyncfilter.wiring.doctor.network import Service
from asyncfilter.wiring.doctor.own_model import is_offline, of_own_job, of_own_model, uses_s3
from asyncfilter.wiring.doctor.state import of_state
from asyncfilter.wiring.located import with_checked_list

_TIMEOUT_S = 5.0
_CONNECTIONS = 8
_NO_KEYS = "it needs credentials"
_NO_ANSWER = "AWS does not answer"
_ANY_REGION = "us-east-1"
DEFAULT_CHECKPOINT = Path(".asyncfilter") / "job.db"
"""Where a job without ``checkpoint:`` keeps it, beside the job file."""


async def diagnose(job: Job | None = None, aws: Aws | None = None) -> list[Finding]:
    """Look at everything that a run depends on; nothing is changed, and nothing is paid for.

    Args:
        job: The job that is to run; None for what every job depends on.
        aws: The AWS settings; by default those of the job.
    """
    settings = aws or (job.aws if job is not None else Aws())
    place = job.checkpoint if job is not None else Path.cwd() / DEFAULT_CHECKPOINT
    job, of_list = await _of_list(job)
    return [
        machine.program(),
        machine.open_files(),
        *(await _of_job(job, settings)),
        *of_list,
        *(await of_state(job)),
        await to_thread.run_sync(machine.checkpoint, place),
    ]


async def _of_job(job: Job | None, settings: Aws) -> list[Finding]:
    """What is outside of this machine, where the job needs that, and its own model."""
    if job is not None and is_offline(job):
        return await of_own_job(job)
    found = await _of_aws(job, settings)
    return found if job is None else [*found, *await of_lanes(job), *await of_own_model(job)]


async def _of_list(job: Job | None) -> tuple[Job | None, list[Finding]]:
    """The job with the bucket of its list; no job, and why, when its list cannot be used."""
    if job is None:
        return None, []
    try:
        return await with_checked_list(job), []
    except AsyncFilterError as error:
        return None, [Finding.failed("job", error)]


async def _of_aws(job: Job | None, aws: Aws) -> list[Finding]:
    try:
        async with _opened(aws) as clients:
            return await _Look(job, aws, clients).all()
    except CredentialsError as error:
        return [Finding.failed("credentials", error)]
    except AsyncFilterError as error:
        return [Finding.failed("tls", error)]


@asynccontextmanager
async def _opened(aws: Aws) -> AsyncIterator[AwsClients]:
    async with (
        open_without_keys(aws, timeout_s=_TIMEOUT_S, connections=_CONNECTIONS) as session,
        open_clients(aws, session) as clients,
    ):
        yield clients


class _Look:
    """All findings about AWS.

    Args:
        job: The job; None without one.
        aws: The AWS settings.
        clients: From ``open_clients``, without keys.
    """

    def __init__(self, job: Job | None, aws: Aws, clients: AwsClients) -> None:
        self._job = job
        self._aws = aws
        self._clients = clients
        self._session = clients.session
        self._calls_service = job is None or PROFILES[job.detector.kind].is_service

    async def all(self) -> list[Finding]:
        """In the order of the screen."""
        keys, caller = await account.credentials(self._session)
        has_keys = keys.health is not Health.ERROR
        own_region = await self._detector_region() if has_keys else None
        reached = await network.reach_all(self._clients, self._services(own_region))
        findings = [
            keys,
            account.region(self._session, self._aws, own_region),
            *map(network.endpoint, reached),
            network.clock(reached),
            network.tls(self._session, reached),
            network.proxies(reached),
        ]
        if not has_keys or all(one.error is not None for one in reached):
            of_service = ["quota", "ai opt-out"] if self._calls_service else []
            names = [*of_service, *(["job", "permissions"] if self._job else [])]
            return findings + [Finding.unknown(name, _NO_ANSWER if has_keys else _NO_KEYS) for name in names]
        partition = "aws" if caller is None else caller.partition
        return findings + await _together(*self._asked(own_region, partition))

    async def _detector_region(self) -> str | None:
        """The region of the job's bucket or model; None without a job, or where it cannot be found out."""
        if self._job is None:
            return None
        try:
            return await detector_region(self._job, self._session)
        except AsyncFilterError:
            return None  # the finding about the job says why

    def _services(self, own_region: str | None) -> list[Service]:
        region = own_region or self._session.region or _ANY_REGION
        job = self._job
        is_s3 = job is None or uses_s3(job)
        s3 = [Service(name="s3", region=region, is_required=True)] if is_s3 else []
        if not self._calls_service:
            return s3
        return [
            *s3,
            Service(name="rekognition", region=region, is_required=True),
            Service(name="service-quotas", region=region, is_required=False),
            Service(name="sts", region=self._session.region or _ANY_REGION, is_required=False),
        ]

    def _asked(self, own_region: str | None, partition: str) -> list[Callable[[], Awaitable[Finding]]]:
        session, job = self._session, self._job
        region = own_region or session.region or _ANY_REGION
        kind = DetectorKind.REKOGNITION if job is None else job.detector.kind
        asked: list[Callable[[], Awaitable[Finding]]] = []
        if self._calls_service:
            asked += [lambda: account.quota(session, kind, region), lambda: account.ai_opt_out(session)]
        if job is not None and job.source.store is not StoreKind.OWN:
            asked += [lambda: self._job_access(job), lambda: account.permissions(job, self._clients, partition)]
        return asked

    async def _job_access(self, job: Job) -> Finding:
        if job.source.store is StoreKind.FOLDER:
            try:
                await to_thread.run_sync(check_folder, folder_of(job.source.bucket))
            except AsyncFilterError as error:
                return Finding.failed("job", error)
        return await account.job_access(job, self._clients)


async def _together(*looks: Callable[[], Awaitable[Finding]]) -> list[Finding]:
    """The findings of some looks, made at the same time, in their order."""
    found: dict[int, Finding] = {}

    async def look(at: int) -> None:
        found[at] = await looks[at]()

    async with anyio.create_task_group() as tasks:
        for at in range(len(looks)):
            tasks.start_soon(look, at)
    return [found[at] for at in range(len(looks))]
