"""What ``doctor`` found, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from asyncfilter.policy.findings import Finding, Health, exit_code_of
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

_COLOURS = {Health.NOTE: "cyan", Health.WARNING: "yellow", Health.ERROR: "red", Health.UNKNOWN: "magenta"}
_LABEL_COLUMNS = 11


def doctor_mapping(findings: Sequence[Finding]) -> dict[str, object]:
    """All findings; ``ok`` is true without an error among them."""
    code = exit_code_of(findings)
    return {"ok": not code, "exit_code": int(code), "checks": [_mapping(finding) for finding in findings]}


def _mapping(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "health": finding.health.value,
        "text": finding.text,
        "hint": finding.hint,
        "facts": finding.facts,
    }


def draw_doctor(findings: Sequence[Finding]) -> RenderableType:
    """A line for each finding, with the remedy below it, and a verdict."""
    return Facts(_rows(findings), label_columns=_LABEL_COLUMNS)


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, Text]]:
    for finding, following in zip(findings, (*findings[1:], None), strict=True):
        if finding.health is Health.OK:
            yield finding.name, Text(finding.text)
        else:
            word = (f"{finding.health}: ", _COLOURS[finding.health])
            yield finding.name, Text.assemble(word, finding.text)
        if finding.hint and (following is None or following.hint != finding.hint):
            yield "", Text(finding.hint, "bold")
    yield "", _verdict(findings)


def _verdict(findings: Sequence[Finding]) -> Text:
    errors = [finding.name for finding in findings if finding.health is Health.ERROR]
    if errors:
        return Text(f"trouble with {', '.join(errors)}", "red")
    warnings = [finding.name for finding in findings if finding.health is Health.WARNING]
    watch = f", with warnings about {', '.join(warnings)}" if warnings else ""
    return Text(f"all well{watch}", "green")
