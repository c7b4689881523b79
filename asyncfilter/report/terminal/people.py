"""What people said, in one line: for the results of commands that obey it."""

from __future__ import annotations

from asyncfilter.model import AnswersState, Reviewed
from asyncfilter.report.formatting import count


def people_line(reviewed: Reviewed, answers: AnswersState | None) -> str | None:
    """Verdicts of people, how many of them are against the rules, and how many answers wait; None without any."""
    words = {"keep": reviewed.keep, "reject": reviewed.reject, "unsure": reviewed.unsure}
    said = ", ".join(f"{count(number)} {word}" for word, number in words.items() if number)
    parts = [f"{said} by people" if said else ""]
    if reviewed.overruled:
        parts[0] += f" ({count(reviewed.overruled)} against the rules)"
    if answers is not None:
        parts.append(waiting(answers))
    return "; ".join(part for part in parts if part) or None


def waiting(answers: AnswersState) -> str:
    """How many answers wait, and for what; empty where none do."""
    if not answers.pending:
        return ""
    what = "answer waits" if answers.pending == 1 else "answers wait"
    return f"{count(answers.pending)} {what} for run or refilter"
