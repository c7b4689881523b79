"""Charts as SVG, in the colours of the page."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.custom_labels.evaluation.curves import CurvePoint
from asyncfilter.report.html.elements import attribute

_WIDTH, _HEIGHT = 220, 170
_LEFT, _TOP, _RIGHT, _BOTTOM = 38, 8, 8, 26
_MOST_POINTS = 120
_TICKS = (0.0, 0.5, 1.0)


def precision_recall_chart(label: str, points: Sequence[CurvePoint], threshold: float | None) -> str:
    """Precision over recall, with a dot at the threshold.

    Args:
        label: Whose curve it is.
        points: Of the curve, thresholds rising; at least one.
        threshold: Where the dot is; None for no dot.
    """
    at = next((point for point in points if threshold is not None and point.threshold >= threshold), None)
    where = "" if at is None else f"; at the threshold precision {at.precision:.2f}, recall {at.recall:.2f}"
    path = " ".join(f"{_x(point.recall):.1f},{_y(point.precision):.1f}" for point in _thinned(points))
    dot = "" if at is None else f'<circle class="dot" cx="{_x(at.recall):.1f}" cy="{_y(at.precision):.1f}" r="4.5"/>'
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{attribute(f"Precision over recall of {label}{where}")}">{_axes()}'
        f'<polyline class="curve" points="{path}"/>{dot}</svg>'
    )


def _axes() -> str:
    lines = []
    for tick in _TICKS:
        x, y = _x(tick), _y(tick)
        lines.append(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}M{x} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        lines.append(f'<text x="{_LEFT - 5}" y="{y + 3}" text-anchor="end">{tick:g}</text>')
        lines.append(f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 12}" text-anchor="middle">{tick:g}</text>')
    lines.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 3}" text-anchor="middle">recall</text>')
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    lines.append(f'<text transform="translate(9 {middle})rotate(-90)" text-anchor="middle">precision</text>')
    return "".join(lines)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _thinned(points: Sequence[CurvePoint]) -> Sequence[CurvePoint]:
    """At most ``_MOST_POINTS``, the first and the last among them."""
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]
