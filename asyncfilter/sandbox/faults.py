"""Injected faults: which call fails how, by rate or by key.

Whether a fault strikes is a function of seed, operation, key and attempt number, not of the order in which calls
arrive, so that a run can be repeated at another speed. Rules are tried in order; the first that strikes wins.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from asyncfilter.sandbox.access import Denial, denial
from asyncfilter.sandbox.calls import Call, Style
from asyncfilter.sandbox.message import Delivery, ServiceError


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    """400 ProvisionedThroughputExceededException: over the rate."""
    RAMP = "ramp"
    """400 ThrottlingException: growing too fast."""
    S3_READ = "s3-read"
    """400 ProvisionedThroughputExceededException: over what Rekognition may read from S3."""
    INTERNAL = "internal"
    """500 InternalServerError; InternalError from S3."""
    UNAVAILABLE = "unavailable"
    """500 ThrottlingException; 503 ServiceUnavailable from S3."""
    SLOW_DOWN = "slowdown"
    """503 SlowDown, S3 only."""
    TIMEOUT = "timeout"
    """The call is carried out and never answered."""
    RESET = "reset"
    """The call is carried out and the connection reset."""
    CUT = "cut"
    """The call is carried out and half of the answer arrives."""
    LATE_ERROR = "late-error"
    """CopyObject: 200 with an error for a body; nothing is copied."""
    DENIED = "denied"
    """The caller has no permission."""
    EXPIRED = "expired"
    """The caller's session token has expired."""


LOST: Final[Mapping[FaultKind, Delivery]] = {
    FaultKind.TIMEOUT: Delivery.SILENCE,
    FaultKind.RESET: Delivery.RESET,
    FaultKind.CUT: Delivery.CUT,
}
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
}
_S3_OPERATIONS: Final = {FaultKind.SLOW_DOWN: "*Object*", FaultKind.LATE_ERROR: "CopyObject"}
_SCALE: Final = 1 << 32


class Fault(NamedTuple):
    """One rule.

    Attributes:
        rate: Share of the attempts that fail, 0 to 1.
        uri: Glob on ``bucket/key``; ``*`` crosses slashes.
        operation: Glob on the operation; empty means where the kind occurs: the detections, all object operations for
            ``slowdown``, CopyObject for ``late-error``.
        times: Where positive, the first so many attempts on each key fail, and ``rate`` is not looked at.
    """

    kind: FaultKind
    rate: float = 0.0
    uri: str = "*"
    operation: str = ""
    times: int = 0

    @property
    def operations(self) -> str:
        """The glob on operations, the default filled in."""
        return self.operation or _S3_OPERATIONS.get(self.kind, "Detect*")


class Faults:
    """Draws faults for calls."""

    def __init__(self, rules: Sequence[Fault], seed: int) -> None:
        self._rules = tuple(rules)
        self._seed = seed
        self._attempts: Counter[str] = Counter()

    def draw(self, call: Call) -> FaultKind | None:
        """Count an attempt and say how it fails, if it does."""
        if not self._rules:
            return None
        name = f"{call.operation} {call.uri}"
        self._attempts[name] += 1
        attempt = self._attempts[name]
        for index, rule in enumerate(self._rules):
            if not (fnmatchcase(call.operation, rule.operations) and fnmatchcase(call.uri, rule.uri)):
                continue
            if attempt <= rule.times or (not rule.times and self._chance(index, name, attempt) < rule.rate):
                return rule.kind
        return None

    def _chance(self, index: int, name: str, attempt: int) -> float:
        text = f"{self._seed} {index} {attempt} {name}".encode("utf-8", "surrogateescape")
        # A plain CRC of similar texts is too regular to be compared with a rate; a multiplication spreads it.
        return (zlib.crc32(text) * 0x9E3779B1 % _SCALE) / _SCALE


def service_error_of(kind: FaultKind, call: Call) -> ServiceError:
    """The error answer of a fault that is one.

    Raises:
        KeyError: For the kinds in ``LOST``, which answer nothing.
    """
    if kind in _DENIALS:
        return denial(call.style, _DENIALS[kind], call.operation)
    code, status, message = (_S3 if call.style is Style.S3 else _JSON)[kind]
    return ServiceError(code, message, status)
