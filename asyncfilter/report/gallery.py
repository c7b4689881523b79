"""One self-contained HTML page of pictures, in sections such as kept and rejected."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from asyncfilter.notebook import isolated
from asyncfilter.printable import printable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h2 { border-bottom: 1px solid #8886; margin-top: 2.5rem; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; list-style: none;
     padding: 0; }
li { font-size: 12px; overflow-wrap: anywhere; }
img { width: 100%; border-radius: 6px; display: block; background: #8883; aspect-ratio: 4 / 3; object-fit: cover; }
p { color: #888; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #ddd; } }
"""


class Picture(NamedTuple):
    """One picture of the page; ``body`` is a JPEG, or None where only the caption is shown."""

    caption: str
    body: bytes | None


class Section(NamedTuple):
    """Pictures under one heading."""

    title: str
    remark: str
    pictures: Sequence[Picture]


def page(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML; it loads nothing from other files or servers."""
    body = "".join(_section(section) for section in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(printable(title))}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{isolated(title)}</h1>{body}</html>\n"
    )


def _section(section: Section) -> str:
    items = "".join(_item(picture) for picture in section.pictures)
    return f"<h2>{isolated(section.title)}</h2><p>{isolated(section.remark)}</p><ul>{items}</ul>"


def _item(picture: Picture) -> str:
    caption = isolated(picture.caption)
    if picture.body is None:
        return f"<li>{caption}</li>"
    alt = escape(printable(picture.caption))
    return f'<li><img alt="{alt}" src="data:image/jpeg;base64,{b64encode(picture.body).decode()}">{caption}</li>'
