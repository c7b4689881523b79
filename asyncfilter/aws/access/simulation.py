"""IAM's own simulation of the caller's policies (SimulatePrincipalPolicy).

It covers the policies of the identity, its permissions boundary, and those of the organisation. It does not know the
policies of buckets, keys, sessions and endpoints, which may allow more or less (IAM guide, *Policy simulator*).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from asyncfilter.aws.access.identity import Caller, policy_sources
from asyncfilter.aws.access.requests import ask_raw
from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import undecodable_translated
from asyncfilter.errors import AccessError

_MISSING = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_MIXED = frozenset({"InvalidInput", "InvalidInputException"})
"""Codes for actions that IAM does not simulate together: those of different services and kinds of resources."""

_MOST_PAGES = 100
"""Pages of one answer that are read: some ten actions are asked for at once."""


class Question(NamedTuple):
    """Whether an action on a resource is allowed; ``prefix`` is the key prefix that a listing asks for."""

    action: str
    resource: str
    prefix: str | None = None


class EvalDecision(StrEnum):
    """The answer, in IAM's words."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


async def simulate(
    session: AwsSession, caller: Caller, questions: Iterable[Question]
) -> Mapping[Question, EvalDecision]:
    """Ask IAM whether the caller's policies allow some actions; questions that IAM does not answer are left out.

    Args:
        session: The account.
        caller: From ``identify``.
        questions: The actions.

    Raises:
        PermissionDeniedError: The caller may not ask.
        AccessError: IAM cannot simulate this caller, or cannot be reached.
        CallError: An attempt failed, or its response cannot be read.
    """
    groups: dict[tuple[str, str, str | None], list[Question]] = {}
    for one in dict.fromkeys(questions):
        service = one.action.partition(":")[0]
        groups.setdefault((service, one.resource, one.prefix), []).append(one)
    simulation = _Simulation(session, await policy_sources(session, caller))
    answers: dict[Question, EvalDecision] = {}
    for group in groups.values():
        answers.update(await simulation.ask(group))
    return answers


class _Simulation:
    """The simulation of one identity.

    Args:
        session: The account.
        sources: ARNs that the identity may have; the first that exists is kept.
    """

    def __init__(self, session: AwsSession, sources: Sequence[str]) -> None:
        self._session = session
        self._sources = list(sources)

    async def ask(self, group: Sequence[Question]) -> dict[Question, EvalDecision]:
        """The answers for actions of one service on one resource."""
        try:
            return await self._ask(group)
        except ErrorResponseError as exc:
            if exc.response.code not in _MIXED:
                raise classify(exc.response) from exc
        if len(group) == 1:
            return {}
        return {question: verdict for one in group for question, verdict in (await self.ask([one])).items()}

    async def _ask(self, group: Sequence[Question]) -> dict[Question, EvalDecision]:
        while self._sources:
            try:
                return await self._pages(self._sources[0], group)
            except ErrorResponseError as exc:
                if exc.response.code not in _MISSING:
                    raise
                self._sources.pop(0)
        raise AccessError(
            "IAM does not know the role of the caller by its name alone",
            hint="Allow iam:GetRole, which tells the path of the role.",
        )

    async def _pages(self, source: str, group: Sequence[Question]) -> dict[Question, EvalDecision]:
        by_action = {question.action.lower(): question for question in group}
        parameters = _parameters(source, group)
        answers: dict[Question, EvalDecision] = {}
        operation = Operation.SIMULATE_PRINCIPAL_POLICY
        marker: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = await ask_raw(self._session, "iam", operation, source, **parameters, **marker)
            with undecodable_translated(f"{operation} on {source}"):
                for result in page.get("EvaluationResults", ()):
                    answers[by_action[str(result["EvalActionName"]).lower()]] = EvalDecision(result["EvalDecision"])
                if not page.get("IsTruncated") or not page.get("Marker"):
                    return answers
                marker = {"Marker": str(page["Marker"])}
        raise AccessError(
            f"IAM does not end its answer about {source}: {_MOST_PAGES} pages, and more are said to follow",
            hint="Check AWS_ENDPOINT_URL_IAM: this is not how IAM answers.",
        )


def _parameters(source: str, group: Sequence[Question]) -> dict[str, Any]:
    first = group[0]
    parameters: dict[str, Any] = {
        "PolicySourceArn": source,
        "ActionNames": [question.action for question in group],
        "ResourceArns": [first.resource],
    }
    if first.prefix is not None:
        entry = {"ContextKeyName": "s3:prefix", "ContextKeyValues": [first.prefix], "ContextKeyType": "string"}
        parameters["ContextEntries"] = [entry]
    return parameters
