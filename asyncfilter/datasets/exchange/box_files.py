"""Lines of a manifest as images with boxes in another format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from asyncfilter.datasets.exchange.manifest_lines import ManifestLines, boxes_in, size_in, sizes_differ
from asyncfilter.datasets.exchange.names import FileNames, UsedNames, file_name, is_safe_path, is_text, stem_of
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.manifests.codes import Consequence, Severity
from asyncfilter.datasets.manifests.line_checks import CheckedLine
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.writing import Classes, WriteCounts

IMAGE_LEVEL = "image_level"
"""Why an image-level label is skipped: these formats have no place for it."""
NO_SIZE = "no_size"
"""Why an image without boxes is skipped: nothing tells its size."""


class BoxWriter(Protocol):
    """Writes images with boxes in some format."""

    def add(self, name: str, size: ImageSize, boxes: Sequence[PixelBox]) -> None:
        """Write one image."""
        ...

    def finish(self) -> None:
        """Write what follows the images."""
        ...


class BoxFiles:
    """Writes the images of a manifest in another format.

    Args:
        out: Writes images.
        counts: What is written and skipped.
        rejects: Takes what cannot be carried over.
        classes: The labels that may occur.
        names: How images are called.
        has_files: Whether each image has a file of its own, named like it.
        size_of: Finds the size of an image by its address; None where it cannot.
    """

    def __init__(
        self,
        out: BoxWriter,
        *,
        counts: WriteCounts,
        rejects: Rejects,
        classes: Classes,
        names: FileNames,
        has_files: bool,
        size_of: Callable[[str], ImageSize | None],
    ) -> None:
        self._out, self._counts, self._rejects, self._classes = out, counts, rejects, classes
        self._names, self._has_files, self._size_of = names, has_files, size_of
        self._used = UsedNames()

    def add_all(self, lines: ManifestLines) -> None:
        """Write all images."""
        for checked in lines.usable():
            self._add(checked)
        self._out.finish()

    def _add(self, checked: CheckedLine) -> None:
        place = f"line {checked.line.number}"
        self._counts.skipped[IMAGE_LEVEL] += len(checked.labels)
        size = size_in(checked) or self._size_of(checked.source_ref)
        if size is None:
            self._counts.skipped[NO_SIZE] += not checked.labels
            return
        if sizes_differ(checked):
            self._rejects.add(place, "IMAGE_SIZE_MISMATCH", "its attributes give the image different sizes")
            return
        name = self._free_name(checked, place)
        if name is None:
            return
        for found in checked.findings:
            if found.effect is Consequence.PART and found.severity is Severity.ERROR:
                self._rejects.add(place, found.code, found.message)
        boxes = [box for box in boxes_in(checked) if self._is_usable(box.label, place)]
        self._out.add(name, size, boxes)
        self._count(boxes)

    def _free_name(self, checked: CheckedLine, place: str) -> str | None:
        key = checked.place.key if checked.place is not None else ""
        name = file_name(key, self._names)
        if not name or (self._has_files and not is_safe_path(name)):
            self._rejects.add(place, "BAD_NAME", f"no file can be called {name!r}")
            return None
        if not self._used.add(stem_of(name) if self._has_files else name):
            self._rejects.add(place, "REPEATED_NAME", f"another image is called {name!r}, too")
            return None
        return name

    def _is_usable(self, label: str, place: str) -> bool:
        problem = self._classes.problem(label)
        if problem is None and self._has_files and not is_text(label):
            problem = "BAD_LABEL"
        if problem is not None:
            self._rejects.add(place, problem, f"a box of {label!r}")
        return problem is None

    def _count(self, boxes: Sequence[PixelBox]) -> None:
        counts = self._counts
        counts.lines += 1
        counts.boxes += len(boxes)
        for label in dict.fromkeys(box.label for box in boxes):
            counts.labels[label] = counts.labels.get(label, 0) + 1
