"""What the lines of a manifest hold together: how many there are of each kind, labels, boxes and buckets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineState


class UseCase(StrEnum):
    """What a model can be trained for with a manifest."""

    IMAGE = "IMAGE_LEVEL_LABELS"
    BOXES = "OBJECT_LOCALIZATION"
    UNKNOWN = "NOT_DETERMINED"


@dataclass(slots=True)
class LabelCounts:
    """The use of one label in valid lines.

    Attributes:
        images: Images that have it, of either kind.
        boxes: Boxes.
        image_level: Images that have it as an image-level label.
        boxed: Images that have it as a box.
    """

    images: int = 0
    boxes: int = 0
    image_level: int = 0
    boxed: int = 0


class ManifestTally:
    """What the lines of a manifest hold together.

    Attributes:
        lines: Physical lines; ``valid``, ``invalid`` and ``ignored`` are all of them.
        dropped: Those of the invalid lines that the service drops without a word, blank ones among them.
        blank: Blank lines.
        labels: Of valid lines, in order of first appearance.
        boxes: Boxes of valid lines that can be used.
        image_lines: Valid lines with an image-level label.
        box_lines: Valid lines with a box.
        buckets: Of all lines that are not dropped, in order of first appearance.
    """

    def __init__(self) -> None:
        self.lines = self.valid = self.invalid = self.ignored = self.dropped = self.blank = 0
        self.labels: dict[str, LabelCounts] = {}
        self.boxes = self.image_lines = self.box_lines = 0
        self.buckets: dict[str, int] = {}

    def add(self, checked: CheckedLine) -> None:
        """Count one line."""
        self.lines += 1
        self.blank += checked.is_blank
        self.dropped += checked.is_dropped
        place = checked.place
        if place is not None and place.bucket not in self.buckets and not checked.is_dropped:
            self.buckets[place.bucket] = checked.line.number
        if checked.state is LineState.VALID:
            self.valid += 1
            self._add_labels(checked)
        elif checked.state is LineState.IGNORED:
            self.ignored += 1
        else:
            self.invalid += 1

    def _add_labels(self, checked: CheckedLine) -> None:
        names = dict.fromkeys([label.name for label in checked.labels])
        boxed: dict[str, int] = {}
        for attribute in checked.boxes:
            for box in attribute.boxes:
                boxed[box.label] = boxed.get(box.label, 0) + 1
        for name in names:
            counts = self._counts_of(name)
            counts.images += 1
            counts.image_level += 1
        self.image_lines += bool(names)
        if not boxed:
            return
        for name, boxes in boxed.items():
            counts = self._counts_of(name)
            counts.images += name not in names
            counts.boxed += 1
            counts.boxes += boxes
        self.box_lines += 1
        self.boxes += sum(boxed.values())

    def _counts_of(self, label: str) -> LabelCounts:
        counts = self.labels.get(label)
        if counts is None:
            counts = self.labels[label] = LabelCounts()
        return counts

    @property
    def use_case(self) -> UseCase:
        """The kind with more valid lines; boxes when they are equal."""
        if not self.valid:
            return UseCase.UNKNOWN
        return UseCase.IMAGE if self.image_lines > self.box_lines else UseCase.BOXES

    def usable_labels(self, use_case: UseCase) -> list[str]:
        """The labels in lines of one use case."""
        if use_case is UseCase.IMAGE:
            return [name for name, counts in self.labels.items() if counts.image_level]
        return [name for name, counts in self.labels.items() if counts.boxed]
