"""Authentication and permissions of a request: access keys, signatures, denials."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from asyncfilter.sandbox.calls import Call, Style
from asyncfilter.sandbox.custom_labels.names import CONTROL_OPERATIONS
from asyncfilter.sandbox.iam.access_log import AccessLog
from asyncfilter.sandbox.iam.actions import action_of, permission_of
from asyncfilter.sandbox.iam.documents import Decision, IdentityPolicy, Permission
from asyncfilter.sandbox.message import Request, ServiceError
from asyncfilter.sandbox.sessions import Sessions
from asyncfilter.sandbox.signature import SkewError, signature_holds


class Caller(NamedTuple):
    """The credential scope of a request: all empty when it was not signed."""

    access_key: str = ""
    date: str = ""
    region: str = ""
    service: str = ""


class Denial(StrEnum):
    """Why a request is denied."""

    UNSIGNED = "unsigned"
    UNKNOWN = "unknown"
    FORGED = "forged"
    SKEWED = "skewed"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"


class DenyRule(NamedTuple):
    """Forbids operations that match the glob ``operation`` on objects whose ``bucket/key`` matches the glob ``uri``."""

    operation: str
    uri: str = "*"


_FORGED: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
_FORBIDDEN: Final = "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: {action}"
_ERRORS: Final[Mapping[tuple[Style, Denial], tuple[str, int, str]]] = {
    (Style.S3, Denial.UNSIGNED): ("AccessDenied", 403, "Access Denied"),
    (Style.S3, Denial.UNKNOWN): (
        "InvalidAccessKeyId",
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    (Style.S3, Denial.FORGED): ("SignatureDoesNotMatch", 403, _FORGED),
    (Style.S3, Denial.SKEWED): (
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    ),
    (Style.S3, Denial.EXPIRED): ("ExpiredToken", 400, "The provided token has expired."),
    (Style.S3, Denial.FORBIDDEN): ("AccessDenied", 403, "Access Denied"),
    (Style.JSON, Denial.UNSIGNED): ("MissingAuthenticationTokenException", 400, "Missing Authentication Token"),
    (Style.JSON, Denial.UNKNOWN): (
        "UnrecognizedClientException",
        400,
        "The security token included in the request is invalid.",
    ),
    (Style.JSON, Denial.FORGED): ("InvalidSignatureException", 400, _FORGED),
    (Style.JSON, Denial.SKEWED): (
        "InvalidSignatureException",
        400,
        "Signature expired: the request time is not within 15 minutes of the current time.",
    ),
    (Style.JSON, Denial.EXPIRED): (
        "ExpiredTokenException",
        400,
        "The security token included in the request is expired",
    ),
    (Style.JSON, Denial.FORBIDDEN): ("AccessDeniedException", 400, _FORBIDDEN),
    (Style.QUERY, Denial.UNSIGNED): (
        "MissingAuthenticationToken",
        403,
        "Request is missing Authentication Token",
    ),
    (Style.QUERY, Denial.UNKNOWN): (
        "InvalidClientTokenId",
        403,
        "The security token included in the request is invalid.",
    ),
    (Style.QUERY, Denial.FORGED): ("SignatureDoesNotMatch", 403, _FORGED),
    (Style.QUERY, Denial.SKEWED): ("SignatureDoesNotMatch", 403, "Signature expired"),
    (Style.QUERY, Denial.EXPIRED): (
        "ExpiredToken",
        403,
        "The security token included in the request is expired",
    ),
    (Style.QUERY, Denial.FORBIDDEN): ("AccessDenied", 403, "Access Denied"),
}


def denial(style: Style, why: Denial, action: str) -> ServiceError:
    """The error response of a service of ``style`` to a request that it denies; ``action`` is IAM's name of it."""
    code, status, message = _ERRORS[style, why]
    return ServiceError(code, message.replace("{action}", action), status)


class Access:
    """Checks every request before its quota, faults and parameters are considered.

    Args:
        credentials: Secrets by access key.
        any_credentials: Accept access keys that are not in ``credentials``; their signatures cannot be checked.
        verify_signatures: Check signatures; unknown access keys are then refused.
        deny: Operations that are forbidden to every caller.
        policy: The policy of every caller; None allows everything.
        log: Notes the permissions that requests need; None where they are not wanted.
        partition: Of the account.
        sessions: Temporary keys; they are accepted until they expire, whatever ``any_credentials`` is.
    """

    def __init__(
        self,
        *,
        credentials: Mapping[str, str],
        any_credentials: bool,
        verify_signatures: bool,
        deny: Sequence[DenyRule],
        sessions: Sessions,
        policy: IdentityPolicy | None = None,
        log: AccessLog | None = None,
        partition: str = "aws",
    ) -> None:
        self._credentials = credentials
        self._any = any_credentials and not verify_signatures
        self._verify = verify_signatures
        self._deny = deny
        self._sessions = sessions
        self._policy = policy
        self._log = log
        self.partition = partition

    @property
    def _is_watched(self) -> bool:
        return self._policy is not None or self._log is not None

    def set_policy(self, policy: IdentityPolicy | None) -> None:
        """Replace the policy of every caller; None allows everything."""
        self._policy = policy

    def check(self, request: Request, caller: Caller, call: Call) -> None:
        """Return when the call is allowed; raise otherwise.

        Raises:
            ServiceError: The error that the called service sends for this denial.
        """
        why = self._objection(request, caller, call)
        if why is not None:
            raise denial(call.style, why, needed_action(call))

    def allowed(self, operation: str, uri: str, *, versioned: bool = False) -> bool:
        """Whether the caller may execute an operation of S3 on ``bucket/key``, or on a version of it."""
        if not self._is_watched:
            return self._rules_allow(operation, uri)
        permission = permission_of(operation, uri, partition=self.partition, versioned=versioned)
        return self._weigh(operation, uri, permission)

    def may_tell_missing(self, operation: str, bucket: str) -> bool:
        """Whether the caller is told that an object is missing: who may not list the bucket is denied instead."""
        if not self._is_watched:
            return True
        permission = permission_of("HeadBucket", bucket, partition=self.partition)
        is_allowed = self._policy is None or self._policy.decide(permission) is Decision.ALLOWED
        if self._log is not None:
            self._log.note(operation, permission, allowed=is_allowed)
        return is_allowed

    def decide(self, permission: Permission) -> Decision:
        """The decision of IAM's simulation: by the rules for operations with this action, then by the policy."""
        uri = permission.resource.partition(":s3:::")[2]
        operations = {rule.operation for rule in self._deny if rule_action(rule.operation) == permission.action}
        if not all(self._rules_allow(operation, uri) for operation in operations):
            return Decision.EXPLICIT_DENY
        return Decision.ALLOWED if self._policy is None else self._policy.decide(permission)

    def _rules_allow(self, operation: str, uri: str) -> bool:
        return not any(fnmatchcase(operation, rule.operation) and fnmatchcase(uri, rule.uri) for rule in self._deny)

    def _weigh(self, operation: str, uri: str, permission: Permission | None) -> bool:
        """Whether rules and policy allow a request; the permission that it needs is noted."""
        is_allowed = self._rules_allow(operation, uri)
        if permission is None:
            return is_allowed
        if self._policy is not None:
            is_allowed = is_allowed and self._policy.decide(permission) is Decision.ALLOWED
        if self._log is not None:
            self._log.note(operation, permission, allowed=is_allowed)
        return is_allowed

    def _forbids(self, call: Call) -> bool:
        if not self._is_watched:
            return bool(self._deny) and not self._rules_allow(call.operation, call.uri)
        permission = call.permission() if call.permission is not None else None
        return not self._weigh(call.operation, call.uri, permission)

    def _objection(self, request: Request, caller: Caller, call: Call) -> Denial | None:
        if not caller.access_key:
            return Denial.UNSIGNED
        session = self._sessions.find(caller.access_key)
        if session is None and not self._any and caller.access_key not in self._credentials:
            return Denial.UNKNOWN
        if session is not None and time.time() >= session.ends_unix_s:
            return Denial.EXPIRED
        if self._verify:
            secret = self._credentials[caller.access_key] if session is None else session.secret_key
            try:
                if not signature_holds(request, secret, now_s=time.time()):
                    return Denial.FORGED
            except SkewError:
                return Denial.SKEWED
        return Denial.FORBIDDEN if self._forbids(call) else None


def rule_action(operation: str) -> str:
    """The IAM action of the operation that a rule names, as far as it names one."""
    service = _SERVICES.get(operation, "s3")
    return action_of(operation) if service == "s3" else f"{service}:{operation}"


_SERVICES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("DetectLabels", "DetectCustomLabels", *CONTROL_OPERATIONS), "rekognition"),
    **dict.fromkeys(("GetServiceQuota", "GetAWSDefaultServiceQuota"), "servicequotas"),
}


def needed_action(call: Call) -> str:
    """The IAM action of a call, as denials name it."""
    permission = call.permission() if call.permission is not None else None
    return rule_action(call.operation) if permission is None else permission.action


def read_caller(request: Request) -> Caller:
    """The credential scope, from the Authorization header or a presigned query."""
    authorization = request.headers.get(b"authorization")
    if authorization is not None:
        return _scope(authorization.partition(b",")[0].partition(b"Credential=")[2])
    if b"X-Amz-Credential=" in request.query:
        values = parse_qs(request.query.decode("ascii", "replace")).get("X-Amz-Credential", [""])
        return _scope(values[0].encode())
    return Caller()


@functools.lru_cache(maxsize=1024)
def _scope(credential: bytes) -> Caller:
    parts = credential.strip().decode("utf-8", "replace").rsplit("/", 4)
    return Caller(*parts[:4]) if len(parts) == 5 else Caller()
