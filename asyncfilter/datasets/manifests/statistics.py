"""What a manifest holds: labels, boxes, image sizes, people and machines, dates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, BinaryIO

from asyncfilter.datasets.manifests.attribute_checks import Pair, PairState
from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineState, read_manifest
from asyncfilter.datasets.manifests.moments import moment_of
from asyncfilter.datasets.manifests.tally import ManifestTally


class Statistics:
    """Figures of one manifest, line by line.

    Attributes:
        tally: Counts of lines, labels, boxes and buckets.
        label_uses: Labels of all images together, each once an image.
        sides_px: Smallest and largest width, smallest and largest height; None without boxes.
        by_people: Attributes that people made; ``by_machines`` are the others.
        first: The earliest ``creation-date`` with its text; ``last`` likewise.
    """

    def __init__(self) -> None:
        self.tally = ManifestTally()
        self.label_uses = self.by_people = self.by_machines = 0
        self.sides_px: tuple[int, int, int, int] | None = None
        self.first: tuple[datetime, str] | None = None
        self.last: tuple[datetime, str] | None = None

    def add(self, checked: CheckedLine) -> None:
        """Count one line."""
        self.tally.add(checked)
        if checked.state is not LineState.VALID:
            return
        self.label_uses += len(checked.label_names())
        for pair in checked.pairs:
            if pair.state is PairState.USABLE:
                self._add_pair(pair)

    def _add_pair(self, pair: Pair) -> None:
        metadata = pair.metadata
        if metadata["human-annotated"] == "yes":
            self.by_people += 1
        else:
            self.by_machines += 1
        self._add_moment(metadata["creation-date"])
        if pair.size is not None:
            width, height = pair.size.width, pair.size.height
            least_w, most_w, least_h, most_h = self.sides_px or (width, width, height, height)
            self.sides_px = min(least_w, width), max(most_w, width), min(least_h, height), max(most_h, height)

    def _add_moment(self, text: str) -> None:
        moment = moment_of(text)
        if moment is None:
            return
        found = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC), text
        if self.first is None or found[0] < self.first[0]:
            self.first = found
        if self.last is None or found[0] > self.last[0]:
            self.last = found

    @property
    def images(self) -> int:
        """Images that the service takes, labelled or not."""
        return self.tally.valid + self.tally.ignored

    def mean(self, number: int) -> float:
        """A number an image."""
        return round(number / self.images, 3) if self.images else 0

    def as_mapping(self) -> dict[str, Any]:
        """The figures under their public names."""
        tally, images = self.tally, self.images
        return {
            "lines": tally.lines,
            "images": images,
            "unlabelled": tally.ignored,
            "use_case": tally.use_case.value,
            "labels": {
                name: {"images": counts.images, "boxes": counts.boxes, "share": round(counts.images / images, 6)}
                for name, counts in tally.labels.items()
            },
            "labels_per_image": self.mean(self.label_uses),
            "boxes_per_image": self.mean(tally.boxes),
            "image_sizes": self._sizes(),
            "human_annotated": {"yes": self.by_people, "no": self.by_machines},
            "created": {
                "first": None if self.first is None else self.first[1],
                "last": None if self.last is None else self.last[1],
            },
            "buckets": list(tally.buckets),
            "invalid_lines": tally.invalid,
        }

    def _sizes(self) -> dict[str, Any]:
        if self.sides_px is None:
            return {"min": None, "max": None}
        least_w, most_w, least_h, most_h = self.sides_px
        return {"min": {"width": least_w, "height": least_h}, "max": {"width": most_w, "height": most_h}}


def statistics_of(stream: BinaryIO) -> Statistics:
    """The figures of a manifest, read line by line in flat memory."""
    found = Statistics()
    for checked in read_manifest(stream):
        found.add(checked)
    return found
