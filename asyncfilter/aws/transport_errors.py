"""The meaning of a missing response: one table of transport failures, used by both clients.

The cost depends on whether the request may have reached the service. Only when no connection was made, or nothing was
sent, is it certain that it did not; every other failure counts as billed (docs/guarantees.md, *The budget is a
ceiling*).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import msgspec
from botocore import exceptions as vendor
from botocore.parsers import ResponseParserError

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation, retry_after_s
from asyncfilter.aws.clients.http import AddressError, ExchangeError, NoConnectionError, UnsentError
from asyncfilter.aws.credential_errors import CREDENTIAL_FAILURES, credentials_error
from asyncfilter.aws.trust import untrusted
from asyncfilter.errors import AccessError, AsyncFilterError, EndpointError, TransientError

_ENDPOINT_HINT = "Check the network, AWS_ENDPOINT_URL and its per-service forms, HTTPS_PROXY and NO_PROXY."
_SHOWN = 200
"""Characters of an exception in a message."""

_PROXY_HINT = "Check HTTPS_PROXY and HTTP_PROXY, the proxy's user and password, and NO_PROXY."


class UnreachableError(TransientError):
    """No connection could be made: certainly not billed; during preflight it is an ``EndpointError``."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_billed=False, hint=_ENDPOINT_HINT)

    def as_endpoint_error(self) -> EndpointError:
        """The same failure as an ``EndpointError``, which ends the run; for the checks before the first paid call."""
        return EndpointError(self.message, hint=_ENDPOINT_HINT)


def transport_failure(exc: Exception, what: str) -> AsyncFilterError:
    """The package's error for a failure of the signed client's transport or of aiohttp.

    Args:
        exc: What was raised; a ``TimeoutError`` is the deadline of the whole attempt.
        what: Operation and object, for the message.
    """
    if refusal := untrusted(exc, what=what):
        return refusal
    match exc:
        case aiohttp.ClientHttpProxyError():  # whose own text has the proxy's password
            refused = f"{what}: the proxy refuses: HTTP {exc.status} {exc.message[:_SHOWN]}"
            return EndpointError(refused, hint=_PROXY_HINT) if 400 <= exc.status < 500 else UnreachableError(refused)
        case AddressError() | aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return EndpointError(f"{what}: not a usable address ({exc})", hint=_ENDPOINT_HINT)
        case NoConnectionError():
            return UnreachableError(f"{what}: no connection ({_text_of(exc)})")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return UnreachableError(f"{what}: no connection ({_text_of(exc)})")
        case UnsentError():
            return TransientError(f"{what}: the connection broke ({_text_of(exc)})", may_be_billed=False)
        case TimeoutError():
            return TransientError(f"{what}: no complete response in time", may_be_billed=True)
        case _:
            return TransientError(f"{what}: the connection broke ({_text_of(exc)})", may_be_billed=True)


TRANSPORT_FAILURES = (ExchangeError, aiohttp.ClientError, TimeoutError, OSError)
"""The exceptions that ``transport_failure`` translates."""


def _text_of(exc: BaseException) -> str:
    """What an exception says, cut: it may quote the response."""
    return (str(exc) or type(exc).__name__)[:_SHOWN]


# -- What aiobotocore raises -------------------------------------------------------------------------------------------


@contextmanager
def vendor_translated(operation: Operation, where: str) -> Iterator[None]:
    """Translate aiobotocore's exceptions to those that the fast client raises.

    Raises:
        ErrorResponseError: AWS returned an error response.
        TransientError: No complete response was received.
        AccessError: No response is possible.
    """
    try:
        yield
    except vendor.ClientError as exc:
        raise ErrorResponseError(_response_of(exc, operation, where)) from exc
    except CREDENTIAL_FAILURES as exc:
        raise credentials_error(exc) from exc
    except vendor.BotoCoreError as exc:
        raise _no_response(exc, f"{operation} on {where}") from exc
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise transport_failure(exc, f"{operation} on {where}") from exc
    except UNREADABLE as exc:
        raise undecodable(f"{operation} on {where}", exc) from exc


def _response_of(exc: vendor.ClientError, operation: Operation, where: str) -> ErrorResponse:
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    headers = meta.get("HTTPHeaders", {})
    code = str(error.get("Code", ""))
    return ErrorResponse(
        operation=operation,
        where=where,
        status=int(meta.get("HTTPStatusCode", 0)) or 500,
        code="" if code.isdigit() else code,
        message=str(error.get("Message", "")),
        region=headers.get("x-amz-bucket-region") or error.get("Region"),
        retry_after_s=retry_after_s(headers),
    )


def _no_response(exc: vendor.BotoCoreError, what: str) -> AsyncFilterError:
    cause = exc.kwargs.get("error")
    match exc:
        case vendor.ParamValidationError() | vendor.ValidationError() | vendor.InvalidEndpointConfigurationError():
            return AccessError(f"{what}: not a possible request: {exc}", hint="Correct the value.")
        case vendor.ConnectTimeoutError():
            return UnreachableError(f"{what}: no connection ({_text_of(exc)})")
        case vendor.HTTPClientError() if isinstance(cause, aiohttp.ClientError | TimeoutError):
            return transport_failure(cause, what)
        case vendor.EndpointConnectionError() if isinstance(cause, aiohttp.ClientError | TimeoutError):
            return transport_failure(cause, what)
        case vendor.SSLError() | vendor.ProxyConnectionError() if isinstance(cause, aiohttp.ClientError):
            return transport_failure(cause, what)
        case _:
            return TransientError(f"{what}: {_text_of(exc)}", may_be_billed=True)


# -- Responses that cannot be read -------------------------------------------------------------------------------------

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    ResponseParserError,
)
"""What reading a response raises when it is not the service's: numbers, dates and texts that are none, fields that are
missing or of another type, JSON that is nested without end; of botocore, a page in place of XML."""


def undecodable(what: str, exc: BaseException) -> TransientError:
    """The error for a response with HTTP 200 that is not the service's: a proxy's page, or a corrupted body."""
    why = f"{type(exc).__name__}: {exc}"[:_SHOWN]
    return TransientError(f"{what}: the response cannot be decoded ({why})", may_be_billed=True)


@contextmanager
def undecodable_translated(what: str) -> Iterator[None]:
    """Translate what reading a response raises.

    Raises:
        TransientError: The response cannot be read.
    """
    try:
        yield
    except UNREADABLE as exc:
        raise undecodable(what, exc) from exc
