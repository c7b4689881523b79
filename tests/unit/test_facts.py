"""Facts keep whole words at every width that has room for them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from asyncfilter.report.terminal.facts import SIDE_BY_SIDE_COLUMNS, Facts

ROWS = [("images", "9 examined of 9 listed"), ("", "9 keep  0 reject"), ("next", "asyncfilter run job.yaml")]


def drawn(width: int) -> list[str]:
    """The lines at a width."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(Facts(ROWS))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [14, 20, 30, SIDE_BY_SIDE_COLUMNS, 80])
def test_no_word_is_cut(width: int) -> None:
    """Every word stands whole in a line that is no wider than the terminal."""
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {word for row in ROWS for text in row for word in text.split()} <= words


def test_labels_are_beside_or_above() -> None:
    """Beside the text where there is room for both."""
    assert drawn(80)[0].split() == ["images", "9", "examined", "of", "9", "listed"]
    assert [line.rstrip() for line in drawn(20)[:2]] == ["images", "  9 examined of 9"]
