"""Lines from the rows of a CSV file: labels of images, or boxes."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from asyncfilter.datasets.limits import MAX_BOXES_OF_IMAGE, MAX_LABELS_OF_IMAGE
from asyncfilter.datasets.manifests.csv_table import BLANKS, CsvTable, TableForm, is_blank
from asyncfilter.datasets.manifests.from_folders import UNLABELLED
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.pixels import box_of_edges, is_outside, is_too_small
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.row_rules import RowCode, RowSink, Unlabelled, labels_problem
from asyncfilter.datasets.manifests.source_ref import join_path, parse_source_ref
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.model import S3

BLANK = "blank"
"""Why a row without content is skipped."""
CLAMPED = "clamped"
"""Counts boxes that were partly outside of the image."""
MERGED = "merged"
"""Counts rows that became part of an earlier row's line."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MOST_SIDE = 1_000_000_000


class CsvLines:
    """Writes the lines of a CSV file.

    Args:
        table: The file.
        form: Of the file.
        writer: Of the manifest.
        classes: The labels that may occur.
        s3_path: What comes before addresses that do not begin with ``s3://``; None rejects those.
        unlabelled: What happens to rows without a label.
        duplicates: Takes rows that are left out because an earlier one is equal; None when these are merged instead.
        rejected: Takes rows that cannot be used, each with its code.
    """

    def __init__(
        self,
        table: CsvTable,
        form: TableForm,
        *,
        writer: ManifestWriter,
        classes: Classes,
        s3_path: str | None,
        unlabelled: Unlabelled,
        duplicates: RowSink | None,
        rejected: RowSink,
    ) -> None:
        self._table, self._form, self._writer = table, form, writer
        self._classes, self._s3_path, self._unlabelled = classes, s3_path, unlabelled
        self._duplicates, self._rejected = duplicates, rejected

    def write(self) -> None:
        """Write all lines.

        Raises:
            UsageError: The file cannot be read.
            DataError: The images are in several buckets.
        """
        if self._form.box_columns is not None:
            self._write_boxes(self._form.box_columns)
            return
        merges = _Merges() if self._duplicates is None else None
        if merges is not None:
            self._collect(merges)
        self._write_images(merges)

    def _data(self, *, counts_blank: bool = True) -> Iterator[tuple[int, list[str]]]:
        """The rows that are neither blank nor the header, numbered from 1 with all others."""
        has_header = self._form.has_header
        for number, row in enumerate(self._table.rows(), start=1):
            if is_blank(row):
                if counts_blank:
                    self._writer.counts.skipped[BLANK] += 1
            elif has_header:
                has_header = False
            else:
                yield number, row

    def _reject(self, row: Sequence[str], code: RowCode) -> None:
        self._writer.counts.rejected += 1
        self._rejected.write((*row, code.value))

    def _repeat(self, row: Sequence[str]) -> None:
        """Leave out a row because an earlier one is equal."""
        if self._duplicates is None:
            self._writer.counts.notes[MERGED] += 1
        else:
            self._writer.counts.duplicates += 1
            self._duplicates.write(row)

    def _address(self, cell: str) -> str | RowCode:
        """The ``source-ref`` of a row, or why it has none."""
        image = cell.strip(BLANKS)
        if not image:
            return RowCode.NO_IMAGE
        if not image.startswith(S3):
            if self._s3_path is None:
                return RowCode.NOT_S3_URI
            image = join_path(self._s3_path, image)
        return image if parse_source_ref(image) is not None else RowCode.NOT_S3_URI

    # -- Rows of images ------------------------------------------------------------------------------------------------

    def _image(self, row: Sequence[str]) -> _ImageRow | RowCode | None:
        """What a row says; None for one that is skipped because it has no label."""
        address = self._address(row[0])
        if isinstance(address, RowCode):
            return address
        labels = list(dict.fromkeys(label for cell in row[1:] if (label := cell.strip(BLANKS))))
        if not labels and self._unlabelled is not Unlabelled.KEEP:
            return RowCode.NO_LABEL if self._unlabelled is Unlabelled.ERROR else None
        return labels_problem(labels, self._classes) or _ImageRow(address, labels)

    def _collect(self, merges: _Merges) -> None:
        """Find the rows that become part of an earlier row's line."""
        for number, row in self._data(counts_blank=False):
            found = self._image(row)
            if isinstance(found, _ImageRow):
                merges.add(number, found)
        merges.end()

    def _write_images(self, merges: _Merges | None) -> None:
        seen, counts = RefIndex(), self._writer.counts
        for number, row in self._data():
            found = self._image(row)
            if found is None:
                counts.skipped[UNLABELLED] += 1
            elif isinstance(found, RowCode):
                self._reject(row, found)
            elif seen.add(found.source_ref, number):
                if merges is not None and number in merges.refused:
                    self._reject(row, RowCode.TOO_MANY_LABELS)
                else:
                    self._repeat(row)
            else:
                labels = found.labels if merges is None else merges.labels_of(number, found.labels)
                self._writer.write(found.source_ref, [(label, 1) for label in labels])

    # -- Rows of boxes -------------------------------------------------------------------------------------------------

    def _write_boxes(self, columns: Sequence[int]) -> None:
        images: dict[str, _BoxedImage] = {}
        for _, row in self._data():
            cells = [row[column].strip(BLANKS) if column < len(row) else "" for column in columns]
            if (code := self._add_box(row, cells, images)) is not None:
                self._reject(row, code)
        self._writer.counts.notes[CLAMPED] = sum(image.clamped for image in images.values())
        for address, image in images.items():
            if image.boxes:
                self._writer.write(address, size=image.size, boxes=image.boxes)
            else:
                self._writer.write(address)

    def _add_box(self, row: Sequence[str], cells: Sequence[str], images: dict[str, _BoxedImage]) -> RowCode | None:
        """Add what a row says; returns why it cannot be used."""
        address, label = self._address(cells[0]), cells[3]
        if isinstance(address, RowCode):
            return address
        if not label:
            return self._add_unlabelled(address, images)
        if (code := labels_problem([label], self._classes)) is not None:
            return code
        numbers = _numbers([*cells[1:3], *cells[4:]])
        if numbers is None:
            return RowCode.BAD_NUMBER
        size, edges = ImageSize(int(numbers[0]), int(numbers[1])), tuple(numbers[2:])
        found = images.get(address)
        if found is not None and found.has(size, label, edges):
            self._repeat(row)
            return None
        box = _box(size, label, edges)
        if box is None:
            return RowCode.BAD_BOX
        if found is None:
            found = images[address] = _BoxedImage()
        elif not found.boxes:
            self._writer.counts.notes[MERGED] += 1  # the row without a label, whose line has a box now
        return found.add(size, box, edges)

    def _add_unlabelled(self, address: str, images: dict[str, _BoxedImage]) -> RowCode | None:
        if self._unlabelled is Unlabelled.ERROR:
            return RowCode.NO_LABEL
        if self._unlabelled is Unlabelled.SKIP:
            self._writer.counts.skipped[UNLABELLED] += 1
        elif address in images:
            self._writer.counts.notes[MERGED] += 1
        else:
            images[address] = _BoxedImage()
        return None


class _ImageRow(NamedTuple):
    source_ref: str
    labels: list[str]


class _Merges:
    """Labels of later rows for the line of the first row of an image: 12 bytes a label.

    Attributes:
        refused: Rows that would give a line too many labels.
    """

    def __init__(self) -> None:
        self._seen = RefIndex()
        self._names: dict[str, int] = {}
        self._labels: list[str] = []
        self._firsts, self._rows, self._ids = array("I"), array("I"), array("I")
        self._order: list[int] = []
        self._at = 0
        self.refused: set[int] = set()

    def add(self, number: int, row: _ImageRow) -> None:
        """Note a row; its number is counted from 1."""
        first = self._seen.add(row.source_ref, number)
        for label in row.labels if first else ():
            known = self._names.setdefault(label, len(self._names))
            if known == len(self._labels):
                self._labels.append(label)
            self._firsts.append(first)
            self._rows.append(number)
            self._ids.append(known)

    def end(self) -> None:
        """All rows were noted."""
        self._seen = RefIndex()
        self._order = sorted(range(len(self._firsts)), key=self._firsts.__getitem__)

    def labels_of(self, number: int, labels: Sequence[str]) -> list[str]:
        """All labels of the image whose first row has this number; to be called by rising number."""
        found = dict.fromkeys(labels)
        while self._at < len(self._order) and self._firsts[self._order[self._at]] == number:
            row = self._rows[self._order[self._at]]
            more = dict(found)
            while self._at < len(self._order) and self._rows[self._order[self._at]] == row:
                more[self._labels[self._ids[self._order[self._at]]]] = None
                self._at += 1
            if len(more) > MAX_LABELS_OF_IMAGE:
                self.refused.add(row)
            else:
                found = more
        return list(found)


class _BoxedImage(msgspec.Struct):
    """The boxes of one image, with the edges that they were given with."""

    size: ImageSize | None = None
    boxes: list[PixelBox] = []
    given: set[tuple[str, tuple[float, ...]]] = set()
    clamped: int = 0

    def has(self, size: ImageSize, label: str, edges: tuple[float, ...]) -> bool:
        """Whether an equal row was added."""
        return self.size == size and (label, edges) in self.given

    def add(self, size: ImageSize, box: PixelBox, edges: tuple[float, ...]) -> RowCode | None:
        """Add a box; returns why it cannot be added."""
        if self.size is not None and self.size != size:
            return RowCode.SIZE_DIFFERS
        if len(self.boxes) >= MAX_BOXES_OF_IMAGE:
            return RowCode.TOO_MANY_BOXES
        left, top, right, bottom = edges
        self.size = size
        self.boxes.append(box)
        self.given.add((box.label, edges))
        self.clamped += is_outside(size, left=left, top=top, right=right, bottom=bottom)
        return None


def _box(size: ImageSize, label: str, edges: tuple[float, ...]) -> PixelBox | None:
    """The box of a row, cut at the frame; None when right is left of left, or too little is in the frame."""
    left, top, right, bottom = edges
    if right < left or bottom < top:
        return None
    box = box_of_edges(label, size, left=left, top=top, right=right, bottom=bottom)
    return None if is_too_small(box.width, box.height, size) else box


def _numbers(cells: Sequence[str]) -> list[float] | None:
    """Width and height, which are whole and positive, and the edges; None when one is no such number."""
    if not all(map(_NUMBER.fullmatch, cells)):
        return None
    found = list(map(float, cells))
    if not all(map(math.isfinite, found)):
        return None
    is_size = all(side == int(side) and 0 < side <= _MOST_SIDE for side in found[:2])
    return found if is_size else None
