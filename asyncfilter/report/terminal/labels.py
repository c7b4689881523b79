"""Labels of reference images, the labels they have in common, and a rule for the job file."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from rich.console import Group, RenderableType
from rich.table import Table

from asyncfilter.model import Detection, Label
from asyncfilter.policy.reference_labels import CommonLabels, Labelled, SharedLabel
from asyncfilter.report.formatting import count, usd, usd_number
from asyncfilter.report.terminal.text import Text

LABELS_SHOWN = 15
"""Labels shown of one image, those with the highest confidence; ``--json`` has all."""


def rule_text(common_labels: CommonLabels, confidence_pct: float) -> str:
    """The rule that keeps images like the references, as YAML; empty when no label is specific enough."""
    if not common_labels.names:
        return ""
    condition = {"any": list(common_labels.names), "confidence": _plain(confidence_pct)}
    text = yaml.safe_dump(condition, default_flow_style=True, sort_keys=False, width=10**6)
    return f"rules:\n  - keep: {text.strip()}\notherwise: reject\n"


def labels_mapping(found: Labelled, common_labels: CommonLabels, confidence_pct: float) -> dict[str, object]:
    """Everything, for scripts."""
    every = len(found.labels)
    return {
        "confidence": _plain(confidence_pct),
        "images": [
            {"uri": uri, "model_version": one.model_version, "labels": [_label_mapping(label) for label in one.labels]}
            for uri, one in found.labels.items()
        ],
        "labels": [_shared_mapping(label) for label in common_labels.labels],
        "common": [label.name for label in common_labels.labels if label.images == every],
        "combined": [label.name for label in common_labels.labels],
        "selected": list(common_labels.names),
        "unlike": list(common_labels.unlike),
        "rule": rule_text(common_labels, confidence_pct),
        "calls": found.calls,
        "spent_usd": usd_number(found.spent_micros),
    }


def _label_mapping(label: Label) -> dict[str, object]:
    boxes = [
        {
            "confidence": one.confidence_pct,
            "left": one.box.left,
            "top": one.box.top,
            "width": one.box.width,
            "height": one.box.height,
        }
        for one in label.instances
    ]
    return {
        "name": label.name,
        "confidence": label.confidence_pct,
        "parents": label.parents,
        "aliases": label.aliases,
        "categories": label.categories,
        "boxes": boxes,
    }


def _shared_mapping(label: SharedLabel) -> dict[str, object]:
    return {
        "name": label.name,
        "images": label.images,
        "least_confidence": label.least_pct,
        "most_confidence": label.most_pct,
        "boxes": label.boxes,
        "why_not": label.why_not,
    }


# -- For people --------------------------------------------------------------------------------------------------------


def draw_labels(found: Labelled, common_labels: CommonLabels, confidence_pct: float) -> RenderableType:
    """The labels of each image, then those that they share, then the rule."""
    parts: list[RenderableType] = []
    for uri, detection in found.labels.items():
        parts += [Text(uri, "bold"), _image(detection, confidence_pct), Text()]
    parts += [
        Text(f"together, at {confidence_pct:g} % and above", "bold"),
        _together(common_labels, len(found.labels)),
        Text(),
    ]
    parts += [Text(line) for line in _rule_lines(found, common_labels, confidence_pct)]
    return Group(*parts)


def _image(detection: Detection, confidence_pct: float) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(min_width=2)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for label in detection.labels[:LABELS_SHOWN]:
        style = "" if label.confidence_pct >= confidence_pct else "dim"
        table.add_row(
            Text(f"  {label.name}", style), Text(f"{label.confidence_pct:.1f} %", style), Text(_about(label), "dim")
        )
    more = len(detection.labels) - LABELS_SHOWN
    if more > 0:
        table.add_row(Text(f"  and {count(more)} more", "dim"))
    if not detection.labels:
        table.add_row(Text("  no labels", "dim"))
    return table


def _about(label: Label) -> str:
    """The parents of the label, and its boxes (left, top, width x height) in percent of the image."""
    parts = [" > ".join(label.parents)] if label.parents else []
    for one in label.instances:
        box = one.box
        corner, extent = f"{100 * box.left:.0f},{100 * box.top:.0f}", f"{100 * box.width:.0f}x{100 * box.height:.0f}"
        parts.append(f"[{corner} {extent}]")
    return "  ".join(parts)


def _together(common_labels: CommonLabels, every: int) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("label")
    table.add_column("images", justify="right")
    table.add_column("confidence", justify="right")
    table.add_column("")
    for label in common_labels.labels:
        style = "green" if label.why_not is None else "dim"
        table.add_row(
            Text("*" if label.why_not is None else " ", style),
            Text(label.name, style),
            Text(f"{label.images} of {every}", style),
            Text(f"{label.least_pct:.1f} to {label.most_pct:.1f} %", style),
            Text(label.why_not or "", "dim"),
        )
    return table


def _rule_lines(found: Labelled, common_labels: CommonLabels, confidence_pct: float) -> Iterator[str]:
    yield from rule_text(common_labels, confidence_pct).splitlines() or ["no label is specific enough for a rule"]
    yield ""
    for uri in common_labels.unlike:
        yield f"{uri} has none of the selected labels: lower --confidence, or add one of its labels to the rule"
    known = len(found.labels) - found.calls
    paid = f"{count(found.calls)} paid {'call' if found.calls == 1 else 'calls'}, {usd(found.spent_micros)}"
    yield paid + (f"; {count(known)} known already" if known else "")


def _plain(percent: float) -> float | int:
    return int(percent) if percent == int(percent) else percent
