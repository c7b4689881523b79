"""The STS of the sandbox: GetCallerIdentity (query protocol)."""

from __future__ import annotations

from functools import partial
from typing import Final
from urllib.parse import parse_qs

from asyncfilter.sandbox.access import Caller
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.message import Reply, Request, ServiceError, header_lines

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"


class StsService:
    """Answers GetCallerIdentity with the sandbox's one account and user."""

    style: Final = Style.QUERY

    def __init__(self, account: str) -> None:
        self._account = account

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: ``InvalidAction``.
        """
        del caller
        form = parse_qs((request.body or request.query).decode("utf-8", "replace"))
        action = form.get("Action", [""])[0]
        if action != "GetCallerIdentity":
            raise ServiceError("InvalidAction", f"Could not find operation {action} for version 2011-06-15")
        return Call(Style.QUERY, action, "", partial(_identity, self._account))


def _identity(account: str) -> Reply:
    request_id = new_request_id()
    body = (
        f'<GetCallerIdentityResponse xmlns="{NAMESPACE}"><GetCallerIdentityResult>'
        f"<Arn>arn:aws:iam::{account}:user/sandbox</Arn><UserId>AIDASANDBOX</UserId><Account>{account}</Account>"
        f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )
    headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
    return Reply(200, header_lines(headers), body.encode())
