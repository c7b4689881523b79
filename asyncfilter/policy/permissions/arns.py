"""ARNs in an IAM policy: partitions, and patterns of keys and prefixes.

In a policy ``*``, ``?`` and ``${...}`` have a meaning of their own, and only characters up to U+00FF can be written
(IAM API reference, *CreatePolicy*; IAM guide, *Policy variables*). What cannot be written becomes a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from asyncfilter.job.addresses import Placeholder

_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "eusc-": "aws-eusc",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
}
"""The partition of a region by the beginning of its name (botocore, ``partitions.json``); all others are in ``aws``."""

PARTITIONS = ("aws", *_PARTITIONS.values())
"""Every partition."""

ANYTHING = "*"
"""The resource of actions that have none of their own (Service Authorization Reference)."""

_SPECIAL = {"*": "${*}", "?": "${?}", "$": "${$}"}
_SAMPLE = "asyncfilter-check"

CHECK_NAME = ".asyncfilter-check-"
"""Beginning of the name of an empty object that is written to a target and taken away again (``check_targets``)."""


def partition_of(region: str | None) -> str:
    """The partition that a region is in; ``aws`` when none is known."""
    return next((name for start, name in _PARTITIONS.items() if region and region.startswith(start)), PARTITIONS[0])


def literal(text: str) -> str:
    """A pattern that matches ``text``, and nothing else as far as a policy can express it."""
    return _joined([_SPECIAL.get(char, char) if _can_be_written(char) else "*" for char in text])


def key_pattern(parts: Sequence[str | Placeholder], *, prefix: str, name: str) -> str:
    """The pattern of the keys that a target template makes.

    Args:
        parts: Of the template.
        prefix: Of the source; every source key begins with it.
        name: Of the job.
    """
    known = {Placeholder.KEY: literal(prefix) + "*", Placeholder.NAME: literal(name)}
    return _joined([known.get(part, "*") if isinstance(part, Placeholder) else literal(part) for part in parts])


def sample(pattern: str, text: str = _SAMPLE) -> str:
    """A text that matches a pattern: its wildcards are replaced by ``text``."""
    return re.sub(r"\$\{([*?$])\}|[*]", lambda found: found[1] or text, pattern)


def narrowed(pattern: str) -> str:
    """The pattern of the texts that ``sample`` makes with a text that begins with ``CHECK_NAME``."""
    return re.sub(r"\$\{[*?$]\}|[*]", lambda found: f"{CHECK_NAME}*" if found[0] == "*" else found[0], pattern)


def covers(wide: str, narrow: str) -> bool:
    """Whether a pattern that ends in ``*`` certainly matches all that another pattern matches."""
    return wide == narrow or (wide.endswith("*") and "*" not in wide[:-1] and narrow.startswith(wide[:-1]))


def bucket_arn(partition: str, bucket: str) -> str:
    """The ARN of a bucket."""
    return f"arn:{partition}:s3:::{bucket}"


def objects_arn(partition: str, bucket: str, pattern: str) -> str:
    """The ARN of the objects in a bucket whose keys match a pattern."""
    return f"arn:{partition}:s3:::{bucket}/{pattern}"


def _can_be_written(char: str) -> bool:
    return char in "\t\n\r" or " " <= char <= "\u00ff"


def _joined(pieces: Sequence[str]) -> str:
    """The pieces in a row; wildcards in a row are one."""
    text = ""
    for piece in pieces:
        text += piece.removeprefix("*") if text.endswith("*") else piece
    return text
