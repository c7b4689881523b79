"""``python -m website [--check]``: the documents that are generated from the program and from the benchmarks' results.

Writes ``docs/commands/``, a page for each command, and the figures of ``docs/comparison.md``. With ``--check`` nothing
is written, and the exit code is 1 when one of them is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from website import commands, comparison

ROOT = Path(__file__).resolve().parents[1]


def documents(root: Path = ROOT) -> dict[Path, str]:
    """The text of every generated document, by its path."""
    return commands.documents(root / "docs") | comparison.documents(root)


def stale(root: Path = ROOT) -> dict[Path, str | None]:
    """The current text of every generated document that differs, and None for pages of commands that do not exist."""
    current = documents(root)
    changed: dict[Path, str | None] = {
        path: text for path, text in current.items() if not path.exists() or path.read_text("utf-8") != text
    }
    return changed | {path: None for path in (root / "docs" / "commands").glob("*.md") if path not in current}


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or with ``--check`` check that they are current; returns the exit code."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m website [--check]\n")
        return 2
    changed = stale()
    for path, text in changed.items():
        if arguments:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale; run python -m website\n")
        elif text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if changed and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
