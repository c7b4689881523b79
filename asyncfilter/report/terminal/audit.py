"""Output of ``audit``: what is asked about, and how many answers are missing for which statement."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType

from asyncfilter.policy.audit_progress import DrawStandings, PartProgress
from asyncfilter.policy.calibrated import Audited
from asyncfilter.records.draws import Draw, PartName
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text


def draw_audit(found: Audited) -> RenderableType:
    """All draws, for people."""
    parts: list[RenderableType] = []
    for draw, text in zip(found.draws, found.texts, strict=True):
        parts += [_one(draw, text, is_outdated=draw.draw.number in found.outdated), Text()]
    parts += [Text(line) for line in _notes(found)]
    return Group(*parts)


def _one(found: DrawStandings, text: str, *, is_outdated: bool) -> RenderableType:
    draw = found.draw
    rows: list[tuple[str, str | Text]] = [
        ("draw", f"{draw.number} of {minute_text(draw.created_at_unix_s)}, seed {draw.seed}"),
        ("announced", announced_text(draw)),
        ("population", f"{count(draw.images)} images that no earlier rule takes"),
    ]
    for part in found.parts.values():
        rows += part_rows(part.name, part.progress, draw)
    if is_outdated:
        rows.append(("outdated", Text(OUTDATED, "yellow")))
    return Group(Text(f"rules[{draw.measured.rule}] keep {text}", "bold"), Facts(rows))


OUTDATED = "the rule, or one before it, has changed since the draw: make another one with audit --new"


def announced_text(draw: Draw) -> str:
    """What was announced, in words."""
    targets = draw.targets
    recall = "" if targets.recall is None else f", recall at least {percent(targets.recall)}"
    return f"precision at least {percent(targets.precision)}{recall}, with {percent(targets.confidence)} confidence"


def part_rows(name: PartName, progress: PartProgress, draw: Draw) -> Iterator[tuple[str, str]]:
    """How far one part is answered."""
    if not progress.images:
        yield name.value, "no image"
        return
    if name is PartName.REST:
        what = "left out by the rules"
    elif draw.measured.has_score:
        what = f"with a score from {draw.measured.floor:g}"
    else:
        what = "taken by the rule as it stands"
    yield name.value, f"{count(progress.images)} images {what}"
    if progress.answered:
        changed = f", {count(progress.changed)} of them changed or gone (unsure)" if progress.changed else ""
        gap = f"; without a gap {count(progress.prefix)}" if progress.prefix < progress.answered else ""
        yield "", f"{count(progress.answered)} answered{changed}{gap}"
    yield "", missing_text(progress)


def missing_text(progress: PartProgress) -> str:
    """How many answers are missing for the next statement."""
    if progress.next_milestone is None:
        return f"complete: all {count(progress.milestones[-1])} are answered"
    return f"{count(progress.missing or 0)} missing for the statement at {count(progress.next_milestone)} answers"


def _joined(words: list[str]) -> str:
    return ", ".join(words)


def _notes(found: Audited) -> Iterator[str]:
    counts = found.counts
    outside = {
        "failed": counts.failed,
        "without a place yet": counts.unplaced,
        "removed": counts.removed,
        "skipped as duplicates": counts.duplicate,
    }
    named = [f"{count(number)} {what}" for what, number in outside.items() if number]
    if named:
        yield f"in no population: {_joined(named)}"
    if counts.later:
        yield f"{count(counts.later)} images were examined since: --new draws from them too"


def percent(share: float) -> str:
    """``95 %``, ``97.5 %``."""
    return f"{100 * share:.6g} %"


def minute_text(unix_s: float) -> str:
    """``2026-11-28 16:05 UTC``."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
