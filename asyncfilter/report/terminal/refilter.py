"""Output of ``refilter``: the stored outcomes before and after."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from asyncfilter.model import Counts, Summary, Verdict
from asyncfilter.report import formatting, messages
from asyncfilter.report.as_json import counts_mapping, summary_mapping
from asyncfilter.report.terminal.people import people_line
from asyncfilter.report.terminal.text import Text


def refilter_mapping(before: Counts, summary: Summary) -> dict[str, object]:
    """The summary, and under ``before`` the counts before the refilter."""
    return {**summary_mapping(summary), "before": counts_mapping(before)}


def draw_refilter(before: Counts, summary: Summary, *, dry_run: bool) -> RenderableType:
    """Outcomes before and after, and the consequences for copies."""
    after = summary.counts
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in ("before", "now", "change"):
        table.add_column(heading, justify="right")
    rows = [(verdict.value, getattr(before, verdict.value), getattr(after, verdict.value)) for verdict in Verdict]
    rows.append(("failed", sum(before.failed.values()), sum(after.failed.values())))
    if not dry_run:
        rows.append(("copied", before.copied, after.copied))
    for name, old, new in rows:
        change = Text(f"{new - old:+,}" if new != old else "", "bold")
        table.add_row(name, formatting.count(old), formatting.count(new), change)
    lines: list[RenderableType] = [table, Text()]
    lines += [Text(line) for line in _notes(summary, dry_run=dry_run)]
    return Group(*lines)


def _notes(summary: Summary, *, dry_run: bool) -> list[str]:
    counts = summary.counts
    lines = [f"{messages.STOP_REASONS[summary.stop_reason]}; no image was sent to the detector"]
    if people := people_line(counts.reviewed, summary.answers):
        lines.append(people)
    if counts.stale:
        lines.append(
            f"{formatting.count(counts.stale)} copies exist that these rules no longer make "
            "(export --stale lists them, apply --stale deletes them)"
        )
    if summary.pending_removals:
        pending = formatting.count(summary.pending_removals)
        lines.append(f"{pending} images to move or delete; only `apply` does that, and asks first")
    if counts.overshoot:
        lines.append(
            f"{formatting.count(counts.overshoot)} images beyond the position of the stop are paid for; "
            "their labels are kept"
        )
    if dry_run:
        lines.append("dry run: neither the checkpoint nor S3 was changed")
    if summary.error:
        lines.append(summary.error)
    if summary.hint:
        lines.append(summary.hint)
    return lines
