"""Cards: what the page shows about one image. What the machine says is left out of a blind one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from asyncfilter.model import Detection
from asyncfilter.policy.answers.fold import counting_rows, fold
from asyncfilter.records.answers import ImageRows, LabelledBox, Saw
from asyncfilter.review.book import deciding_row
from asyncfilter.review.capability import Capabilities, address
from asyncfilter.review.pictures import PictureFacts
from asyncfilter.review.rows import CardRow
from asyncfilter.review.thresholds import Thresholds

MOST_LABELS = 40
"""Labels on a card; those that a rule compares come first."""
_MOST_BOXES = 200


class Cards:
    """Makes cards.

    Args:
        capabilities: Of the pictures.
        thresholds: Of the job's rules.
    """

    def __init__(self, capabilities: Capabilities, thresholds: Thresholds) -> None:
        self._capabilities, self._thresholds = capabilities, thresholds

    def card(
        self, row: CardRow, said: ImageRows | None, facts: PictureFacts | None, *, is_blind: bool
    ) -> dict[str, Any]:
        """One card, as JSON.

        Args:
            row: The image.
            said: What people said.
            facts: What is known about the picture; None before it was decoded.
            is_blind: Whether the opinion of the machine, and of other people, is hidden.
        """
        mac = self._capabilities.mac(row.id, row.subject)
        card = {
            "id": row.id,
            "key": row.subject.key,
            "width": None if facts is None else facts.width,
            "height": None if facts is None else facts.height,
            "thumb": address("320", row.id, mac),
            "large": address("1280", row.id, mac),
            "full": address("full", row.id, mac),
            "base": 0 if said is None else said.rows[-1].serial,
            "blind": is_blind,
            "broken": facts is not None and facts.broken is not None,
            "failure": row.failure,
        }
        return card | (_NOTHING if is_blind else self._opinions(row, said))

    def saw(self, row: CardRow) -> Saw:
        """What the machine says about an image, for the record."""
        return Saw(
            verdict=None if row.verdict is None else row.verdict.value,
            rule=row.rule,
            score=self._thresholds.score(row.detection),
            model_version=(row.detection.model_version or None) if row.detection is not None else None,
        )

    def _opinions(self, row: CardRow, said: ImageRows | None) -> dict[str, Any]:
        rule_verdict = None if row.verdict is None else row.verdict.value
        return {
            "verdict": final_verdict(rule_verdict, said, is_failed=row.failure is not None),
            "rule_verdict": rule_verdict,
            "rule": row.rule,
            "why": self._thresholds.why(row.detection, row.verdict),
            "score": self._thresholds.score(row.detection),
            "labels": self._labels(row.detection),
            "machine_boxes": _machine_boxes(row.detection),
            "answer": answer_json(said),
        }

    def _labels(self, detection: Detection | None) -> list[dict[str, Any]]:
        if detection is None:
            return []
        of_label = self._thresholds.of_label
        labels = [
            {"name": one.name, "confidence": one.confidence_pct, "threshold": of_label(one)}
            for one in sorted(detection.labels, key=_confidence, reverse=True)
        ]
        compared = [one for one in labels if one["threshold"] is not None]
        others = [one for one in labels if one["threshold"] is None] if compared else labels
        return (compared + others)[:MOST_LABELS]


_confidence = operator.attrgetter("confidence_pct")

_NOTHING = dict.fromkeys(
    ("verdict", "rule_verdict", "rule", "why", "score", "labels", "machine_boxes", "answer"), None
)  # fmt: skip


def final_verdict(rule_verdict: str | None, said: ImageRows | None, *, is_failed: bool) -> str | None:
    """The verdict of people before that of the rules; what they could not tell is review."""
    current = None if said is None or is_failed else fold(said.rows)
    if current is None or current.verdict is None:
        return rule_verdict
    return current.verdict.value if current.verdict.value in {"keep", "reject"} else "review"


def answer_json(said: ImageRows | None) -> dict[str, Any] | None:
    """The current answer about an image, as JSON; None without one."""
    current = None if said is None else fold(said.rows)
    if said is None or current is None:
        return None
    row = deciding_row(said)
    return {
        "serial": current.serial,
        "uid": None if row is None else row.uid,
        "verdict": None if current.verdict is None else current.verdict.value,
        "labels": None if current.labels is None else list(current.labels),
        "boxes": None if current.boxes is None else [box_json(box) for box in current.boxes],
        "reviewer": current.reviewer,
        "at": time_text(current.at_unix_s),
        "note": _note(said),
    }


def box_json(box: LabelledBox) -> dict[str, Any]:
    """A box as JSON."""
    return msgspec.structs.asdict(box)


def time_text(unix_s: float) -> str:
    """``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _note(said: ImageRows) -> str | None:
    """The newest note."""
    return next((row.note for row in reversed(counting_rows(said.rows)) if row.note is not None), None)


def _machine_boxes(detection: Detection | None) -> list[dict[str, Any]]:
    if detection is None:
        return []
    found = [
        {
            "label": label.name,
            "confidence": instance.confidence_pct,
            "left": instance.box.left,
            "top": instance.box.top,
            "width": instance.box.width,
            "height": instance.box.height,
        }
        for label in detection.labels
        for instance in label.instances
    ]
    return found[:_MOST_BOXES]


def ids_of(text: str, most: int) -> Sequence[int] | None:
    """The ids in a list with commas; None when there are none, too many, or something else."""
    parts = text.split(",")
    if len(parts) > most or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        return None
    return [int(part) for part in parts]
