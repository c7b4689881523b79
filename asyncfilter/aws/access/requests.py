"""One request to a service that is asked rarely, with its errors translated and a deadline."""

from __future__ import annotations

from typing import Any

from botocore import xform_name

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import ANY_REGION, AwsSession
from asyncfilter.aws.transport_errors import vendor_translated


async def ask(
    session: AwsSession,
    service: str,
    operation: Operation,
    where: str,
    *,
    region: str | None = None,
    **parameters: object,
) -> dict[str, Any]:
    """Make one attempt of an operation through aioboto3.

    Args:
        session: The account.
        service: The service, as botocore names it.
        operation: The operation.
        where: The object of the request, for messages.
        region: Region of the client; by default the session's, or any for services that have only one.
        parameters: Of the operation.

    Raises:
        AccessError: AWS denies it, or no response is possible.
        CallError: The attempt failed.
    """
    try:
        return await ask_raw(session, service, operation, where, region=region, **parameters)
    except ErrorResponseError as exc:
        raise classify(exc.response) from exc


async def ask_raw(
    session: AwsSession,
    service: str,
    operation: Operation,
    where: str,
    *,
    region: str | None = None,
    **parameters: object,
) -> dict[str, Any]:
    """As ``ask``, for callers that read error responses themselves.

    Raises:
        ErrorResponseError: AWS returned an error response.
        AccessError: No response is possible.
        CallError: The attempt failed.
    """
    client = await session.client(service, region or session.region or ANY_REGION)
    with vendor_translated(operation, where), fail_after(session.timeout_s):
        response: dict[str, Any] = await getattr(client, xform_name(operation))(**parameters)
        return response
