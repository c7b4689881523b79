"""Who the caller is, and which of IAM's identities has its policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncfilter.aws.access.requests import ask
from asyncfilter.aws.clients.error_response import Operation
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import undecodable_translated
from asyncfilter.errors import AccessError, AsyncFilterError

_SSO_ROLE = "AWSReservedSSO_"
_SSO_PATH = "aws-reserved/sso.amazonaws.com/"
"""Path of the roles that IAM Identity Center makes; in regions other than us-east-1 the region follows."""

_LEAST_COLONS = 5
"""Of an ARN: ``arn:partition:service:region:account:name``."""

_SHOWN = 100
"""Characters of a response in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The caller, as GetCallerIdentity names it; the call needs no permission.

    Attributes:
        arn: ARN of the user, or of the session of a role.
        account: Number of the account.
    """

    arn: str
    account: str

    @property
    def partition(self) -> str:
        """The partition of the account."""
        return self.arn.split(":", 2)[1]

    @property
    def role(self) -> str | None:
        """Name of the role that was assumed; None for another caller."""
        kind, _, rest = self._name.partition("/")
        return rest.partition("/")[0] if kind == "assumed-role" else None

    @property
    def is_user(self) -> bool:
        """Whether it is a user, whose ARN is that of its policies."""
        return self._name.startswith("user/")

    @property
    def is_root(self) -> bool:
        """Whether it is the account itself."""
        return self._name == "root"

    @property
    def _name(self) -> str:
        return self.arn.split(":", 5)[-1]


async def identify(session: AwsSession, region: str | None = None) -> Caller:
    """Ask STS who the caller is.

    Args:
        session: The account.
        region: Of the STS that is asked; by default the session's.

    Raises:
        AccessError: AWS does not accept the credentials, or STS cannot be reached.
        CallError: The attempt failed, or the response does not say who the caller is.
    """
    found = await ask(session, "sts", Operation.GET_CALLER_IDENTITY, "the caller", region=region)
    with undecodable_translated(f"{Operation.GET_CALLER_IDENTITY} on the caller"):
        return _caller(found)


def _caller(found: Mapping[str, Any]) -> Caller:
    """The caller in a response.

    Raises:
        LookupError: A field is missing.
        ValueError: The ARN is none.
    """
    arn, account = str(found["Arn"]), str(found["Account"])
    if not arn.startswith("arn:") or arn.count(":") < _LEAST_COLONS:
        raise ValueError(f"{arn[:_SHOWN]!r} is no ARN")
    return Caller(arn=arn, account=account)


async def policy_sources(session: AwsSession, caller: Caller) -> list[str]:
    """ARNs of the identity that may have the caller's policies, the likeliest first.

    The ARN of a session lacks the path of its role, which only IAM knows: where it may not be asked, the two paths are
    tried that most roles have.

    Raises:
        AccessError: The caller is none whose policies IAM can simulate.
    """
    if caller.is_user:
        return [caller.arn]
    role = caller.role
    if role is None:
        raise AccessError(
            f"IAM simulates no policies of {'the root user' if caller.is_root else caller.arn}",
            hint="Use a user or a role.",
        )
    try:
        found = await ask(session, "iam", Operation.GET_ROLE, f"role {role}", RoleName=role)
        with undecodable_translated(f"{Operation.GET_ROLE} on role {role}"):
            return [str(found["Role"]["Arn"])]
    except AsyncFilterError:
        start = f"arn:{caller.partition}:iam::{caller.account}:role/"
        region = f"{session.region}/" if session.region else ""
        paths = (_SSO_PATH, _SSO_PATH + region) if role.startswith(_SSO_ROLE) else ("",)
        return [f"{start}{path}{role}" for path in dict.fromkeys(paths)]
