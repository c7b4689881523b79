"""The IAM of the sandbox: how policies are evaluated, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncfilter.sandbox.iam.documents import Decision, IdentityPolicy, Permission, matches


def policy(*statements: dict[str, Any]) -> IdentityPolicy:
    """A policy that allows unless a statement says otherwise."""
    rows = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"} | statement for statement in statements]
    return IdentityPolicy(json.dumps({"Version": "2012-10-17", "Statement": rows}))


OBJECT = Permission("s3:GetObject", "arn:aws:s3:::raw/birds/1.jpg")
LISTING = Permission("s3:ListBucket", "arn:aws:s3:::raw", {"s3:prefix": "birds/"})
HEAD = Permission("s3:ListBucket", "arn:aws:s3:::raw")
CONDITION = {"Action": "s3:ListBucket", "Condition": {"StringLike": {"s3:prefix": ["cats/*", "birds/*"]}}}


@pytest.mark.parametrize(
    ("statements", "permission", "decision"),
    [
        ([], OBJECT, Decision.IMPLICIT_DENY),
        ([{}], OBJECT, Decision.ALLOWED),
        ([{"Action": "s3:getobject"}], OBJECT, Decision.ALLOWED),
        ([{"Resource": "arn:aws:s3:::raw/Birds/*"}], OBJECT, Decision.IMPLICIT_DENY),
        ([{"Resource": ["arn:aws:s3:::x/*", "arn:aws:s3:::raw/bird?/*"]}], OBJECT, Decision.ALLOWED),
        ([{}, {"Effect": "Deny", "Action": "s3:GetObject"}], OBJECT, Decision.EXPLICIT_DENY),
        ([{}, {"Effect": "Deny", "Action": "s3:PutObject"}], OBJECT, Decision.ALLOWED),
        ([CONDITION], LISTING, Decision.ALLOWED),
        ([CONDITION], HEAD, Decision.IMPLICIT_DENY),
        ([{"Condition": {"StringEquals": {"s3:prefix": "birds/"}}}], LISTING, Decision.ALLOWED),
        ([{"Condition": {"StringEquals": {"s3:prefix": "bird*"}}}], LISTING, Decision.IMPLICIT_DENY),
        ([{"Condition": {"StringLikeIfExists": {"s3:prefix": "cats/*"}}}], HEAD, Decision.ALLOWED),
        ([{"Condition": {"StringNotLike": {"s3:prefix": "cats/*"}}}], LISTING, Decision.ALLOWED),
        ([{"Condition": {"StringNotEquals": {"s3:prefix": "birds/"}}}], LISTING, Decision.IMPLICIT_DENY),
        ([{"Condition": {"StringNotEquals": {"s3:prefix": "birds/"}}}], HEAD, Decision.ALLOWED),
    ],
)
def test_a_policy_is_evaluated_as_iam_does(
    statements: list[dict[str, Any]], permission: Permission, decision: Decision
) -> None:
    """Wildcards, case, lists, denials before allowances, conditions with and without a value."""
    assert policy(*statements).decide(permission) is decision


def test_escaped_characters_are_no_wildcards() -> None:
    """``${*}``, ``${?}`` and ``${$}`` stand for themselves, line ends are matched too."""
    assert matches("a${*}b", "a*b")
    assert not matches("a${*}b", "axb")
    assert matches("${$}{x}*", "${x}\nrest")


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ("[", "not a policy document"),
        ("{}", "not a policy document"),
        ('{"Statement": [{"Effect": "Allow", "Resource": "*"}]}', "not a policy document"),
        ('{"Statement": {"Effect": "Maybe", "Action": "*", "Resource": "*"}}', "Allow or Deny"),
        ('{"Statement": [{"Effect": "Allow", "NotAction": "*", "Resource": "*"}]}', "NotAction"),
        ('{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {}}}]}', "Bool"),
    ],
)
def test_what_is_not_understood_is_refused(document: str, word: str) -> None:
    """A policy that is half understood would allow or deny what AWS does not."""
    with pytest.raises(ValueError, match=word):
        IdentityPolicy(document)
