"""What pages are made of. Arguments ``html``, ``rows`` and ``pieces`` are HTML already; all others are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from asyncfilter.notebook import isolated
from asyncfilter.printable import printable, without_secrets

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Pages load nothing and run nothing, whatever the keys in them are."""


def page(title: str, html: str, *, style: str, rules: str = "") -> str:
    """A whole page.

    Args:
        title: Its title.
        html: The body.
        style: A style sheet of this package, such as ``evaluation.css``.
        rules: More rules for it.
    """
    sheet = files("asyncfilter.report.html").joinpath(style).read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{attribute(title)}</title>\n'
        f"<style>\n{sheet}{rules}</style>\n</head>\n<body>\n{html}</body>\n</html>\n"
    )


def text(value: str) -> str:
    """A text as HTML on one line, isolated from the direction of writing around it."""
    return isolated(value)


def attribute(value: str) -> str:
    """A text as the value of an attribute."""
    return escape(printable(without_secrets(value)))


def section(anchor: str, title: str, html: str, *, lead: str = "") -> str:
    """A section with a heading, a sentence below it, and its contents."""
    sentence = f"<p>{text(lead)}</p>\n" if lead else ""
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n<h2 id="{anchor}-title">{text(title)}</h2>\n'
        f"{sentence}{html}</section>\n"
    )


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "figures") -> str:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        caption: What it has, for those who do not see it.
        heads: Titles of the columns.
        rows: Cells, of which the first names the row.
        kind: Its class in the style sheet.
    """
    return _table(caption, heads, map(_row, rows), kind)


def long_table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    total: int,
    what: str,
    most_bytes: int,
    kind: str = "figures",
) -> str:
    """A table of the first rows that fit in ``most_bytes``, and a sentence about the others.

    Args:
        caption: As in ``table``, as ``heads`` and ``kind`` are.
        heads: Titles of the columns.
        rows: Cells; they are made while there is room.
        total: How many rows there are.
        what: What they are, such as ``labels``.
        most_bytes: Of all rows.
        kind: Its class.
    """
    kept = within(map(_row, rows), most_bytes)
    return _table(caption, heads, kept, kind) + left_out(total - len(kept), what)


def left_out(number: int, what: str) -> str:
    """A sentence about what is not shown; nothing where all is."""
    return f'<p class="more">{number:,} more {what} are not on this page.</p>\n' if number else ""


def _table(caption: str, heads: Sequence[str], rows: Iterable[str], kind: str) -> str:
    titles = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    return (
        f'<div class="wide" role="region" aria-label="{attribute(caption)}" tabindex="0">\n'
        f'<table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody></table></div>\n"
    )


def _row(cells: Sequence[str]) -> str:
    """A row; a cell that begins with ``<td`` brings its own tag."""
    first, *others = cells
    rest = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in others)
    return f'<tr><th scope="row">{first}</th>{rest}</tr>\n'


def items(html: Iterable[str]) -> str:
    """A list."""
    entries = "".join(f"<li>{entry}</li>" for entry in html)
    return f"<ul>{entries}</ul>\n" if entries else ""


def within(pieces: Iterable[str], most_bytes: int) -> list[str]:
    """As many of ``pieces``, from the first on, as fit in ``most_bytes``; no more than one beyond these is made."""
    kept: list[str] = []
    room_bytes = most_bytes
    for piece in pieces:
        room_bytes -= len(piece.encode())
        if room_bytes < 0:
            break
        kept.append(piece)
    return kept
