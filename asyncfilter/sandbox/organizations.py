"""The Organizations of the sandbox: DescribeEffectivePolicy, for the policy that opts out of AI services (JSON 1.1)."""

from __future__ import annotations

import time
from enum import StrEnum
from functools import partial
from typing import Any, Final

import msgspec

from asyncfilter.sandbox.access import Caller
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.message import JSON_TYPE, Reply, Request, ServiceError, header_lines

TARGET: Final = b"AWSOrganizationsV20161128."
POLICY_TYPE: Final = "AISERVICES_OPT_OUT_POLICY"


class OptOut(StrEnum):
    """Whether the organisation of the sandbox's account lets AWS keep what its AI services are sent."""

    NO_ORGANIZATION = "none"
    """The account is in no organisation."""
    NO_POLICY = "unset"
    """The organisation has no such policy."""
    OUT = "out"
    IN = "in"


class _Wanted(msgspec.Struct, rename="pascal"):
    policy_type: str = ""
    target_id: str | None = None


class OrganizationsService:
    """Parses requests to Organizations.

    Args:
        opt_out: The organisation's choice.
        account: The account.
    """

    style: Final = Style.JSON

    def __init__(self, opt_out: OptOut, account: str) -> None:
        self._opt_out = opt_out
        self._account = account

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: ``UnknownOperationException`` or ``SerializationException``.
        """
        del caller
        operation = request.headers[b"x-amz-target"][len(TARGET) :].decode("ascii", "replace")
        if operation != "DescribeEffectivePolicy":
            raise ServiceError("UnknownOperationException", "")
        try:
            wanted = msgspec.json.decode(request.body, type=_Wanted)
        except msgspec.DecodeError as exc:
            raise ServiceError("SerializationException", str(exc)) from exc
        permission = partial(Permission, f"organizations:{operation}", "*")
        return Call(Style.JSON, operation, "", partial(self._describe, wanted), permission=permission)

    def _describe(self, wanted: _Wanted) -> Reply:
        if wanted.policy_type != POLICY_TYPE:
            raise ServiceError("InvalidInputException", "You provided an invalid policy type")
        match self._opt_out:
            case OptOut.NO_ORGANIZATION:
                raise ServiceError(
                    "AWSOrganizationsNotInUseException", "Your account is not a member of an organization."
                )
            case OptOut.NO_POLICY:
                raise ServiceError("EffectivePolicyNotFoundException", "The account has no effective policy.")
            case OptOut.OUT | OptOut.IN:
                return _reply(self._policy())

    def _policy(self) -> dict[str, Any]:
        value = "optOut" if self._opt_out is OptOut.OUT else "optIn"
        content = msgspec.json.encode({"services": {"default": {"opt_out_policy": value}}}).decode()
        return {
            "EffectivePolicy": {
                "PolicyContent": content,
                "LastUpdatedTimestamp": time.time(),
                "TargetId": self._account,
                "PolicyType": POLICY_TYPE,
            }
        }


def _reply(body: dict[str, Any]) -> Reply:
    headers = {"Content-Type": JSON_TYPE, "x-amzn-RequestId": new_request_id()}
    return Reply(200, header_lines(headers), msgspec.json.encode(body))
