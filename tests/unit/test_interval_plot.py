"""Shares with their intervals as lines of characters."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.report.terminal.interval_plot import IntervalPlot, IntervalRow
from asyncfilter.report.terminal.text import PlainConsole

HEADS = ("from", "images", "good")
ROWS = [
    IntervalRow("60", "3,270", "288/400", 0.72, 0.66, 0.78),
    IntervalRow("85", "1,527", "182/190", 0.958, 0.91, 0.99, note="now, certified"),
    IntervalRow("99", "12", "0/0", None, 0.0, 1.0),
]


def drawn(rows: list[IntervalRow], *, columns: int, target: float = 0.95, encoding: str = "utf-8") -> list[str]:
    """The lines of a plot on a terminal of that width."""
    binary = io.BytesIO()
    out = io.TextIOWrapper(binary, encoding=encoding)
    PlainConsole(file=out, width=columns, highlight=False).print(IntervalPlot(rows, target=target, heads=HEADS))
    out.flush()
    return binary.getvalue().decode(encoding).splitlines()


def test_every_row_has_its_interval_on_one_scale() -> None:
    """From the lowest bound, rounded down to ten percent, to 100 %; the target runs through all rows."""
    head, first, second, third = drawn(ROWS, columns=100)
    assert "60 %" in head
    assert "100 %" in head
    assert first.index("├") < first.index("●") < first.index("┤") < first.index("┊")
    assert second.rstrip().endswith("now, certified")
    assert second.index("├") < second.index("●") < second.index("┤")
    assert first.index("┊") == third.index("┊")
    assert "├" not in third


@pytest.mark.parametrize("columns", [24, 40, 63, 64, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """Figures stand above their plot where there is no room beside it."""
    lines = drawn(ROWS, columns=columns)
    assert max(map(len, lines)) <= columns
    assert sum("●" in line for line in lines) == 2


def test_ascii_where_the_terminal_has_no_more() -> None:
    """The same picture with other characters."""
    text = "\n".join(drawn(ROWS, columns=80, encoding="ascii"))
    assert text.isascii()
    assert "|-" in text


SHARE = st.floats(0, 1)


@given(st.tuples(SHARE, SHARE, SHARE).map(sorted), SHARE, st.integers(20, 120))
def test_any_share_is_within_its_interval(bounds: list[float], target: float, columns: int) -> None:
    """No share, interval or target breaks a plot."""
    low, share, high = bounds
    lines = drawn([IntervalRow("1", "2", "1/2", share, low, high)], columns=columns, target=target)
    assert sum(line.count("●") for line in lines) == 1
    assert max(map(len, lines)) <= columns
