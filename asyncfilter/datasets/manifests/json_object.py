"""One line as a JSON object, as strict as RFC 8259.

Python's own reader takes more than that (NaN, Infinity); its other rules are those of the RFC. What the RFC leaves open
is settled here: of a name that occurs twice in an object the last value holds, and the name is on record; numbers
beyond the range of a float are infinite; objects and lists may be nested 100 deep.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Deepest nesting of objects and lists that is read."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OTHERS = re.compile(r"[^\[\]{}]+")


class BadJsonError(Exception):
    """A line is no JSON object; the message says why."""


class JsonLineReader:
    """Reads lines as JSON objects.

    Attributes:
        repeated: Names that occurred twice in one object of the last line, each once.
    """

    def __init__(self) -> None:
        self.repeated: list[str] = []
        self._read = json.JSONDecoder(object_pairs_hook=self._members, parse_constant=_refused).decode
        self._read_huge = json.JSONDecoder(
            object_pairs_hook=self._members, parse_constant=_refused, parse_int=float
        ).decode

    def read(self, content: bytes) -> dict[str, Any]:
        """The object in one line.

        Raises:
            BadJsonError: The line is not UTF-8, not JSON, nested too deep, or not an object.
        """
        self.repeated = []
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise BadJsonError(f"byte {error.start + 1} is not UTF-8") from error
        if text.startswith("\ufeff"):
            raise BadJsonError("begins with a byte order mark")
        if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(text):
            raise BadJsonError(f"is nested more than {MAX_DEPTH} deep")
        found = self._value(text)
        if not isinstance(found, dict):
            raise BadJsonError(f"is {kind_of(found)}, not an object")
        return found

    def _value(self, text: str) -> object:
        try:
            try:
                return self._read(text)
            except json.JSONDecodeError:
                raise
            except ValueError:  # a whole number with more digits than Python reads
                self.repeated = []
                return self._read_huge(text)
        except json.JSONDecodeError as error:
            raise BadJsonError(f"is not JSON: {error.msg} at character {error.pos + 1}") from error

    def _members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen and name not in self.repeated:
                    self.repeated.append(name)
                seen.add(name)
        return members


def kind_of(value: object) -> str:
    """What a JSON value is, for messages: ``the string "a"``, ``the number 3``, ``an empty list``."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {_short(value)}"
        case str():
            return f"the string {_short(value)}"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "an object"


_MOST_SHOWN = 60


def _short(value: object) -> str:
    """``value`` as JSON, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "with many digits"
    shown = value if not isinstance(value, str) else value[: _MOST_SHOWN + 1]
    text = json.dumps(shown, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def _refused(name: str) -> NoReturn:
    raise BadJsonError(f"is not JSON: it has {name}")


def _is_too_deep(text: str) -> bool:
    """Whether a text that may be JSON is nested deeper than ``MAX_DEPTH``."""
    depth = 0
    for bracket in _OTHERS.sub("", _STRING.sub("", text)):
        depth += 1 if bracket in "{[" else -1
        if depth > MAX_DEPTH:
            return True
    return False
