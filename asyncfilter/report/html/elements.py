"""What pages are made of. Arguments ``html``, ``rows`` and ``pieces`` are HTML already; all others are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from asyncfilter.notebook import isolated
from asyncfilter.printable import printable, without_secrets

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Pages load nothing and run nothing, whatever a key in them says."""


def page(title: str, html: str, *, style: str) -> str:
    """A whole page.

    Args:
        title: Its title.
        html: The body.
        style: A style sheet of this package, such as ``evaluation.css``.
    """
    sheet = files("asyncfilter.report.html").joinpath(style).read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{attribute(title)}</title>\n'
        f"<style>\n{sheet}</style>\n</head>\n<body>\n{html}</body>\n</html>\n"
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
        rows: Cells as HTML, of which the first names the row.
        kind: Its class in the style sheet.
    """
    titles = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    body = "".join(f"<tr>{_cells(cells)}</tr>\n" for cells in rows)
    return (
        f'<div class="wide" role="region" aria-label="{attribute(caption)}" tabindex="0">\n'
        f'<table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def _cells(cells: Sequence[str]) -> str:
    """The cells of a row; one that begins with ``<td`` brings its own tag."""
    first, *others = cells
    rest = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in others)
    return f'<th scope="row">{first}</th>{rest}'


def items(html: Iterable[str]) -> str:
    """A list."""
    entries = "".join(f"<li>{entry}</li>" for entry in html)
    return f"<ul>{entries}</ul>\n" if entries else ""


def within(pieces: Iterable[str], most_bytes: int) -> tuple[list[str], int]:
    """As many of ``pieces`` from the first on as fit in ``most_bytes``, and how many are left out."""
    kept: list[str] = []
    left_out = room_bytes = 0
    for piece in pieces:
        room_bytes += len(piece.encode())
        if room_bytes <= most_bytes and not left_out:
            kept.append(piece)
        else:
            left_out += 1
    return kept, left_out
