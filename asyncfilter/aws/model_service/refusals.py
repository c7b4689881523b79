"""The meaning of the error responses of projects, datasets and versions.

Codes are those of botocore's service model. ``asyncfilter.aws.errors`` has their meaning to a detector, and all that is
not particular to this part of the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asyncfilter.aws.clients.error_response import ErrorResponse
from asyncfilter.aws.errors import classify, denied_action
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    PermissionDeniedError,
    RefusedError,
    ResourceExistsError,
    ResourceInUseError,
    ResourceLimitError,
    ResourceMissingError,
    ResourceNotReadyError,
)


class _Refusal(NamedTuple):
    kind: type[RefusedError]
    meaning: str
    hint: str | None = None


_LIMIT_HINT = "Wait until others have ended, delete what is not needed, or ask AWS to raise the quota."

_REFUSALS: Mapping[str, _Refusal] = {
    "ResourceAlreadyExistsException": _Refusal(ResourceExistsError, "it is there already"),
    "ResourceInUseException": _Refusal(ResourceInUseError, "it is in use, or there is one of this name"),
    "ResourceNotFoundException": _Refusal(ResourceMissingError, "it is not there"),
    "ResourceNotReadyException": _Refusal(ResourceNotReadyError, "it is not ready"),
    "LimitExceededException": _Refusal(ResourceLimitError, "a limit of the account is reached", _LIMIT_HINT),
    "ServiceQuotaExceededException": _Refusal(ResourceLimitError, "a quota of the account is reached", _LIMIT_HINT),
    **dict.fromkeys(
        (
            "InvalidParameterException", "ValidationException", "InvalidPaginationTokenException",
            "SerializationException", "ParamValidationError",
        ),
        _Refusal(RefusedError, "the service does not accept the request"),
    ),
}  # fmt: skip

_UNREADABLE_HINT = (
    "Check that the manifest is there, that its bucket is in the region of the project, and that the credentials may "
    "read it: asyncfilter model permissions lists what they need."
)


def refusal(response: ErrorResponse) -> AsyncFilterError:
    """The package's error for an error response; the caller raises it ``from`` the exception with the response."""
    if known := _REFUSALS.get(response.code):
        return known.kind(f"{known.meaning}: {response}", code=response.code, hint=known.hint)
    if response.code in {"AccessDeniedException", "AccessDenied"}:
        return PermissionDeniedError(
            f"Permission denied: {response}",
            hint=f"Allow {denied_action(response) or response.operation.permission} for the credentials in use "
            "(asyncfilter model permissions prints the whole policy).",
        )
    if response.code == "InvalidS3ObjectException":
        return AccessError(f"the service cannot read the manifest: {response}", hint=_UNREADABLE_HINT)
    return classify(response)
