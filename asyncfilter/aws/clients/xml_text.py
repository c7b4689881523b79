"""Text and elements of the XML that AWS sends, read in time proportional to the length of the body.

A body may come from anything that listens at the endpoint. No pattern here backtracks over it, and no reference to a
character is followed that XML does not allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ENTITY = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#([0-9]{1,8})|#x([0-9a-fA-F]{1,8}));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_NUMERIC = re.compile("&#[^;]{0,16};?")
_MAX_CODE_POINT = 0x10FFFF
_REPLACEMENT = "\ufffd"


class NoCharacterError(ValueError):
    """A reference to a character that does not exist."""


def unescape(text: str) -> str:
    """``text`` with XML's five named entities and all numeric references replaced.

    Raises:
        NoCharacterError: A numeric reference stands for no character: a surrogate, or beyond U+10FFFF.
    """
    if "&" not in text:
        return text
    if any(_ENTITY.fullmatch(found) is None for found in _NUMERIC.findall(text)):
        raise NoCharacterError("a reference to a character that does not exist")
    return _ENTITY.sub(_character, text)


def unescape_leniently(text: str) -> str:
    """As ``unescape``, for texts that are only shown: a reference to no character becomes U+FFFD."""
    try:
        return unescape(text)
    except NoCharacterError:
        return _NUMERIC.sub(_REPLACEMENT, text)


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return _NAMED[match[1]]
    code = int(match[2]) if match[2] else int(match[3], 16)
    if code > _MAX_CODE_POINT or 0xD800 <= code <= 0xDFFF:
        raise NoCharacterError("a reference to a character that does not exist")
    return chr(code)


def elements(body: bytes, *names: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the elements of some names, in order; they have no attributes and do not nest.

    An element without its end is the last one read: its content would be that of the others too.
    """
    opening = re.compile(b"<(%b)>" % b"|".join(names))
    at = 0
    while match := opening.search(body, at):
        closing = b"</%b>" % match[1]
        end = body.find(closing, match.end())
        if end < 0:
            return
        yield match[1], body[match.end() : end]
        at = end + len(closing)
