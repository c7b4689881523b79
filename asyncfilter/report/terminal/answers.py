"""Output of ``answers list``: figures, then a line for each image or each row of a history."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from asyncfilter.datasets.answers.words import moment_text
from asyncfilter.model import uri_of
from asyncfilter.policy.answers.listing import FoundAnswers, HistoryRow, ListedImage
from asyncfilter.records.answers import CurrentVerdict, LabelledBox
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

IMAGES_SHOWN = 50
"""Images that are shown; ``--json`` has more."""

_STYLES = {
    CurrentVerdict.KEEP: "green",
    CurrentVerdict.REJECT: "red",
    CurrentVerdict.UNSURE: "yellow",
    CurrentVerdict.UNRESOLVED: "yellow",
}


def draw_answers(found: FoundAnswers) -> RenderableType:
    """All of it, for people."""
    parts: list[RenderableType] = [Facts(_facts(found))]
    if found.answers.images:
        parts += [Text(), *_images(found)]
    if found.answers.history:
        parts += [Text(), Text("history", "bold"), *map(_row, found.answers.history)]
    return Group(*parts)


def _facts(found: FoundAnswers) -> Iterator[tuple[str, str | Text]]:
    if found.id is None:
        yield "file", f"{found.file} (not there yet: nobody has said anything)"
        return
    yield "file", str(found.file)
    answers = found.answers
    undone = f", {count(answers.undone)} taken back" if answers.undone else ""
    yield "rows", f"{count(answers.rows)}{undone}"
    yield "images", ", ".join(f"{count(answers.current[verdict])} {verdict}" for verdict in CurrentVerdict)
    for number, person in enumerate(answers.people()):
        text = f"{person.name}: {count(person.answers)}, last {moment_text(person.last_at_unix_s)}"
        yield "reviewers" if number == 0 else "", text
    if found.pending:
        yield "waiting", f"{count(found.pending)} rows for the next run, refilter or apply"


def _images(found: FoundAnswers) -> Iterator[RenderableType]:
    shown = found.shown[:IMAGES_SHOWN]
    yield from (_image(one, is_current=is_current) for one, is_current in zip(shown, found.are_current, strict=False))
    rest = len(found.answers.images) - len(shown)
    if rest:
        yield Text(f"and {count(rest)} more", "dim")


def _image(one: ListedImage, *, is_current: bool | None) -> Text:
    current = one.current
    verdict = "-" if current.verdict is None else current.verdict.value
    style = "" if current.verdict is None else _STYLES[current.verdict]
    said = _said(current.labels, current.boxes)
    changed = " (the object has changed)" if is_current is False else ""
    where = uri_of(one.subject.bucket, one.subject.key)
    return Text.assemble((f"{verdict:10}", style), f" {where}{changed}{said}", (f"  {current.reviewer}", "dim"))


def _row(one: HistoryRow) -> Text:
    row = one.row
    what = f"takes back {row.undoes}" if row.undoes is not None else row.verdict or "-"
    note = f"  {row.note}" if row.note else ""
    gone = "  (taken back)" if one.is_undone else ""
    text = (
        f"{row.serial:6} {moment_text(row.at_unix_s)} {row.reviewer}: {what}{_said(row.labels, row.boxes)}{note}{gone}"
    )
    return Text(text, "dim" if one.is_undone else "")


def _said(labels: tuple[str, ...] | None, boxes: tuple[LabelledBox, ...] | None) -> str:
    """Labels and boxes in a few words; empty where nothing is said about them."""
    parts = [] if labels is None else [", ".join(labels) or "no label"]
    parts += [] if boxes is None else [f"{len(boxes)} boxes"]
    return f"  [{'; '.join(parts)}]" if parts else ""
