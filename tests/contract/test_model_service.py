"""The service's calls and files over the sandbox: one attempt each, errors by name, files as streams."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from asyncfilter.aws.clients.error_response import ErrorResponse, Operation
from asyncfilter.aws.model_service.refusals import refusal
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CredentialsError,
    PermissionDeniedError,
    RefusedError,
    ResourceExistsError,
    ResourceInUseError,
    ResourceLimitError,
    ResourceMissingError,
    ResourceNotReadyError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import DatasetType
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from asyncfilter.wiring.models import Models, open_models


@asynccontextmanager
async def opened(sandbox: SandboxProcess, patch: pytest.MonkeyPatch) -> AsyncIterator[Models]:
    """The service of a sandbox."""
    for name, value in sandbox.environment().items():
        patch.setenv(name, value)
    async with open_models(Aws()) as models:
        yield models


async def until(models: Models, dataset: str, status: str) -> None:
    """Wait for the state of a dataset."""
    poller = Poller(models.clock, poll_s=0.02)
    await poller.until(
        "dataset", lambda: models.service.describe_dataset(dataset), lambda one: one.status == status, lambda _one: ""
    )


def test_files_are_written_as_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that is throttled and then cut off is complete in the end, whatever the stream's position was."""
    options = SandboxOptions(buckets=(BucketSpec("models"),))
    content, place = os.urandom(3_000_017), S3Location("models", "a/é b.manifest")

    async def main() -> None:
        async with opened(sandbox, monkeypatch) as models:
            assert await models.files.size_bytes(place) is None
            with tempfile.TemporaryFile() as held:
                held.write(content)
                sandbox.control("POST", "faults", {"faults": ["slowdown:PutObject=1x"]})
                await models.files.write(place, held, len(content))
            assert await models.files.size_bytes(place) == len(content)
            with tempfile.TemporaryFile() as held:
                assert await models.files.read(place, held)
                held.seek(0)
                assert held.read() == content
                assert not await models.files.read(S3Location("models", "nothing"), held)

    with SandboxProcess(options) as sandbox:
        anyio.run(main)


def test_pages_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries than one page has are all there, each once."""
    lines = [f'{{"source-ref":"s3://models/{number:04d}.jpg"}}' for number in range(250)]

    async def main() -> None:
        async with opened(sandbox, monkeypatch) as models:
            service = models.service
            project = await service.create_project("pages")
            dataset = await service.create_dataset(project, DatasetType.TRAIN)
            await until(models, dataset, "CREATE_COMPLETE")
            await service.update_entries(dataset, "".join(f"{line}\n" for line in lines).encode())
            await until(models, dataset, "UPDATE_COMPLETE")
            found: list[str] = []
            token: str | None = None
            while True:
                page = await service.list_entries(dataset, token=token)
                found += page.items
                token = page.token
                if token is None:
                    break
            assert len(found) == len({*found}) == 250
            assert (await service.list_labels(dataset)).items == ()

    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("models"),), speed=5_000)) as sandbox:
        anyio.run(main)


@pytest.mark.parametrize(
    ("code", "status", "kind", "exit_code"),
    [
        ("ResourceAlreadyExistsException", 400, ResourceExistsError, 1),
        ("ResourceInUseException", 400, ResourceInUseError, 1),
        ("ResourceNotFoundException", 400, ResourceMissingError, 1),
        ("ResourceNotReadyException", 400, ResourceNotReadyError, 1),
        ("LimitExceededException", 400, ResourceLimitError, 1),
        ("ServiceQuotaExceededException", 400, ResourceLimitError, 1),
        ("InvalidParameterException", 400, RefusedError, 1),
        ("InvalidPaginationTokenException", 400, RefusedError, 1),
        ("ValidationException", 400, RefusedError, 1),
        ("InvalidS3ObjectException", 400, AccessError, 4),
        ("AccessDeniedException", 400, PermissionDeniedError, 4),
        ("UnrecognizedClientException", 400, CredentialsError, 4),
        ("ExpiredTokenException", 400, CredentialsError, 4),
        ("ThrottlingException", 400, ThrottledError, 4),
        ("ProvisionedThroughputExceededException", 400, ThrottledError, 4),
        ("InternalServerError", 500, TransientError, 4),
    ],
)
def test_errors_by_name(code: str, status: int, kind: type[AsyncFilterError], exit_code: int) -> None:
    """Each documented error has a class, an exit code and its own name in the message."""
    error = refusal(
        ErrorResponse(operation=Operation.CREATE_PROJECT_VERSION, where="arn", status=status, code=code, message="why")
    )
    assert isinstance(error, kind)
    assert error.exit_code == exit_code
    assert code in error.message


def test_a_denial_names_the_action() -> None:
    """That of the response, and that of the operation where the response names none."""
    message = "User is not authorized to perform: kms:CreateGrant on resource"
    for said, action in ((message, "kms:CreateGrant"), ("no", "rekognition:CreateProjectVersion")):
        error = refusal(
            ErrorResponse(
                operation=Operation.CREATE_PROJECT_VERSION,
                where="arn",
                status=400,
                code="AccessDeniedException",
                message=said,
            )
        )
        assert f"Allow {action} " in (error.hint or "")
