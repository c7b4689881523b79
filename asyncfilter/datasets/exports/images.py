"""Examined images as JSON Lines and as CSV, one line per image, written one by one.

JSON Lines holds all fields. CSV has fewer: one cell for all labels, as ``Name:confidence;Name:confidence``.
Keys are unchanged in both, including newlines and control characters, quoted as each format requires; ``csv_lines``
explains what a spreadsheet makes of them. Text files should be opened with ``encoding="utf-8"`` and ``newline=""``
(Excel needs ``utf-8-sig``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from asyncfilter.datasets.exports.csv_lines import CsvLines, TextSink
from asyncfilter.model import Label, uri_of
from asyncfilter.records.answers import LabelledBox
from asyncfilter.records.images import DoneEffect, StoredImage


class ExportedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One line: the fields of both formats, in the order of their columns.

    Attributes:
        seq: Place in the order of examination, from 1; None for a cached image.
        rule: Number of the rule that decided, from 0; None for ``otherwise`` and for images without a verdict.
        label: A person's first label, else the first name of the rule's list that matched.
        error: Code of the failure of examination or action, as under ``failed`` in the summary.
        message: The message of that failure.
        effect: The action confirmed last; ``target`` is its URI, None where it has none.
        effects: All actions confirmed, oldest first; in JSON only.
        model_version: Version of the model that returned the labels; None without labels.
        labels: In the order of the response; None without labels.
        extra: The other fields of the response; in JSON only.
        verdict: The one that counts, which may be a person's.
        rule_verdict: That of the rules; None, like the following, where nobody said anything.
        reviewed_by: The person whose word counts, and when they gave it (``reviewed_at``).
        reviewed_labels: The labels that people gave; ``reviewed_boxes`` likewise, as fractions of the upright picture.
    """

    bucket: str
    key: str
    uri: str
    etag: str
    size_bytes: int
    seq: int | None
    verdict: str | None
    rule: int | None
    label: str | None
    error: str | None
    message: str | None
    effect: str | None
    target: str | None
    model_version: str | None
    labels: Sequence[Label] | None
    effects: Sequence[DoneEffect] = ()
    extra: msgspec.Raw | None = None
    rule_verdict: str | None = None
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    reviewed_labels: Sequence[str] | None = None
    reviewed_boxes: Sequence[LabelledBox] | None = None


COLUMNS = tuple(name for name in ExportedImage.__struct_fields__ if name not in {"effects", "extra"})
"""Columns of the CSV, which a line of JSON has in this order, too."""


_LABELS = COLUMNS.index("labels")
_REVIEWED_LABELS = COLUMNS.index("reviewed_labels")
_REVIEWED_BOXES = COLUMNS.index("reviewed_boxes")


def exported(image: StoredImage, bucket: str) -> ExportedImage:
    """One line of an export."""
    decision, failure, detection, said = image.decision, image.failure, image.detection, image.answer
    last = image.effects[-1] if image.effects else None
    return ExportedImage(
        bucket=bucket,
        key=image.key,
        uri=uri_of(bucket, image.key),
        etag=image.etag,
        size_bytes=image.size_bytes,
        seq=image.seq,
        verdict=decision.verdict.value if decision else None,
        rule=decision.rule if decision else None,
        label=(said.label if said else None) or (decision.label if decision else None),
        error=failure.code if failure else None,
        message=failure.message if failure else None,
        effect=last.kind.value if last else None,
        target=(last.target or None) if last else None,
        model_version=detection.model_version if detection else None,
        labels=detection.labels if detection else None,
        effects=image.effects,
        extra=msgspec.Raw(msgspec.json.format(detection.extra, indent=-1)) if detection and detection.extra else None,
        rule_verdict=decision.by_rules.value if decision and said else None,
        reviewed_by=said.reviewer if said else None,
        reviewed_at=moment(said.at_unix_s) if said else None,
        reviewed_labels=said.labels if said else None,
        reviewed_boxes=said.boxes if said else None,
    )


def moment(unix_s: float) -> str:
    """A time as ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(values: Sequence[object] | None) -> str | None:
    """A list as JSON text, for one cell; None where there is none."""
    return None if values is None else msgspec.json.encode(values).decode()


def write_jsonl(images: Iterable[StoredImage], out: TextSink, *, bucket: str) -> int:
    """Write one JSON object per line; returns the number of lines."""
    encode = msgspec.json.Encoder().encode
    lines = 0
    for image in images:
        out.write(encode(exported(image, bucket)).decode() + "\n")
        lines += 1
    return lines


def write_csv(images: Iterable[StoredImage], out: TextSink, *, bucket: str, is_spreadsheet: bool = False) -> int:
    """Write a line of column names and one line per image; returns the number of lines without the names."""
    csv_lines = CsvLines(out, COLUMNS, is_spreadsheet=is_spreadsheet)
    lines = 0
    for image in images:
        line = exported(image, bucket)
        cells = [getattr(line, column) for column in COLUMNS]
        cells[_LABELS] = _cell(line.labels or ())
        if image.answer is not None:
            cells[_REVIEWED_LABELS] = as_json(line.reviewed_labels)
            cells[_REVIEWED_BOXES] = as_json(line.reviewed_boxes)
        csv_lines.write(cells)
        lines += 1
    return lines


def _cell(labels: Sequence[Label]) -> str:
    return ";".join(f"{label.name}:{label.confidence_pct:.2f}" for label in labels)
