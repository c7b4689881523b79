"""HTML tables for notebooks, which display the ``_repr_html_`` of a result.

Every text is escaped and isolated: keys, names and messages are untrusted input. No colour is set, so that a table is
as legible as the text around it, on a light and on a dark background.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from asyncfilter.printable import printable, without_secrets

_LEFT = ' style="text-align: left"'
"""Notebooks align cells to the right, which suits numbers only."""


def table(caption: str, rows: Iterable[Sequence[object]], *, head: Sequence[str] = ()) -> str:
    """An HTML table.

    Args:
        caption: Its title.
        rows: Cells, of which the first names the row. A row that has nothing beside its name is left out.
        head: Titles of the columns; none by default.
    """
    shown = [[_text(cell) for cell in row] for row in rows]
    lines = [_row("th", [html.escape(title) for title in head])] if head else []
    lines += [_row("td", cells) for cells in shown if any(cells[1:])]
    return f"<table><caption{_LEFT}>{_text(caption)}</caption>{''.join(lines)}</table>"


def usd(micros: float) -> str:
    """Dollars with all their decimals, at least two: ``$1,234.50``, ``$0.000250``."""
    whole, _, decimals = f"{Decimal(round(micros)).scaleb(-6):,f}".partition(".")
    return f"${whole}.{decimals[:2]:0<2}{decimals[2:].rstrip('0')}"


def duration(seconds: float) -> str:
    """``0:00:42``, ``2:05:00``, ``3 days, 4:00:00``."""
    return str(timedelta(seconds=round(seconds)))


def _row(tag: str, cells: Sequence[str]) -> str:
    name, *others = cells
    return f"<tr><th{_LEFT}>{name}</th>{''.join(f'<{tag}{_LEFT}>{cell}</{tag}>' for cell in others)}</tr>"


def _text(value: object) -> str:
    """The text of a cell, on one line: numbers with thousands separators, counts by name, nothing for None."""
    match value:
        case None | "":
            return ""
        case Mapping():
            return ", ".join(f"{_text(number)} {_text(name)}" for name, number in value.items())
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    return isolated(str(value))


def isolated(text: str) -> str:
    """``text`` as HTML on one line; letters that are written from right to left do not move what is beside them."""
    shown = html.escape(printable(without_secrets(text)))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"
