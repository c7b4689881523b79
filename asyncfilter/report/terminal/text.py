"""One line of styled text for a terminal, and the console for it; the only text of this package that rich draws.

Keys, labels and messages come from outside. ``Text`` shows what does not print as escapes, line ends too, and never
reads markup. Several lines are several ``Text`` in a ``rich.console.Group``.
"""

from __future__ import annotations

from typing import Any, Self, TextIO

import rich.text
from rich.console import Console
from rich.style import Style

from asyncfilter.printable import printable, printable_json, without_secrets


class Text(rich.text.Text):
    """A ``rich.text.Text`` in which nothing can act on the terminal."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:  # noqa: ANN401  rich's own
        super().__init__(_harmless(text), style, **options)

    @classmethod
    def assemble(cls, *parts: rich.text.Text | str | tuple[str, str | Style], **options: Any) -> Self:  # noqa: ANN401  rich's own
        """A text of several parts, each with a style or none."""
        text = cls(**options)
        for part in parts:
            text.append(*part) if isinstance(part, tuple) else text.append(part)
        return text

    def append(self, text: rich.text.Text | str, style: str | Style | None = None) -> Self:
        """Add text at the end. It has the style of ``style``; by default its own, or none."""
        super().append(_harmless(text) if isinstance(text, str) else text, style)
        return self


def log_line(line: str) -> rich.text.Text:
    """A line of ``asyncfilter.report.logs``, in which only the log's own styles are control sequences."""
    return rich.text.Text.from_ansi(line.rstrip("\n"))


class PlainConsole(Console):
    """A console for which a string is plain text too: no markup, and nothing that acts on the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  rich's own
        """The text of a string that is printed, or a cell of a table."""
        known = {name: options[name] for name in ("style", "justify", "overflow") if options.get(name) is not None}
        return Text(text, **known)


class ExportOnTerminal:
    """Shows lines of an export that are written to a terminal, with what does not print as escapes.

    Args:
        out: The terminal.
        is_json: The lines are JSON, whose values stay exact; they cannot in CSV.
    """

    def __init__(self, out: TextIO, *, is_json: bool) -> None:
        self._out = out
        self._shown = printable_json if is_json else _printable_csv

    def write(self, text: str) -> None:
        """Show one line."""
        self._out.write(self._shown(text))


def _printable_csv(text: str) -> str:
    return printable(text.removesuffix("\r\n")) + "\n"


def _harmless(text: str) -> str:
    return printable(without_secrets(text))
