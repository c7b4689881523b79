"""Make the compact list of labels that ships with the package, from the files that AWS publishes.

    python tools/label_list.py FOLDER

FOLDER holds the five CSV files of AmazonRekognitionLabels_v3.0.zip, which the page *Detecting labels* of the Amazon
Rekognition Developer Guide offers. The result has the facts alone, grouped by category: ``asyncfilter/policy/
label_list.py`` describes its form and reads it.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

RESULT = Path(__file__).resolve().parents[1] / "asyncfilter" / "policy" / "label_list.txt"
SOURCE = "AmazonRekognitionLabels_v3.0.zip, Amazon Rekognition Developer Guide, Detecting labels"
DATE = "2024-02-15"
"""When these files were fetched from the guide."""


def compact(folder: Path, date: str) -> str:
    """The text of the list.

    Args:
        folder: Holds the CSV files.
        date: When they were fetched, as YYYY-MM-DD.
    """
    aliases = _aliases(folder)
    boxed = _boxed(folder, aliases)
    lines = ["# Labels of Amazon Rekognition, model 3.0. Made by tools/label_list.py.", f"# source: {SOURCE}"]
    lines.append(f"# date: {date}")
    for category, names in sorted(_by_category(folder).items()):
        lines.append(f"[{category}]")
        for name in sorted(names):
            mark = "*" if name in boxed else ""
            lines.append("=".join([f"{name}{mark}", *aliases[name]]))
    return "\n".join(lines) + "\n"


def _by_category(folder: Path) -> dict[str, set[str]]:
    """All names by category; those without one are under an empty name."""
    category_of = {name: category for name, category, *_ in _rows(folder / "LabelsCategoriesMapping.csv")}
    found: dict[str, set[str]] = {category: set() for category, *_ in _rows(folder / "LabelCategories.csv")}
    every = {name for name, *_ in _rows(folder / "AllLabels.csv")}
    for name in every | set(category_of):
        found.setdefault(category_of.get(name, ""), set()).add(name)
    return found


def _aliases(folder: Path) -> dict[str, list[str]]:
    """The aliases of each label; a label can have several lines."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, *others in _rows(folder / "AliasLabels.csv"):
        found[name] += [other for other in others if other]
    return found


def _boxed(folder: Path, aliases: dict[str, list[str]]) -> set[str]:
    """The labels that can have boxes; the file has some of them under an alias."""
    listed = {name for name, *_ in _rows(folder / "BoundingBoxLabels.csv")}
    return listed | {name for name, others in aliases.items() if not listed.isdisjoint(others)}


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows of a file, without its heading; of the files as published, one is not UTF-8."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    rows = csv.reader(io.StringIO(text))
    next(rows)
    for row in rows:
        if row and row[0].strip():
            yield [cell.strip() for cell in row]


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the folder of the CSV files")
    parser.add_argument("--date", default=DATE, help="when they were fetched (YYYY-MM-DD)")
    parser.add_argument("--output", type=Path, default=RESULT, help="the file to write")
    arguments = parser.parse_args()
    text = compact(arguments.folder, arguments.date)
    arguments.output.write_text(text, "utf-8")
    print(f"{arguments.output}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
