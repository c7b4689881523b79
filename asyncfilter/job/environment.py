"""``${NAME}`` in the strings of a job file.

``${NAME}`` is the variable's value, ``${NAME:-default}`` the default when it is unset or empty, ``$$`` a dollar sign;
any other ``$`` is literal. The value of a variable is not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{[^}]*\}?)"
)


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
