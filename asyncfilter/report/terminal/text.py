"""One line of styled text for a terminal; the only text of this package that rich draws.

Keys, labels and messages come from outside. ``Text`` shows what does not print as escapes, line ends too, and never
reads markup. Several lines are several ``Text`` in a ``rich.console.Group``.
"""

from __future__ import annotations

from typing import Any, Self

import rich.text
from rich.style import Style

from asyncfilter.printable import printable, without_secrets


class Text(rich.text.Text):
    """A ``rich.text.Text`` in which nothing can act on the terminal."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:  # noqa: ANN401  rich's own
        super().__init__(_harmless(text), style, **options)

    def append(self, text: rich.text.Text | str, style: str | Style | None = None) -> Self:
        """Add text at the end. It has the style of ``style``; by default its own, or none."""
        super().append(_harmless(text) if isinstance(text, str) else text, style)
        return self


def _harmless(text: str) -> str:
    return printable(without_secrets(text))
