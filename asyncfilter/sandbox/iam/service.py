"""The IAM of the sandbox: SimulatePrincipalPolicy and GetRole (query protocol), for the caller itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from asyncfilter.sandbox.access import Access, Caller
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.iam.documents import Decision, Permission
from asyncfilter.sandbox.message import Reply, Request, ServiceError, header_lines
from asyncfilter.sandbox.sessions import Sessions

VERSION: Final = b"Version=2010-05-08"
"""Parameter of every request to IAM, which distinguishes them from those to STS."""

NAMESPACE: Final = "https://iam.amazonaws.com/doc/2010-05-08/"
_MAX_SIMULATED: Final = 1000


class IamService:
    """Answers for the user of the caller's account and for assumed roles; all have the sandbox's one policy.

    Args:
        access: Decides.
        sessions: Knows the assumed roles.
        user: ARN of the user with an access key.
    """

    style: Final = Style.QUERY

    def __init__(self, access: Access, sessions: Sessions, user: Callable[[str], str]) -> None:
        self._access = access
        self._sessions = sessions
        self._user = user

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: ``InvalidAction``.
        """
        form = parse_qs((request.body or request.query).decode("utf-8", "replace"), keep_blank_values=True)
        action = form.get("Action", [""])[0]
        runs: Mapping[str, Callable[[Mapping[str, list[str]]], Reply]] = {
            "SimulatePrincipalPolicy": partial(self._simulate, caller),
            "GetRole": self._role,
        }
        if action not in runs:
            raise ServiceError("InvalidAction", f"Could not find operation {action} for version 2010-05-08")
        permission = partial(Permission, f"iam:{action}", form.get("PolicySourceArn", ["*"])[0])
        return Call(Style.QUERY, action, "", partial(runs[action], form), permission=permission)

    def _simulate(self, caller: Caller, form: Mapping[str, list[str]]) -> Reply:
        principal = form.get("PolicySourceArn", [""])[0]
        if principal not in {self._user(caller.access_key), *self._sessions.roles().values()}:
            raise ServiceError("NoSuchEntity", f"The ARN {principal} cannot be found.", 404)
        actions, resources = list(_members(form, "ActionNames")), list(_members(form, "ResourceArns")) or ["*"]
        if not actions or len(actions) * len(resources) > _MAX_SIMULATED:
            raise ServiceError("InvalidInput", "ActionNames must name from 1 to 1000 simulations")
        services = {action.partition(":")[0] for action in actions}
        if len(services) > 1:
            raise ServiceError("InvalidInput", "Invalid policy simulation input: actions of several services")
        if wrong := [resource for resource in resources if resource != "*" and not resource.startswith("arn:")]:
            raise ServiceError("InvalidInput", f"Invalid ARN: {wrong[0]}")
        context = dict(_context(form))
        results = "".join(
            _result(action, resource, self._access.decide(Permission(action, resource, context)))
            for action in actions
            for resource in resources
        )
        return _reply(
            "SimulatePrincipalPolicy",
            f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>",
        )

    def _role(self, form: Mapping[str, list[str]]) -> Reply:
        name = form.get("RoleName", [""])[0]
        arn = self._sessions.roles().get(name)
        if arn is None:
            raise ServiceError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        path = f"/{arn.partition(':role/')[2].rpartition('/')[0]}/".replace("//", "/")
        return _reply(
            "GetRole",
            f"<Role><Path>{escape(path)}</Path><RoleName>{escape(name)}</RoleName><RoleId>AROASANDBOX</RoleId>"
            f"<Arn>{escape(arn)}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>",
        )


def _members(form: Mapping[str, list[str]], name: str) -> Iterator[str]:
    for at in itertools.count(1):
        if (values := form.get(f"{name}.member.{at}")) is None:
            return
        yield values[0]


def _context(form: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    for at in itertools.count(1):
        entry = f"ContextEntries.member.{at}"
        if (key := form.get(f"{entry}.ContextKeyName")) is None:
            return
        yield key[0], next(_members(form, f"{entry}.ContextKeyValues"), "")


def _result(action: str, resource: str, decision: Decision) -> str:
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName><EvalDecision>{decision}</EvalDecision>"
        "<MatchedStatements/><MissingContextValues/></member>"
    )


def _reply(action: str, result: str) -> Reply:
    request_id = new_request_id()
    body = (
        f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Reply(200, header_lines({"Content-Type": "text/xml", "x-amzn-RequestId": request_id}), body.encode())
