"""The service that trains and runs models, opened for a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from asyncfilter.aws import S3Objects, check_region, identify, open_aws, open_clients
from asyncfilter.aws.model_service import CustomLabelsService, S3Files
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.custom_labels.call_log import CallLog
from asyncfilter.custom_labels.lease import Lease
from asyncfilter.custom_labels.lease_table import Leases, last_leases
from asyncfilter.custom_labels.ledger import Ledger, existing_ledger, open_ledger
from asyncfilter.custom_labels.listing import Listing, list_models
from asyncfilter.custom_labels.paced import PacedService
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.custom_labels.recorded import RecordedFiles, RecordedService
from asyncfilter.custom_labels.states import ProjectState, project_state
from asyncfilter.errors import UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.ports.model_service import ModelService, ObjectFiles

_TIMEOUT_S = 20.0
"""Longest time of one call, seconds; updates and uploads have more."""

_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What the ``model`` commands use.

    Attributes:
        service: The service, its calls paced and repeated where that is safe.
        files: The objects that it reads and writes.
        clock: The time of all waits.
        account: Asks for the number of the account whose credentials are in use.
    """

    service: ModelService
    files: ObjectFiles
    clock: Clock
    account: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangingModels(Models):
    """What commands use that change something: all changes are in the ledger before they are asked for.

    Attributes:
        ledger: What was started before.
        calls: Its record of changes.
    """

    ledger: Ledger
    calls: CallLog


@asynccontextmanager
async def open_changing_models(aws: Aws) -> AsyncIterator[ChangingModels]:
    """Open the ledger, and the service in the region of ``aws``.

    Raises:
        LedgerError: The ledger cannot be used; the service is not called then.
        UsageError: No region is set.
        AccessError: The AWS settings cannot be used.
    """
    with open_ledger() as ledger:
        async with open_models(aws) as models:
            calls = CallLog(ledger, models.clock)
            at = {"endpoint": models.service.endpoint, "region": models.service.region}
            yield ChangingModels(
                service=RecordedService(models.service, calls),
                files=RecordedFiles(models.files, calls, **at),
                clock=models.clock,
                account=models.account,
                ledger=ledger,
                calls=calls,
            )


@asynccontextmanager
async def open_models(aws: Aws, *, endpoint_url: str | None = None) -> AsyncIterator[Models]:
    """Open the service in the region of ``aws``.

    Args:
        aws: Profile and region.
        endpoint_url: The service's address in place of that of the AWS settings.

    Raises:
        UsageError: No region is set.
        AccessError: The AWS settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            open_aws(aws, timeout_s=_TIMEOUT_S, connections=_CONNECTIONS, endpoint_url=endpoint_url)
        )
        region = session.region
        if region is None:
            raise UsageError("no region is set", hint="Add --region, set AWS_REGION, or give the ARN of the project.")
        await check_region(session, region)
        endpoint = await session.endpoint("rekognition", region)
        address = "" if endpoint.is_aws else f"{endpoint.origin}{endpoint.base_path}"
        clients = await stack.enter_async_context(open_clients(aws, session))
        clock = SystemClock()

        async def account() -> str:
            return (await identify(session)).account

        yield Models(
            service=PacedService(CustomLabelsService(session, region, endpoint=address), clock=clock),
            files=S3Files(session, S3Objects(clients.s3)),
            clock=clock,
            account=account,
        )


async def model_status(project: ProjectName, version: VersionName | None, *, aws: Aws) -> ProjectState:
    """Look at a project; changes nothing.

    Raises:
        ResourceMissingError: There is no such project, or no such version.
        AccessError: The service cannot be asked.
    """
    async with open_models(aws) as models:
        state = await project_state(models.service, project, version)
        return replace(state, leases=leases_at(models.service.endpoint))


async def model_list(project: ProjectName | None, *, aws: Aws) -> Listing:
    """Look at all projects, or at one, and their versions; changes nothing. Raises as ``model_status``."""
    async with open_models(aws) as models:
        return await list_models(models.service, project, leases_at(models.service.endpoint))


def leases_at(endpoint: str) -> dict[str, Lease]:
    """For each model at an endpoint with an open lease of the user's, the one that ends last; creates no ledger.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    ledger = existing_ledger()
    if ledger is None:
        return {}
    with ledger:
        return last_leases(Leases(ledger, ThisHost()).open(), endpoint)
