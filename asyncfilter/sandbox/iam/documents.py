"""Identity policies: the part of IAM's policy language that the sandbox evaluates (IAM guide, *Policy evaluation*).

Actions and resources with wildcards, Allow and Deny, and the conditions on text. A document with anything else is
refused, since a policy that is half understood would allow or deny what AWS does not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

_ELEMENTS: Final = {"Sid", "Effect", "Action", "Resource", "Condition"}
_TOKEN: Final = re.compile(r"\$\{([*?$])\}|([*?])|[^*?]", re.DOTALL)
_OPERATORS: Final = {"StringEquals": (False, False), "StringLike": (True, False)} | {
    "StringNotEquals": (False, True),
    "StringNotLike": (True, True),
}
"""Whether an operator has wildcards, and whether it is negated."""

_IF_EXISTS: Final = "IfExists"


class Decision(StrEnum):
    """The result of an evaluation, in the words of the policy simulator."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


class Permission(NamedTuple):
    """What a request needs: an action on a resource, with the values that conditions are compared with."""

    action: str
    resource: str
    context: Mapping[str, str] = {}


class _Condition(NamedTuple):
    key: str
    values: tuple[str, ...]
    has_wildcards: bool
    is_negated: bool
    if_exists: bool

    def holds(self, context: Mapping[str, str]) -> bool:
        value = context.get(self.key)
        if value is None:
            return self.if_exists or self.is_negated
        found = any(
            matches(pattern, value) if self.has_wildcards else _plain(pattern) == value for pattern in self.values
        )
        return found is not self.is_negated


class _Statement(NamedTuple):
    is_allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[_Condition, ...]

    def applies(self, permission: Permission) -> bool:
        return (
            any(matches(pattern.lower(), permission.action.lower()) for pattern in self.actions)
            and any(matches(pattern, permission.resource) for pattern in self.resources)
            and all(condition.holds(permission.context) for condition in self.conditions)
        )


class IdentityPolicy:
    """One policy document of the caller.

    Args:
        document: Its JSON.

    Raises:
        ValueError: It is no policy document, or has elements that are not evaluated here.
    """

    def __init__(self, document: bytes | str) -> None:
        try:
            parsed: Any = msgspec.json.decode(document)
            rows = parsed["Statement"]
            self._statements = [_statement(row) for row in (rows if isinstance(rows, list) else [rows])]
        except (msgspec.DecodeError, LookupError, TypeError) as exc:
            raise ValueError(f"not a policy document: {type(exc).__name__}: {exc}") from exc

    def decide(self, permission: Permission) -> Decision:
        """Evaluate: a statement that denies outweighs all that allow."""
        applying = [statement.is_allow for statement in self._statements if statement.applies(permission)]
        if not all(applying):
            return Decision.EXPLICIT_DENY
        return Decision.ALLOWED if applying else Decision.IMPLICIT_DENY


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    pieces = [wildcards.get(token[2]) or re.escape(token[1] or token[0]) for token in _TOKEN.finditer(pattern)]
    return re.compile("".join(pieces), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern of a policy matches; ``${*}``, ``${?}`` and ``${$}`` stand for the characters themselves."""
    return _compiled(pattern).fullmatch(text) is not None


def _plain(value: str) -> str:
    return re.sub(r"\$\{([*?$])\}", r"\1", value)


def _statement(row: Mapping[str, Any]) -> _Statement:
    if unknown := set(row) - _ELEMENTS:
        raise ValueError(f"the sandbox evaluates no {', '.join(sorted(unknown))} in policies")
    if row["Effect"] not in {"Allow", "Deny"}:
        raise ValueError(f"Effect must be Allow or Deny, not {row['Effect']!r}")
    return _Statement(
        is_allow=row["Effect"] == "Allow",
        actions=_texts(row["Action"]),
        resources=_texts(row["Resource"]),
        conditions=tuple(
            condition
            for operator, keys in row.get("Condition", {}).items()
            for condition in _conditions(operator, keys)
        ),
    )


def _conditions(operator: str, keys: Mapping[str, str | Sequence[str]]) -> list[_Condition]:
    if_exists = operator.endswith(_IF_EXISTS)
    name = operator.removesuffix(_IF_EXISTS)
    if name not in _OPERATORS:
        raise ValueError(f"the sandbox evaluates no condition {operator}")
    has_wildcards, is_negated = _OPERATORS[name]
    return [_Condition(key, _texts(values), has_wildcards, is_negated, if_exists) for key, values in keys.items()]


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
