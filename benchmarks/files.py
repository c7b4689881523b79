"""The results on disk: one JSON file, and the tables and plots made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.bench import ROOT
from benchmarks.plots import all_plots
from benchmarks.tables import figures, placed, report, summary

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"


def read(folder: Path) -> dict[str, Any]:
    """The document in a folder; an empty one if there is none."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(document: dict[str, Any], folder: Path) -> None:
    """Write the JSON, tables and plots; for the committed results also the summary in ``docs/performance.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / "results.json", compact_json(document))
    draw(document, folder)


def draw(document: dict[str, Any], folder: Path) -> None:
    """Write all files that are made from the JSON."""
    _put(folder / "results.md", report(document))
    for name, text in all_plots(figures(document)):
        _put(folder / name, text)
    if folder == RESULTS:
        _put(PAGE, placed(PAGE.read_text(encoding="utf-8"), summary(document)))


def compact_json(document: dict[str, Any]) -> str:
    """Indented JSON, with each list of numbers on one line."""
    lists: dict[str, str] = {}

    def folded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: folded(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple) and not any(isinstance(inner, dict) for inner in value):
            mark = f"<list {len(lists)}>"
            lists[f'"{mark}"'] = json.dumps(value, separators=(",", ":"))
            return mark
        return [folded(inner) for inner in value] if isinstance(value, list | tuple) else value

    text = json.dumps(folded(document), indent=1)
    for mark, written in lists.items():
        text = text.replace(mark, written)
    return text + "\n"


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
