"""The service that trains and runs models, opened for a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from asyncfilter.aws import S3Objects, check_region, open_aws, open_clients
from asyncfilter.aws.model_service import CustomLabelsService, S3Files
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.custom_labels.paced import PacedService
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
    """

    service: ModelService
    files: ObjectFiles
    clock: Clock


@asynccontextmanager
async def open_models(aws: Aws) -> AsyncIterator[Models]:
    """Open the service in the region of ``aws``.

    Raises:
        UsageError: No region is set.
        AccessError: The AWS settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_aws(aws, timeout_s=_TIMEOUT_S, connections=_CONNECTIONS))
        region = session.region
        if region is None:
            raise UsageError("no region is set", hint="Add --region, set AWS_REGION, or give the ARN of the project.")
        await check_region(session, region)
        endpoint = await session.endpoint("rekognition", region)
        address = "" if endpoint.is_aws else f"{endpoint.origin}{endpoint.base_path}"
        clients = await stack.enter_async_context(open_clients(aws, session))
        clock = SystemClock()
        yield Models(
            service=PacedService(CustomLabelsService(session, region, endpoint=address), clock=clock),
            files=S3Files(session, S3Objects(clients.s3)),
            clock=clock,
        )


async def model_status(project: ProjectName, version: VersionName | None, *, aws: Aws) -> ProjectState:
    """Look at a project; changes nothing.

    Raises:
        ResourceMissingError: There is no such project, or no such version.
        AccessError: The service cannot be asked.
    """
    async with open_models(aws) as models:
        return await project_state(models.service, project, version)
