"""The errors of ``asyncfilter.errors`` as they travel, and back.

An error that is none of these becomes a ``TransientError`` that may be billed: in doubt an attempt was paid for.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    BucketNotFoundError,
    CallError,
    CredentialsError,
    EndpointError,
    ImageError,
    LostError,
    NotSentError,
    PermissionDeniedError,
    RegionMismatchError,
    StoreError,
    ThrottleCause,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.fleet.messages import Fault

_ACCESS: dict[str, type[AccessError]] = {
    kind.__name__: kind
    for kind in (
        AccessError,
        CredentialsError,
        PermissionDeniedError,
        BucketNotFoundError,
        RegionMismatchError,
        EndpointError,
        StoreError,
    )
}
_USAGE = "usage"
_MESSAGE_CHARS = 2_000
_CODE_CHARS = 150
_LONGEST_WAIT_S = 1e5

DECODER_CODES = frozenset({"decoder_died", "decoding_timeout"})
"""Codes of an image whose decoding process was killed or did not end: in a fleet, its try failed, not yet the image."""


def fault_of(error: BaseException) -> Fault:
    """An error as it travels; its message is cut where it is long."""
    message = str(error)[:_MESSAGE_CHARS]
    hint = error.hint[:_MESSAGE_CHARS] if isinstance(error, AsyncFilterError) and error.hint else None
    match error:
        case ImageError(code=code) if code in DECODER_CODES:
            return Fault("decoder", message, code=code)
        case ImageError():
            return Fault("image", message, code=error.code[:_CODE_CHARS], hint=hint, is_access=error.access)
        case ThrottledError():
            return Fault(
                "throttled",
                message,
                code=error.cause.value,
                is_billed=error.may_be_billed,
                is_done=error.may_be_done,
                retry_after_s=_bounded(error.retry_after_s),
            )
        case NotSentError():
            return Fault("not_sent", message)
        case TransientError():
            wait_s = _bounded(error.retry_after_s)
            return Fault("transient", message, hint=hint, is_billed=error.may_be_billed, retry_after_s=wait_s)
        case AccessError():
            return Fault("access", message, code=type(error).__name__[:_CODE_CHARS], hint=hint)
        case UsageError():
            return Fault(_USAGE, message, hint=hint)
        case _:
            return Fault("unknown", f"{type(error).__name__}: {message}", is_billed=True)


def error_at_start(fault: Fault) -> AsyncFilterError:
    """The error that a fault of a worker that cannot be opened stands for."""
    return UsageError(fault.message, hint=fault.hint) if fault.kind == _USAGE else error_of(fault)


def error_of(fault: Fault) -> CallError | AccessError:
    """The error that a fault stands for."""
    make = _ERRORS.get(fault.kind)
    found = make(fault) if make is not None else None
    return found or TransientError(f"a worker reports: {fault.message}", may_be_billed=True)


def _image(fault: Fault) -> CallError:
    return ImageError(fault.message, code=fault.code, remedy=fault.hint, access=fault.is_access)


def _throttled(fault: Fault) -> CallError | None:
    if fault.code not in set(ThrottleCause):
        return None
    return ThrottledError(
        fault.message,
        cause=ThrottleCause(fault.code),
        may_be_billed=fault.is_billed,
        may_be_done=fault.is_done,
        retry_after_s=fault.retry_after_s,
    )


def _transient(fault: Fault) -> CallError:
    error = TransientError(fault.message, may_be_billed=fault.is_billed, retry_after_s=fault.retry_after_s)
    error.hint = fault.hint or error.hint
    return error


def _access(fault: Fault) -> AccessError | None:
    kind = _ACCESS.get(fault.code)
    return None if kind is None else kind(fault.message, hint=fault.hint)


_ERRORS: dict[str, Callable[[Fault], CallError | AccessError | None]] = {
    "image": _image,
    "throttled": _throttled,
    "transient": _transient,
    "access": _access,
    "not_sent": lambda fault: NotSentError(fault.message),
    "decoder": lambda fault: LostError(fault.message, was_alone=True, may_be_billed=False),
    "too_large": lambda fault: LostError(fault.message, is_final=True),
}


def _bounded(wait_s: float | None) -> float | None:
    return None if wait_s is None else min(max(0.0, wait_s), _LONGEST_WAIT_S)
