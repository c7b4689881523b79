r"""Text as scalars of a job file that is written, so that reading gives exactly that text.

Text from outside (keys, folder names, answers) may hold anything that S3 or a file system allows: line ends, quotes,
``#``, ``${``, marks of direction. It is plain where no reader of YAML can take it for something else, and in double
quotes otherwise, with an escape for every character that does not print. ``$`` is doubled, since ``${NAME}`` in a job
file is a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from asyncfilter.printable import printable

_PLAIN = re.compile(r"(?:s3://|\.{1,2}/|/)[A-Za-z0-9._/=+-]*|[A-Za-z](?:[A-Za-z0-9 ]*[A-Za-z0-9])?")
"""Addresses, and words: with such a beginning no number, and without ``:``, ``#`` and the like no other structure."""

_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Words that some reader of YAML takes for a boolean or for nothing."""

_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def scalar(text: str) -> str:
    """``text`` as a scalar, of a block or between brackets."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(map(_written, text.replace("$", "$$")))}"'


def sequence(items: Iterable[str]) -> str:
    """A sequence between brackets."""
    return f"[{', '.join(map(scalar, items))}]"


def comment(text: str) -> str:
    """``text`` as a comment of one line."""
    return f"# {printable(text)}"


def _written(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
