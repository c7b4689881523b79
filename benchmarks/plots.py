"""Plots as plain SVG: processor time by peer, rate over time against the quota, memory over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.peers import PEERS

WIDTH = 760
_COLOURS = {
    "ours": "#1b7837",
    "fallback": "#7fbf7b",
    "obvious": "#d95f02",
    "threads": "#7570b3",
    "one_by_one": "#666666",
}
_STYLE = "<style>text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600}.a{fill:#777}</style>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points in order; dashed if it is a bound."""

    points: Sequence[tuple[float, float]]
    colour: str
    title: str
    is_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One small plot, from (0, 0) to the maxima of its lines."""

    title: str
    lines: Sequence[Line]


def all_plots(measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """File names and SVG texts of the plots of all measured workloads."""
    if "whole" in measured:
        yield "cpu.svg", _cpu(measured["whole"])
    if "quota" in measured:
        yield "rates.svg", _rates(measured["quota"])
    if "memory" in measured:
        yield "memory.svg", _memory(measured["memory"])


def _cpu(measured: Mapping[str, Any]) -> str:
    rows = [(PEERS[name].title, peer["cpu_ms"], _COLOURS[name]) for name, peer in measured["peers"].items()]
    return bars("Processor time of an image, whole run without latency, ms", rows)


def _rates(measured: Mapping[str, Any]) -> str:
    """A row of panels for each quota in mode ``window``, by the given rate: right, twice the quota, far above it."""
    cases = [case for case in measured["cases"] if case["mode"] == "window"]
    quotas = sorted({case["quota_tps"] for case in cases})
    panels = []
    for quota_tps in quotas:
        for told in ("right", "half", "unknown"):
            shown = [case for case in cases if (case["quota_tps"], case["told"]) == (quota_tps, told)]
            lines = [
                Line(
                    points=list(enumerate(case["accepted_per_s"])),
                    colour=_COLOURS[case["peer"]],
                    title=PEERS[case["peer"]].title,
                )
                for case in shown
            ]
            if lines:
                end_s = max(len(line.points) for line in lines) - 1
                lines.append(
                    Line(points=[(0, quota_tps), (end_s, quota_tps)], colour="#000", title="quota", is_bound=True)
                )
            panels.append(Panel(title=f"{quota_tps:,} a second, told {told}", lines=lines))
    return grid("Accepted calls a second over the seconds of a run, against the quota", panels, columns=3)


def _memory(measured: Mapping[str, Any]) -> str:
    panels = [
        Panel(
            title=f"{int(objects):,} objects",
            lines=[Line(points=run["memory"], colour=_COLOURS["ours"], title="resident memory, MB over seconds")],
        )
        for objects, run in measured["by_objects"].items()
    ]
    top = max(mb for panel in panels for _, mb in panel.lines[0].points)
    return grid("Resident memory, 1,000 calls in flight", panels, columns=3, top=top)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: name, value, colour."""
    left, step, longest = 200, 30, max(value for _, value, _ in rows)
    parts: list[str] = []
    for place, (name, value, colour) in enumerate(rows):
        top = 40 + place * step
        length = max(1.0, value / longest * (WIDTH - left - 80))
        parts.append(f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{top + 15}">{value:.3f}</text>')
    return _svg(title, 50 + len(rows) * step, parts)


def grid(title: str, panels: Sequence[Panel], *, columns: int, top: float | None = None) -> str:
    """Panels in rows, a legend below; ``top`` is the maximum of all y axes, None for one of each panel's own."""
    wide, high = WIDTH / columns, 130
    parts: list[str] = []
    for place, panel in enumerate(panels):
        x, y = place % columns * wide, 30 + place // columns * high
        parts += _panel(panel, x + 44, y + 24, wide - 60, high - 46, top)
    rows = -(-len(panels) // columns)
    legend = {line.title: line for panel in panels for line in panel.lines}
    for place, (name, line) in enumerate(legend.items()):
        x, y = 44 + place % columns * wide, 44 + rows * high + place // columns * 18
        dash = ' stroke-dasharray="4 3"' if line.is_bound else ""
        parts.append(f'<path d="M{x:.1f} {y - 4}h20" stroke="{line.colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{x + 26:.1f}" y="{y}">{escape(name)}</text>')
    return _svg(title, 60 + rows * high + -(-len(legend) // columns) * 18, parts)


def _panel(panel: Panel, x: float, y: float, wide: float, high: float, top: float | None) -> Iterator[str]:
    yield f'<text x="{x:.1f}" y="{y - 8:.1f}">{escape(panel.title)}</text>'
    if not panel.lines:
        yield f'<text class="a" x="{x:.1f}" y="{y + high / 2:.1f}">not measured</text>'
        return
    points = [point for line in panel.lines for point in line.points]
    right, highest = max(at for at, _ in points) or 1, (top or max(value for _, value in points) or 1) * 1.05
    yield f'<path d="M{x:.1f} {y:.1f}v{high:.1f}h{wide:.1f}" fill="none" stroke="#999"/>'
    yield f'<text class="a" x="{x - 4:.1f}" y="{y + 8:.1f}" text-anchor="end">{highest / 1.05:,.0f}</text>'
    yield f'<text class="a" x="{x + wide:.1f}" y="{y + high + 14:.1f}" text-anchor="end">{right:.0f} s</text>'
    for line in panel.lines:
        path = " ".join(
            f"{x + at / right * wide:.1f},{y + high - value / highest * high:.1f}" for at, value in line.points
        )
        dash = ' stroke-dasharray="4 3"' if line.is_bound else ""
        yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"{dash}/>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        _STYLE,
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    head.append(f'<text class="t" x="12" y="20">{escape(title)}</text>')
    return "\n".join([*head, *parts, "</svg>\n"])
