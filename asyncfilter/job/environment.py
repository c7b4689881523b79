"""``${NAME}`` in the strings of a job file.

``${NAME}`` is the variable's value, ``${NAME:-default}`` the default when it is unset or empty, ``$$`` a dollar sign;
any other ``$`` is literal. The value of a variable is not expanded again.

A variable may hold a secret: messages about the file show ``${NAME}`` instead of its value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{[^}]*\}?)"
)


_PARTS = re.compile(r"(?:s3|own|file|https?):|[/:]", re.IGNORECASE)
"""What separates the parts of an address."""
_VALUES_FOLLOW = re.compile(r"(\bfound |\boutside the source )")
_LEAST_HIDDEN = 3
"""Characters of the shortest value that is searched for in messages: a shorter one would be found in every word."""


class Environment:
    """The variables of one job file; remembers which were used, to hide their values.

    Args:
        environ: The variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._used: dict[str, str] = {}

    def expand(self, text: str) -> str:
        """``text`` with its references replaced. Raises as ``expand``."""
        for reference in _REFERENCE.finditer(text):
            if (name := reference["name"]) and (value := self._environ.get(name)):
                self._used[name] = value
        return expand(text, self._environ)

    def hide(self, message: str) -> str:
        """``message`` with ``${NAME}`` in place of every value that was used, however it is quoted.

        Where values follow, parts of them (the bucket of an address, a folder of a path) are hidden too.
        """
        used = sorted(self._used.items(), key=lambda item: -len(item[1]))
        for name, value in used:
            message = _replaced(message, value, name)
        expected, *seen = _VALUES_FOLLOW.split(message, maxsplit=1)
        if not seen:
            return message
        for name, value in used:
            for part in sorted(_PARTS.split(value), key=len, reverse=True):
                seen[-1] = _replaced(seen[-1], part, name)
        return "".join((expected, *seen))


def _replaced(message: str, value: str, name: str) -> str:
    if len(value) < _LEAST_HIDDEN:
        return message
    forms = (value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    for form in dict.fromkeys(forms):
        message = message.replace(form, f"${{{name}}}")
    return message


def expand(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with its references replaced.

    Raises:
        ValueError: A variable is not set and has no default, or a reference is malformed.
    """

    def value(reference: re.Match[str]) -> str:
        if reference["broken"] is not None:
            raise ValueError(f"expected ${{NAME}} or ${{NAME:-default}}, or $$ for a dollar sign, found {reference[0]}")
        name = reference["name"]
        if name is None:
            return "$"
        default: str | None = reference["default"]
        found = environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise ValueError(
                f"found {reference[0]}, but the environment variable {name} is not set; "
                f"set it, or write ${{{name}:-default}}"
            )
        return found

    return _REFERENCE.sub(value, text)
