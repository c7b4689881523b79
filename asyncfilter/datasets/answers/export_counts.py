"""What an export of answers wrote."""

from __future__ import annotations

from collections import Counter

import msgspec


class ExportCounts(msgspec.Struct, kw_only=True):
    """What was written.

    Attributes:
        lines: Rows, tasks or lines.
        answers: Answers in them: rows, annotations, or current answers.
        images: Versions of objects with a current answer that were asked for, less those in ``skipped``.
        skipped: By reason.
        boxes_too_small: Boxes that Custom Labels refuses, and that were left out of a manifest.
        labels: The labels of the labelling configuration.
    """

    lines: int = 0
    answers: int = 0
    images: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    boxes_too_small: int = 0
    labels: tuple[str, ...] = ()
