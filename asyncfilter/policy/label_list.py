"""AWS's published list of labels, as it ships with the package.

``label_list.txt`` is made by ``tools/label_list.py``. Its first lines name source and date. ``[Category]`` begins a
category; each other line is a label, with ``*`` when it can have boxes, and its aliases behind ``=``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

_FILE = Path(__file__).with_name("label_list.txt")


class LabelList(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of one model; all keys are casefolded.

    Attributes:
        date: When the list was fetched, as YYYY-MM-DD.
        source: Where it was fetched.
        names: All labels and aliases, as AWS writes them.
        boxed: Those labels and aliases that can have boxes.
        category_of: The category of each label and alias that has one.
        categories: All categories, as AWS writes them.
        kin: What an image surely has with a label or alias: its other names and its category, as (kind, name).
    """

    date: str
    source: str
    names: Mapping[str, str]
    boxed: frozenset[str]
    category_of: Mapping[str, str]
    categories: Mapping[str, str]
    kin: Mapping[str, frozenset[tuple[str, str]]]


@functools.cache
def published_labels() -> LabelList:
    """The list for label model 3.0; the file is read once, when it is first needed."""
    return parse(_FILE.read_text("utf-8").splitlines())


def parse(lines: Iterable[str]) -> LabelList:
    """The list in the lines of a file."""
    about: dict[str, str] = {}
    names: dict[str, str] = {}
    boxed: set[str] = set()
    category_of: dict[str, str] = {}
    categories: dict[str, str] = {}
    kin: dict[str, frozenset[tuple[str, str]]] = {}
    category = ""
    for line in lines:
        if line.startswith("#"):
            key, _, value = line.removeprefix("# ").partition(": ")
            about[key] = value
        elif line.startswith("["):
            category = line.strip("[]")
            if category:
                categories[category.casefold()] = category
        else:
            label, *aliases = line.split("=")
            every = [name.casefold() for name in (label.removesuffix("*"), *aliases)]
            subjects = frozenset([*(("name", name) for name in every), *_category(category)])
            kin.update({name: kin.get(name, subjects) & subjects for name in every})
            for name in (label.removesuffix("*"), *aliases):
                folded = name.casefold()
                names[folded] = name
                if label.endswith("*"):
                    boxed.add(folded)
                if category:
                    category_of[folded] = category
    return LabelList(
        date=about["date"],
        source=about["source"],
        names=names,
        boxed=frozenset(boxed),
        category_of=category_of,
        categories=categories,
        kin=kin,
    )


def _category(name: str) -> list[tuple[str, str]]:
    return [("category", name.casefold())] if name else []
