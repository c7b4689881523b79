"""What an answers file holds, for scripts."""

from __future__ import annotations

from asyncfilter.datasets.answers.rows import row_mapping
from asyncfilter.datasets.answers.words import moment_text
from asyncfilter.policy.answers.listing import FoundAnswers, ListedImage
from asyncfilter.records.answers import CurrentVerdict


def answers_mapping(found: FoundAnswers) -> dict[str, object]:
    """The result of ``answers list``; ``history`` only where a key is selected."""
    answers = found.answers
    mapping: dict[str, object] = {
        "file": str(found.file),
        "id": found.id,
        "format": found.format,
        "serial": found.serial,
        "rows": answers.rows,
        "undone": answers.undone,
        "subjects": found.subjects,
        "current": {verdict.value: answers.current[verdict] for verdict in _ORDER},
        "reviewers": [
            {"name": one.name, "answers": one.answers, "last_at": moment_text(one.last_at_unix_s)}
            for one in answers.people()
        ],
        "pending": found.pending,
        "images": [
            {**image_mapping(one), "is_current": is_current}
            for one, is_current in zip(found.shown, found.are_current, strict=True)
        ],
        "images_total": len(answers.images),
        "truncated": len(found.shown) < len(answers.images),
    }
    if answers.selection.key is not None:
        mapping["history"] = [
            {**row_mapping(one.row), "serial": one.row.serial, "undone": one.is_undone} for one in answers.history
        ]
    return mapping


_ORDER = (CurrentVerdict.KEEP, CurrentVerdict.REJECT, CurrentVerdict.UNSURE, CurrentVerdict.UNRESOLVED)


def image_mapping(one: ListedImage) -> dict[str, object]:
    """A version of an object and its current answer."""
    subject, current = one.subject, one.current
    return {
        "bucket": subject.bucket,
        "key": subject.key,
        "etag": subject.etag,
        "size_bytes": subject.size_bytes,
        "verdict": current.verdict,
        "labels": current.labels,
        "boxes": current.boxes,
        "reviewed_by": current.reviewer,
        "reviewed_at": moment_text(current.at_unix_s),
    }
