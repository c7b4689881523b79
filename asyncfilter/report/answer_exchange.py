"""What ``answers import`` and ``answers export`` did, for scripts and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asyncfilter.datasets.answers.export_counts import ExportCounts
from asyncfilter.datasets.answers.importing import CONFLICTING, STALE, UNKNOWN, AnswerImport
from asyncfilter.report.formatting import count, counted

_BOXES = ("rotated", "clamped", "too_small", "no_size", "image_rotated")
_SHOWN = 20
"""Problems that are shown to people."""


def import_mapping(found: AnswerImport, *, file: str, format_: str, dry_run: bool, serial: int) -> dict[str, Any]:
    """The result of an import."""
    problems = found.problems
    return {
        "file": file,
        "format": format_,
        "dry_run": dry_run,
        "read": found.read,
        "matched": found.matched,
        "imported": found.imported,
        "repeated": found.repeated,
        "changed": found.changed,
        **{code: found.lost[code] for code in (STALE, UNKNOWN, CONFLICTING)},
        "skipped": _sorted(found.skipped),
        "rejected": _sorted(found.rejected),
        "boxes": {"taken": found.boxes_taken, **{code: found.notes.boxes[code] for code in _BOXES}},
        "ignored_results": _sorted(found.notes.ignored_results),
        "reviewers": _sorted(found.reviewers),
        "problems": [
            {"at": problem.at, "code": problem.code, "key": problem.key, "message": problem.message}
            for problem in problems
        ],
        "problems_total": found.problems_total,
        "truncated": found.problems_total > len(problems),
        "serial": serial,
    }


def problem_lines(found: AnswerImport, file: str) -> Iterator[str]:
    """The first problems, one a line."""
    for problem in found.problems[:_SHOWN]:
        yield f"{file}: {problem.at}: {problem.code}: {problem.message}"
    if found.problems_total > _SHOWN:
        yield f"{file}: {count(found.problems_total - _SHOWN)} more; --json shows up to 1,000"


def import_lines(found: AnswerImport, *, dry_run: bool) -> Iterator[str]:
    """The counts, for people."""
    will = "would be " if dry_run else ""
    yield f"{count(found.read)} read, {count(found.imported)} {will}imported, {count(found.repeated)} there already"
    if found.changed:
        yield f"  {count(found.changed)} of these give another verdict than the person gave before"
    for code in (STALE, UNKNOWN, CONFLICTING):
        if found.lost[code]:
            yield f"  {code}: {count(found.lost[code])}"
    for what, counts in (("skipped", found.skipped), ("rejected", found.rejected), ("boxes", found.notes.boxes)):
        yield from (f"  {what} {code}: {count(number)}" for code, number in sorted(counts.items()) if number)
    for kind, number in sorted(found.notes.ignored_results.items()):
        yield f"  results of type {kind} are not read: {count(number)}"


def export_mapping(counts: ExportCounts, *, format_: str, output: str) -> dict[str, Any]:
    """The result of an export."""
    return {
        "lines": counts.lines,
        "answers": counts.answers,
        "images": counts.images,
        "format": format_,
        "output": output,
        "skipped": _sorted(counts.skipped),
        "boxes_too_small": counts.boxes_too_small,
    }


def export_lines(counts: ExportCounts, *, output: str) -> Iterator[str]:
    """The counts, for people."""
    where = "" if output == "-" else f" in {output}"
    yield f"{counted(counts.answers, 'answer')} about {counted(counts.images, 'image')}{where}"
    for reason, number in sorted(counts.skipped.items()):
        yield f"  skipped {reason}: {count(number)}"
    if counts.boxes_too_small:
        yield f"  boxes that Custom Labels refuses as too small: {count(counts.boxes_too_small)}"


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
