"""A call: one parsed request to one service, which can then be executed, refused or lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from xml.sax.saxutils import escape

import msgspec

from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.message import JSON_TYPE, XML_TYPE, Reply, Request, ServiceError, header_lines
from asyncfilter.sandbox.s3_xml import error_body


class Style(StrEnum):
    """The protocol of a service."""

    S3 = "s3"
    JSON = "json"
    QUERY = "query"


class Call(msgspec.Struct, gc=False):
    """One parsed request.

    Attributes:
        operation: AWS's name of the operation.
        uri: ``bucket/key`` if the call names an object; globs of faults and denials are compared with it.
        run: Executes the call; raises ``ServiceError``. Returns a future if the answer is computed in a thread.
        headers: Further headers of an error response.
        detects: True for the paid, rate-limited operations.
        permission: Gives the IAM action and resource; None for an operation that needs none.
        admits: False for a call that arrives over the rate of what it calls; None for what has no rate of its own.
    """

    style: Style
    operation: str
    uri: str
    run: Callable[[], Reply | Future[Reply]]
    headers: dict[str, str] = {}
    detects: bool = False
    permission: Callable[[], Permission | None] | None = None
    admits: Callable[[float], bool] | None = None


def new_request_id() -> str:
    """A request id in the form that AWS uses."""
    return str(uuid.uuid4())


def refuse(style: Style, request: Request, service_error: ServiceError, headers: dict[str, str] | None = None) -> Reply:
    """Build an error response in the service's format; the response to HEAD has only status and headers."""
    request_id = new_request_id()
    extra = {**(headers or {}), **service_error.headers}
    if style is Style.JSON:
        body = {
            "__type": service_error.code,
            "Code": service_error.code,
            "Logref": request_id,
            "Message": service_error.message,
        }
        head = {"x-amzn-RequestId": request_id, "Content-Type": JSON_TYPE, **extra}
        return Reply(service_error.status, header_lines(head), msgspec.json.encode(body))
    if style is Style.QUERY:
        head = {"x-amzn-RequestId": request_id, "Content-Type": "text/xml", **extra}
        return Reply(service_error.status, header_lines(head), _query_error(service_error, request_id))
    head = {"x-amz-request-id": request_id, "Content-Type": XML_TYPE, **extra}
    if request.method == "HEAD" or service_error.status == 304:
        return Reply(service_error.status, header_lines(head))
    fields = {"Resource": request.path.decode("ascii", "replace"), **service_error.fields}
    return Reply(
        service_error.status,
        header_lines(head),
        error_body(service_error.code, service_error.message, fields, request_id),
    )


def _query_error(service_error: ServiceError, request_id: str) -> bytes:
    error = f"<Type>Sender</Type><Code>{service_error.code}</Code><Message>{escape(service_error.message)}</Message>"
    head = '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    return f"{head}<Error>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>".encode()
