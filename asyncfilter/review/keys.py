"""The keys of the page, by action; each reader may choose others in the page itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEFAULT_KEYS: Mapping[str, Sequence[str]] = {
    "keep": ("k", "a"),
    "reject": ("r", "x"),
    "unsure": ("u", " "),
    "undo": ("z", "Backspace"),
    "next": ("ArrowRight", "j"),
    "back": ("ArrowLeft",),
    "group": ("g",),
    "boxes": ("b",),
    "newBox": ("n",),
    "machine": ("m",),
    "label": ("l",),
    "note": ("n",),
    "full": ("f",),
    "sheet": ("s",),
    "find": ("/",),
    "help": ("?",),
    "close": ("Escape",),
}
"""Values of ``KeyboardEvent.key``; a letter means either case."""
