"""Whether the organisation opts out of AWS keeping what its AI services are sent, to improve them.

Rekognition is one of these services (Organizations guide, *AI services opt-out policies*).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from asyncfilter.aws.access.requests import ask_raw
from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import UNREADABLE
from asyncfilter.errors import AsyncFilterError

POLICY_TYPE = "AISERVICES_OPT_OUT_POLICY"
_SERVICE, _DEFAULT, _CHOICE = "rekognition", "default", "opt_out_policy"
_NONE = {
    "AWSOrganizationsNotInUseException": "the account is in no organisation, and only an organisation can opt out",
    "EffectivePolicyNotFoundException": "the organisation has no policy for that",
}
"""What error codes say about the account."""

_SHOWN = 200
"""Characters of a message that may quote the response."""


class OptOutState(StrEnum):
    """What is known of the opt-out."""

    OUT = "out"
    IN = "in"
    UNKNOWN = "unknown"


class OptOut(NamedTuple):
    """The state, and in words how it is known or why it is not."""

    state: OptOutState
    detail: str


async def opt_out(session: AwsSession) -> OptOut:
    """The effective policy of the caller's account; never fails, since few callers may read it."""
    try:
        found = await ask_raw(
            session, "organizations", Operation.DESCRIBE_EFFECTIVE_POLICY, POLICY_TYPE, PolicyType=POLICY_TYPE
        )
        return _read(str(found["EffectivePolicy"]["PolicyContent"]))
    except ErrorResponseError as exc:
        if detail := _NONE.get(exc.response.code):
            return OptOut(OptOutState.IN, detail)
        return OptOut(OptOutState.UNKNOWN, str(classify(exc.response)))
    except AsyncFilterError as error:
        return OptOut(OptOutState.UNKNOWN, error.message)
    except UNREADABLE as exc:
        return OptOut(OptOutState.UNKNOWN, f"the policy cannot be read ({type(exc).__name__}: {exc})"[:_SHOWN])


def _read(content: str) -> OptOut:
    services: dict[str, Any] = msgspec.json.decode(content)["services"]
    choice = next((str(services[name][_CHOICE]) for name in (_SERVICE, _DEFAULT) if name in services), None)
    if choice == "optOut":
        return OptOut(OptOutState.OUT, "the organisation's policy")
    said = choice[:_SHOWN] if choice else "it names neither Rekognition nor a default"
    return OptOut(OptOutState.IN, f"the organisation's policy ({said})")
