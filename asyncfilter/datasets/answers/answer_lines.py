"""Answers as lines of a manifest: the verdict, the labels and the boxes of each image, by people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncfilter.datasets.manifests.line_form import LineForm, box_members, encode_line, image_members, line_form
from asyncfilter.datasets.manifests.model import IMAGE_TYPE, METADATA, SOURCE_REF, ImageSize, PixelBox
from asyncfilter.datasets.manifests.physical_lines import ByteSink
from asyncfilter.datasets.manifests.pixels import box_of_ratios, is_too_small
from asyncfilter.datasets.manifests.writing import Classes
from asyncfilter.model import Box
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict, LabelledBox

VERDICT = "verdict"
NUMBERS = {CurrentVerdict.KEEP: 0, CurrentVerdict.REJECT: 1, CurrentVerdict.UNSURE: 2}
"""The number of each verdict, which is its class."""


class AnswerLineWriter:
    """Writes lines.

    Args:
        out: Where they go.
        creation_date: As ``line_form.creation_date`` returns it.

    Attributes:
        lines: How many were written.
        boxes_too_small: How many boxes were left out because the service refuses them.
    """

    def __init__(self, out: ByteSink, *, creation_date: str) -> None:
        self._out, self._classes = out, Classes()
        self._image_form, self._box_form = (_form(name, creation_date) for name in ("label", "boxes"))
        self._verdict_form = _form(VERDICT, creation_date)
        self.lines = self.boxes_too_small = 0

    def write(self, source_ref: str, answer: CurrentAnswer, *, size: ImageSize | None) -> bool:
        """Write what is said about an image; returns whether there was anything that a line can hold.

        Args:
            source_ref: ``s3://BUCKET/KEY``.
            answer: Not unresolved.
            size: Of the upright picture; None leaves the boxes out.
        """
        members: dict[str, Any] = {SOURCE_REF: source_ref}
        if answer.verdict is not None:
            members |= self._verdict(answer.verdict)
        members |= image_members([(label, 1) for label in answer.labels or ()], self._image_form)
        if answer.boxes is not None and size is not None:
            boxes = self._pixel_boxes(size, answer.boxes)
            if boxes or not answer.boxes:
                members |= box_members(size, boxes, self._classes.numbers, self._box_form)
        if len(members) == 1:
            return False
        self._out.write(encode_line(members))
        self.lines += 1
        return True

    def write_bare(self, source_ref: str) -> None:
        """Write a line for an image that nothing is said about."""
        self._out.write(encode_line({SOURCE_REF: source_ref}))
        self.lines += 1

    def _verdict(self, verdict: CurrentVerdict) -> dict[str, Any]:
        return {
            VERDICT: NUMBERS[verdict],
            VERDICT + METADATA: {
                "class-name": verdict.value,
                "confidence": 1,
                "type": IMAGE_TYPE,
                "job-name": self._verdict_form.job_name,
                "human-annotated": self._verdict_form.human,
                "creation-date": self._verdict_form.creation_date,
            },
        }

    def _pixel_boxes(self, size: ImageSize, boxes: Sequence[LabelledBox]) -> list[PixelBox]:
        """Those of the boxes that the service takes."""
        found: list[PixelBox] = []
        for box in boxes:
            pixels = box_of_ratios(box.label, Box(box.left, box.top, box.width, box.height), size, 1)
            if is_too_small(pixels.width, pixels.height, size):
                self.boxes_too_small += 1
            else:
                self._classes.add(box.label)
                found.append(pixels)
        return found


def _form(name: str, creation_date: str) -> LineForm:
    return line_form(attribute=name, default=name, job_name=None, human_annotated=True, creation_date=creation_date)
