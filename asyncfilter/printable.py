"""Untrusted text on a terminal, in a log line, in HTML: keys, labels, messages of services, arguments.

A key may hold anything: control sequences that move the cursor or set the window's title, marks that reverse the
direction of writing, line breaks that forge a line, invisible letters, halves of surrogate pairs. ``printable``
shows each such character as the escape that Python and JSON readers know. It is applied where text leaves the program
(``asyncfilter.cli.stderr``, ``asyncfilter.report.terminal.text``, ``asyncfilter.report.logs``,
``asyncfilter.notebook``), and not where text is made: results for programs (JSON, exports, the checkpoint) hold keys as
they are.
"""

from __future__ import annotations

import re

_UNSAFE_IN_JSON = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_URL_USER = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://)"
    r"(?:[^/?#\s'\"<>@]*(?:@[^/?#\s'\"<>@]*)*@"
    r"|(?<=[ps]://)[^/?#\s'\"<>@:]*:(?!\d*(?:[/?#\s]|$))[^\s'\"<>@]*@)",  # a slash in the password of http or https
    re.IGNORECASE,
)
_URL_SIGNATURE = re.compile(
    r"\?[^\s'\"<>?]*\b(?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|AWSAccessKeyId|Signature)="
    r"[^\s'\"<>]*",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    r"""``text`` on one line, with every character that does not print as an escape: ``\n``, ``\x1b``, ``\u202e``.

    What prints is decided by ``str.isprintable``: not control characters, marks of direction, zero-width characters,
    separators other than the space, surrogates, and code points that are private or unassigned.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair is no character. Names of files and JSON may have one."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def printable_lines(text: str) -> str:
    """Like ``printable`` for text of several lines, such as a traceback: line ends and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """JSON of the same value, in which no character acts on a terminal; line ends between values stay."""
    return _UNSAFE_IN_JSON.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def without_secrets(text: str) -> str:
    """``text`` whose URLs have neither user and password nor the signature of a presigned request."""
    if "://" not in text:
        return text
    if "@" in text:
        text = _URL_USER.sub(r"\g<scheme>", text)
    return _URL_SIGNATURE.sub("?...", text) if "=" in text else text


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
