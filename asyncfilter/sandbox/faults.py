"""Injected faults: which call fails and how, by rate or by key.

Whether a fault occurs is a function of seed, operation, key and attempt number, not of the order in which calls arrive,
so that a run can be repeated at another speed. Rules are evaluated in order; the first that applies is used.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from asyncfilter.sandbox.access import Denial, denial, needed_action
from asyncfilter.sandbox.calls import Call, Style
from asyncfilter.sandbox.message import Delivery, ServiceError


class FaultKind(StrEnum):
    """Kinds of faults."""

    THROTTLE = "throttle"
    """400 ProvisionedThroughputExceededException: over the rate."""
    RAMP = "ramp"
    """400 ThrottlingException: the rate grows too fast."""
    S3_READ = "s3-read"
    """400 ProvisionedThroughputExceededException: over the rate at which Rekognition reads from S3."""
    INTERNAL = "internal"
    """500 InternalServerError; InternalError from S3."""
    UNAVAILABLE = "unavailable"
    """500 ThrottlingException; 503 ServiceUnavailable from S3."""
    SLOW_DOWN = "slowdown"
    """503 SlowDown, S3 only."""
    TIMEOUT = "timeout"
    """The call is executed and no response is sent."""
    RESET = "reset"
    """The call is executed and the connection is reset."""
    CUT = "cut"
    """The call is executed and half of the response body is sent."""
    LATE_ERROR = "late-error"
    """CopyObject: status 200 with an error in the body; nothing is copied."""
    CONFLICT = "conflict"
    """409 ConditionalRequestConflict, S3 only: another conditional write of the key was under way; nothing is done."""
    LATE = "late"
    """The call is executed at once and its response is sent ``LATE_S`` later."""
    TWICE = "twice"
    """The call is executed twice, as if the network had repeated it; the response is that of the second time."""
    NAMED = "named"
    """The error of the rule's ``code``, with status 400, and 500 for an internal one; nothing is executed."""
    DENIED = "denied"
    """The caller has no permission."""
    EXPIRED = "expired"
    """The caller's session token has expired."""


LOST: Final[Mapping[FaultKind, Delivery]] = {
    FaultKind.TIMEOUT: Delivery.SILENCE,
    FaultKind.RESET: Delivery.RESET,
    FaultKind.CUT: Delivery.CUT,
}
EXECUTED: Final = frozenset({*LOST, FaultKind.LATE, FaultKind.TWICE})
"""The kinds with which a call is executed."""
LATE_S: Final = 3.0
_DENIALS: Final = {FaultKind.DENIED: Denial.FORBIDDEN, FaultKind.EXPIRED: Denial.EXPIRED}
_THROTTLED: Final = "ProvisionedThroughputExceededException"
_JSON: Final[Mapping[FaultKind, tuple[str, int, str]]] = {
    FaultKind.THROTTLE: (_THROTTLED, 400, "Provisioned Rate exceeded"),
    FaultKind.S3_READ: (_THROTTLED, 400, "S3 download limit exceeded"),
    FaultKind.RAMP: (
        "ThrottlingException",
        400,
        "Slow down; sudden increase in rate of requests. Please ramp up your traffic gradually.",
    ),
    FaultKind.INTERNAL: ("InternalServerError", 500, "Internal server error"),
    FaultKind.UNAVAILABLE: ("ThrottlingException", 500, "Service Unavailable"),
    FaultKind.SLOW_DOWN: ("ThrottlingException", 500, "Service Unavailable"),
    FaultKind.LATE_ERROR: ("InternalServerError", 500, "Internal server error"),
    FaultKind.CONFLICT: ("InternalServerError", 500, "Internal server error"),
}
_S3_INTERNAL: Final = ("InternalError", 500, "We encountered an internal error. Please try again.")
_S3_SLOW: Final = ("SlowDown", 503, "Please reduce your request rate.")
_S3: Final[Mapping[FaultKind, tuple[str, int, str]]] = {
    FaultKind.THROTTLE: _S3_SLOW,
    FaultKind.S3_READ: _S3_SLOW,
    FaultKind.RAMP: _S3_SLOW,
    FaultKind.SLOW_DOWN: _S3_SLOW,
    FaultKind.INTERNAL: _S3_INTERNAL,
    FaultKind.LATE_ERROR: (_S3_INTERNAL[0], 200, _S3_INTERNAL[2]),
    FaultKind.UNAVAILABLE: ("ServiceUnavailable", 503, "Reduce your request rate."),
    FaultKind.CONFLICT: (
        "ConditionalRequestConflict",
        409,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    ),
}
_S3_OPERATIONS: Final = {
    FaultKind.SLOW_DOWN: "*Object*",
    FaultKind.LATE_ERROR: "CopyObject",
    FaultKind.CONFLICT: "PutObject",
}
_SCALE: Final = 1 << 32


class Fault(NamedTuple):
    """One rule.

    Attributes:
        rate: Share of the attempts that fail, 0 to 1.
        uri: Glob on ``bucket/key``; ``*`` also matches slashes.
        operation: Glob on the operation. Empty means the operations in which the kind occurs: all object operations for
            ``slowdown``, CopyObject for ``late-error``, PutObject for ``conflict``, the detections for all others.
        times: If positive, the first ``times`` attempts on each key fail, and ``rate`` is ignored.
        code: Name of the error, of ``named`` alone.
    """

    kind: FaultKind
    rate: float = 0.0
    uri: str = "*"
    operation: str = ""
    times: int = 0
    code: str = ""

    @property
    def operations(self) -> str:
        """The glob on operations, or its default if empty."""
        return self.operation or _S3_OPERATIONS.get(self.kind, "Detect*")


class Faults:
    """Decides which attempts fail."""

    def __init__(self, rules: Sequence[Fault], seed: int) -> None:
        self._rules = tuple(rules)
        self._seed = seed
        self._attempts: Counter[str] = Counter()

    def draw(self, call: Call) -> Fault | None:
        """Count an attempt; returns the fault that it gets, None if it gets none."""
        if not self._rules:
            return None
        name = f"{call.operation} {call.uri}"
        self._attempts[name] += 1
        attempt = self._attempts[name]
        for index, rule in enumerate(self._rules):
            if not (fnmatchcase(call.operation, rule.operations) and fnmatchcase(call.uri, rule.uri)):
                continue
            if attempt <= rule.times or (not rule.times and self._chance(index, name, attempt) < rule.rate):
                return rule
        return None

    def _chance(self, index: int, name: str, attempt: int) -> float:
        text = f"{self._seed} {index} {attempt} {name}".encode("utf-8", "surrogateescape")
        # CRCs of similar texts are too regular to be compared with a rate; the multiplication spreads them evenly.
        return (zlib.crc32(text) * 0x9E3779B1 % _SCALE) / _SCALE


def service_error_of(kind: FaultKind, call: Call, code: str = "") -> ServiceError:
    """The error response of a fault; ``code`` is that of a ``named`` one.

    Raises:
        KeyError: For the kinds in ``EXECUTED``, which have no error response.
    """
    if kind is FaultKind.NAMED:
        status = 500 if code in {"InternalServerError", "InternalError"} else 400
        return ServiceError(code, f"The sandbox was told to answer with {code}", status)
    if kind in _DENIALS:
        return denial(call.style, _DENIALS[kind], needed_action(call))
    code, status, message = (_S3 if call.style is Style.S3 else _JSON)[kind]
    return ServiceError(code, message, status)
