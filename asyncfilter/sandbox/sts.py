"""The STS of the sandbox: GetCallerIdentity and AssumeRole (query protocol)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from asyncfilter.sandbox.access import Caller
from asyncfilter.sandbox.accounts import Accounts
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.message import Reply, Request, ServiceError, header_lines
from asyncfilter.sandbox.sessions import Sessions

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"


class StsService:
    """Each access key has an account of its own; any role, of any account, can be assumed by any caller.

    Args:
        accounts: The account of each access key.
        sessions: Gives out the temporary keys.
        partition: Of the accounts.
    """

    style: Final = Style.QUERY

    def __init__(self, accounts: Accounts, sessions: Sessions, partition: str = "aws") -> None:
        self._accounts = accounts
        self._partition = partition
        self._sessions = sessions

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: ``InvalidAction`` or ``ValidationError``.
        """
        form = parse_qs((request.body or request.query).decode("utf-8", "replace"))
        action = form.get("Action", [""])[0]
        match action:
            case "GetCallerIdentity":
                return Call(Style.QUERY, action, "", partial(self._identity, caller), permission=_no_permission)
            case "AssumeRole":
                role, duration = form.get("RoleArn", [""])[0], form.get("DurationSeconds", ["3600"])[0]
                if not role or not duration.isdecimal():
                    raise ServiceError("ValidationError", "RoleArn or DurationSeconds is not valid", 400)
                permission = partial(Permission, "sts:AssumeRole", role)
                return Call(
                    Style.QUERY, action, role, partial(self._assume, role, int(duration)), permission=permission
                )
            case _:
                raise ServiceError("InvalidAction", f"Could not find operation {action} for version 2011-06-15")

    def _identity(self, caller: Caller) -> Reply:
        session = self._sessions.find(caller.access_key)
        account = self._accounts.of(caller.access_key)
        arn = user_arn(account, self._partition)
        if session is not None and session.role:
            role = session.role.rpartition("/")[2]
            arn = f"arn:{self._partition}:sts::{account}:assumed-role/{role}/sandbox"
        return _reply(
            "GetCallerIdentity",
            f"<Arn>{escape(arn)}</Arn><UserId>AIDASANDBOX</UserId><Account>{account}</Account>",
        )

    def _assume(self, role: str, duration_s: int) -> Reply:
        session = self._sessions.start(duration_s, role)
        ends = datetime.fromtimestamp(session.ends_unix_s, UTC).isoformat().replace("+00:00", "Z")
        return _reply(
            "AssumeRole",
            f"<AssumedRoleUser><Arn>{escape(role)}/sandbox</Arn><AssumedRoleId>AROASANDBOX:sandbox</AssumedRoleId>"
            f"</AssumedRoleUser><Credentials><AccessKeyId>{session.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{session.secret_key}</SecretAccessKey><SessionToken>{session.token}</SessionToken>"
            f"<Expiration>{ends}</Expiration></Credentials>",
        )


def user_arn(account: str, partition: str) -> str:
    """The ARN of the one user of an account, whose keys are not temporary."""
    return f"arn:{partition}:iam::{account}:user/sandbox"


def _no_permission() -> None:
    """GetCallerIdentity needs none, and cannot be denied (STS API reference)."""


def _reply(action: str, result: str) -> Reply:
    request_id = new_request_id()
    body = (
        f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
    return Reply(200, header_lines(headers), body.encode())
