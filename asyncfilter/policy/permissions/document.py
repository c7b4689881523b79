"""IAM policies from permissions: statements, without what another statement grants already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from asyncfilter.policy.permissions.arns import covers
from asyncfilter.policy.permissions.rows import Need

VERSION = "2012-10-17"
"""Version of the policy language; policy variables need it."""


class Statement(TypedDict, total=False):
    """One statement of a policy."""

    Sid: str
    Effect: str
    Principal: dict[str, str]
    Action: str | list[str]
    Resource: str | list[str]
    Condition: dict[str, dict[str, str]]


class Document(TypedDict):
    """A policy document."""

    Version: str
    Statement: list[Statement]


def policy_document(needs: Iterable[Need]) -> Document:
    """The policy that grants these permissions, and no more."""
    return {"Version": VERSION, "Statement": statements(list(needs))}


def granting(needs: Sequence[Need]) -> dict[Need, Need]:
    """For each permission the one whose statement grants it in the policy of all of them: mostly itself."""
    left = _left(needs)
    return {need: need if need in left else next(other for other in left if _grants(other, need)) for need in needs}


def _left(needs: Sequence[Need]) -> list[Need]:
    """The permissions that no other one grants."""
    return [need for at, need in enumerate(needs) if not _is_granted(need, needs[:at], needs[at + 1 :])]


def statements(needs: Sequence[Need]) -> list[Statement]:
    """Statements in the order of the permissions; one statement has all with its name, resources and condition."""
    resources: dict[tuple[str, str | None, str], list[str]] = {}
    for need in _left(needs):
        resources.setdefault((need.statement, need.prefix, need.action), []).append(need.resource)
    actions: dict[tuple[str, str | None, tuple[str, ...]], list[str]] = {}
    for (name, prefix, action), arns in resources.items():
        actions.setdefault((name, prefix, tuple(dict.fromkeys(arns))), []).append(action)
    names = [name for name, _, _ in actions]
    return [
        _statement(_numbered(names, at), key[1], names_of_actions, key[2])
        for at, (key, names_of_actions) in enumerate(actions.items())
    ]


def _is_granted(need: Need, before: Sequence[Need], after: Sequence[Need]) -> bool:
    """Whether another permission grants this one too; of two that grant the same, the first stays."""
    return any(_grants(other, need) for other in before) or any(
        _grants(other, need) and not _grants(need, other) for other in after
    )


def _grants(wide: Need, narrow: Need) -> bool:
    return (
        wide.action == narrow.action
        and covers(wide.resource, narrow.resource)
        and (wide.prefix is None or (narrow.prefix is not None and covers(wide.prefix, narrow.prefix)))
    )


def _numbered(names: Sequence[str], at: int) -> str:
    """A name that no other statement has: the second of a name is numbered."""
    earlier = names[:at].count(names[at])
    return f"{names[at]}{earlier + 1}" if earlier else names[at]


def _statement(name: str, prefix: str | None, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    statement: Statement = {
        "Sid": name,
        "Effect": "Allow",
        "Action": _one_or_list(actions),
        "Resource": _one_or_list(resources),
    }
    if prefix is not None:
        statement["Condition"] = {"StringLike": {"s3:prefix": prefix}}
    return statement


def _one_or_list(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
