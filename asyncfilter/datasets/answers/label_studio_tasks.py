"""Tasks of Label Studio with predictions and annotations, and the labelling configuration that fits them.

What one person says about an image is one annotation, also where it was said in several rows. The annotation's own
member ``asyncfilter`` says which row it was made from; further members of it hold what results cannot: that a person
said "none of them", a note, and that the person decided between others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import msgspec

from asyncfilter.datasets.answers.label_studio_results import BOXES, CHOICES, LABELS, RECTANGLES, VERDICT
from asyncfilter.datasets.answers.words import moment_text
from asyncfilter.datasets.manifests.line_form import encode_json
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.datasets.manifests.physical_lines import ByteSink
from asyncfilter.model import uri_of
from asyncfilter.policy.answers.checks import checked_box
from asyncfilter.policy.answers.fold import counting_rows
from asyncfilter.records.answers import Answer, AskedAs, LabelledBox, PersonVerdict, Subject

_PERCENT_DIGITS = 4
"""Decimals of a percent, for six of a fraction."""


class TaskPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine says about an image.

    Attributes:
        score_pct: Of the image for the rule that decided; None where it has none.
        verdict: Of the rules; None for ``review``, which is no choice of a person.
        labels: The labels to choose from that were found.
        boxes: Their boxes, each with its confidence in percent.
    """

    model_version: str
    score_pct: float | None
    verdict: PersonVerdict | None
    labels: tuple[str, ...]
    boxes: tuple[tuple[LabelledBox, float], ...]


class TaskImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that becomes a task.

    Attributes:
        subject: The version of the object.
        seq: Its position in the order of examination; None where it has none.
        rows: What people said about it, by serial.
        prediction: None for a task that hides the machine's opinion.
        size: Of the upright picture; None where it is not known.
    """

    subject: Subject
    seq: int | None = None
    rows: tuple[Answer, ...] = ()
    prediction: TaskPrediction | None = None
    size: ImageSize | None = None


class PersonWord(msgspec.Struct, frozen=True, kw_only=True):
    """What one person says about an image, from all their rows that count.

    Attributes:
        origin: The newest row with a verdict, adjudications first; without any, the newest row.
        newest: The serial of the newest row that is a part of it.
    """

    origin: Answer
    newest: int
    labels: tuple[str, ...] | None
    boxes: tuple[LabelledBox, ...] | None
    note: str | None


def words_of(rows: Sequence[Answer]) -> list[PersonWord]:
    """The words of all people about an image, in an order that folds to the same answer."""
    by_person: dict[str, list[Answer]] = {}
    for row in counting_rows(rows):
        by_person.setdefault(row.reviewer, []).append(row)
    return sorted(map(_word, by_person.values()), key=lambda word: word.newest)


def _word(rows: Sequence[Answer]) -> PersonWord:
    verdict = _newest([row for row in rows if row.verdict is not None])
    labels, boxes = (_newest([row for row in rows if getattr(row, part) is not None]) for part in (LABELS, BOXES))
    note = next((row.note for row in reversed(rows) if row.note is not None), None)
    parts = [row for row in (verdict, labels, boxes) if row is not None] or [rows[-1]]
    return PersonWord(
        origin=verdict or max(parts, key=lambda row: row.serial),
        newest=max(row.serial for row in parts),
        labels=None if labels is None else labels.labels,
        boxes=None if boxes is None else boxes.boxes,
        note=note,
    )


def _newest(rows: Sequence[Answer]) -> Answer | None:
    adjudications = [row for row in rows if row.asked_as is AskedAs.ADJUDICATE]
    newest = (adjudications or rows)[-1:]
    return newest[0] if newest else None


class TaskWriter:
    """Writes a JSON array of tasks, one a line; ``finish`` closes it.

    Args:
        out: Where it goes.

    Attributes:
        tasks: How many were written.
        annotations: How many these have.
        labels: Every label in them, in order of first appearance.
    """

    def __init__(self, out: ByteSink) -> None:
        self._out = out
        self.tasks = self.annotations = 0
        self.labels: dict[str, None] = {}
        out.write(b"[")

    def write(self, image: TaskImage, *, address: str | None = None) -> None:
        """Write one task.

        Args:
            image: The image.
            address: Of the image; None for its own.
        """
        subject, words = image.subject, words_of(image.rows)
        task: dict[str, Any] = {
            "data": {
                "image": uri_of(subject.bucket, subject.key) if address is None else address,
                "asyncfilter": {
                    "bucket": subject.bucket,
                    "key": subject.key,
                    "etag": subject.etag,
                    "size_bytes": subject.size_bytes,
                    "seq": image.seq,
                },
            }
        }
        if image.prediction is not None:
            task["predictions"] = [self._prediction(image.prediction, image.size)]
        if words:
            task["annotations"] = [self._annotation(word, image.size) for word in words]
        self._out.write((b",\n" if self.tasks else b"\n") + encode_json(task))
        self.tasks += 1
        self.annotations += len(words)

    def finish(self) -> None:
        """Close the array."""
        self._out.write(b"\n]\n")

    def _prediction(self, found: TaskPrediction, size: ImageSize | None) -> dict[str, Any]:
        results = [*self._choices(found.verdict, found.labels)]
        for box, confidence_pct in found.boxes:
            inside = checked_box(box.label, left=box.left, top=box.top, width=box.width, height=box.height).box
            if inside is not None:  # a detector's box may reach beyond the picture
                result = self._box(len(results), inside, size)
                results.append({**result, "score": round(confidence_pct / 100, 6)})
        score = None if found.score_pct is None else round(found.score_pct / 100, 6)
        return {"model_version": found.model_version, "score": score, "result": results}

    def _annotation(self, word: PersonWord, size: ImageSize | None) -> dict[str, Any]:
        results = [*self._choices(word.origin.verdict, word.labels or ())]
        for box in word.boxes or ():
            results.append(self._box(len(results), box, size))
        return {
            "result": results,
            "was_cancelled": False,
            "created_at": moment_text(word.origin.at_unix_s),
            "asyncfilter": {"uid": word.origin.uid, "reviewer": word.origin.reviewer, **_beside(word)},
        }

    def _choices(self, verdict: PersonVerdict | None, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
        if verdict is not None:
            yield _result(0, VERDICT, CHOICES, {"choices": [verdict.value]})
        if labels:
            self.labels |= dict.fromkeys(labels)
            yield _result(1, LABELS, CHOICES, {"choices": list(labels)})

    def _box(self, number: int, box: LabelledBox, size: ImageSize | None) -> dict[str, Any]:
        self.labels[box.label] = None
        sides = {"x": box.left, "y": box.top, "width": box.width, "height": box.height}
        value: dict[str, Any] = {name: round(side * 100, _PERCENT_DIGITS) for name, side in sides.items()}
        result = _result(number + 2, BOXES, RECTANGLES, value | {"rotation": 0, "rectanglelabels": [box.label]})
        original = {} if size is None else {"original_width": size.width, "original_height": size.height}
        return {**result, **original, "image_rotation": 0, "value": result["value"]}


def _result(number: int, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"r{number}", "from_name": control, "to_name": "image", "type": kind, "value": value}


def _beside(word: PersonWord) -> dict[str, Any]:
    """What results cannot hold."""
    empty = [name for name, found in ((LABELS, word.labels), (BOXES, word.boxes)) if found == ()]
    found: dict[str, Any] = {"empty": empty} if empty else {}
    if word.note is not None:
        found["note"] = word.note
    if word.origin.asked_as is AskedAs.ADJUDICATE:
        found["asked_as"] = AskedAs.ADJUDICATE
    return found


# -- The labelling configuration ---------------------------------------------------------------------------------------


def labelling_config(labels: Sequence[str]) -> str:
    """The labelling configuration for tasks with these labels.

    Characters that XML does not have become U+FFFD.
    """
    verdicts = "\n".join(f'    <Choice value="{verdict}"/>' for verdict in PersonVerdict)
    choices = "\n".join(f"    <Choice value={_attribute(label)}/>" for label in labels)
    boxes = "\n".join(f"    <Label value={_attribute(label)}/>" for label in labels)
    return f"""<View>
  <Image name="image" value="$image"/>
  <Choices name="{VERDICT}" toName="image" choice="single" showInLine="true">
{verdicts}
  </Choices>
  <Choices name="{LABELS}" toName="image" choice="multiple">
{choices}
  </Choices>
  <RectangleLabels name="{BOXES}" toName="image">
{boxes}
  </RectangleLabels>
</View>
"""


def _attribute(text: str) -> str:
    known = "".join(char if _is_xml(char) else "\ufffd" for char in text)
    return quoteattr(known, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _is_xml(char: str) -> bool:
    """Whether XML 1.0 has a character."""
    return char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
