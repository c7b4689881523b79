"""Several manifests as one: one line an image, in the order of first appearance.

The first pass keeps of each line its place and of each address a digest; the second copies lines.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO

from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineChecker
from asyncfilter.datasets.manifests.physical_lines import ByteSink, PhysicalLine, line_bytes, read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.uniting import CannotUniteError, united
from asyncfilter.datasets.manifests.writing import empty_manifest, several_buckets
from asyncfilter.errors import DataError


class OnConflict(StrEnum):
    """Which line holds for an image that has several different ones."""

    LAST = "last"
    FIRST = "first"
    UNION = "union"
    FAIL = "fail"


@dataclass(slots=True)
class InputCounts:
    """One manifest that was read.

    Attributes:
        file: As the user named it.
        lines: Physical lines.
        images: Lines with an address that take part.
        blank: Blank lines, which are left out.
        rejected: Numbers of lines that are left out because they cannot be read as a line for an image.
        rejected_lines: How many these are; ``rejected`` has the first of them.
    """

    file: str
    lines: int = 0
    images: int = 0
    blank: int = 0
    rejected_lines: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)

    def as_mapping(self) -> dict[str, Any]:
        """The counts under their public names."""
        return {
            "file": self.file,
            "lines": self.lines,
            "images": self.images,
            "blank": self.blank,
            "rejected": self.rejected_lines,
        }


@dataclass(slots=True, kw_only=True)
class MergeCounts:
    """What a merge did; ``lines`` is ``added + replaced + unchanged``.

    Attributes:
        inputs: The manifests, in their order.
        lines: Lines written.
        added: Images that the first manifest does not have.
        replaced: Images of the first manifest with another line than its first one.
        unchanged: Images of the first manifest with its line.
    """

    inputs: list[InputCounts]
    lines: int = 0
    added: int = 0
    replaced: int = 0
    unchanged: int = 0

    @property
    def rejected(self) -> int:
        """Lines of all manifests that are left out because they cannot be read."""
        return sum(found.rejected_lines for found in self.inputs)

    def as_mapping(self) -> dict[str, Any]:
        """The counts under their public names."""
        return {
            "inputs": [found.as_mapping() for found in self.inputs],
            "lines": self.lines,
            "added": self.added,
            "replaced": self.replaced,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
        }


_MOST_TOLD = 20
"""Rejected lines of a manifest that are told one by one."""


class Merger:
    """Merges manifests that can be read at any place.

    Args:
        inputs: Their names and streams, in order.
        on_conflict: Which line holds.
    """

    def __init__(self, inputs: Sequence[tuple[str, BinaryIO]], *, on_conflict: OnConflict) -> None:
        self._streams = [stream for _, stream in inputs]
        self._on_conflict = on_conflict
        self._checker = LineChecker(finds_repeated=False)
        self._refs = RefIndex()
        self._bucket: str | None = None
        # Of each line that takes part: manifest, place, size, number, and the next line of the same image, from 1.
        self._files, self._offsets, self._sizes = array("I"), array("Q"), array("I")
        self._numbers, self._next = array("I"), array("I")
        # Of each image: its first and its last line, from 0.
        self._first, self._last = array("I"), array("I")
        self.counts = MergeCounts(inputs=[InputCounts(name) for name, _ in inputs])

    def merge(self, out: ByteSink) -> MergeCounts:
        """Write the merged manifest.

        Raises:
            DataError: There is no line, images are in several buckets, or lines are in conflict.
        """
        for file, stream in enumerate(self._streams):
            self._read(file, stream)
        counts = self.counts
        if not self._first:
            raise empty_manifest()
        for image, first in enumerate(self._first):
            contents = [self._content(entry) for entry in self._entries(image)]
            content = contents[0] if len(set(contents)) == 1 else self._settled(image, contents)
            out.write(content)
            counts.lines += 1
            if self._files[first]:
                counts.added += 1
            elif content == contents[0]:
                counts.unchanged += 1
            else:
                counts.replaced += 1
        return counts

    # -- First pass ----------------------------------------------------------------------------------------------------

    def _read(self, file: int, stream: BinaryIO) -> None:
        counts = self.counts.inputs[file]
        for line in read_lines(stream):
            counts.lines += 1
            checked = self._checker.check(line)
            if checked.is_blank:
                counts.blank += 1
            elif checked.is_dropped or checked.place is None:
                counts.rejected_lines += 1
                if len(counts.rejected) < _MOST_TOLD:
                    counts.rejected.append((line.number, checked.findings[0].code, checked.findings[0].message))
            else:
                counts.images += 1
                self._check_bucket(checked.place.bucket)
                self._add(file, checked)

    def _check_bucket(self, bucket: str) -> None:
        if self._bucket is None:
            self._bucket = bucket
        elif bucket != self._bucket:
            raise several_buckets(self._bucket, bucket)

    def _add(self, file: int, checked: CheckedLine) -> None:
        entry, line = len(self._files), checked.line
        self._files.append(file)
        self._offsets.append(line.offset)
        self._sizes.append(line.size_bytes)
        self._numbers.append(line.number)
        self._next.append(0)
        image = self._refs.add(checked.source_ref, len(self._first) + 1)
        if not image:
            self._first.append(entry)
            self._last.append(entry)
            return
        self._next[self._last[image - 1]] = entry
        self._last[image - 1] = entry

    # -- Second pass ---------------------------------------------------------------------------------------------------

    def _entries(self, image: int) -> Iterator[int]:
        entry = self._first[image]
        yield entry
        while entry := self._next[entry]:
            yield entry

    def _line(self, entry: int) -> PhysicalLine:
        stream = self._streams[self._files[entry]]
        stream.seek(self._offsets[entry])
        return next(read_lines(stream))

    def _content(self, entry: int) -> bytes:
        return line_bytes(self._line(entry))

    def _settled(self, image: int, contents: Sequence[bytes]) -> bytes:
        """The line for an image that has several different ones."""
        if self._on_conflict is OnConflict.LAST:
            return contents[-1]
        if self._on_conflict is OnConflict.FIRST:
            return contents[0]
        if self._on_conflict is OnConflict.FAIL:
            raise DataError(
                f"{self._places(image)} differ, and are for the same image; no manifest was written",
                code="CONFLICTING_LINES",
                hint="Choose the line that holds: --on-conflict last, first or union.",
            )
        lines = [
            self._checker.check(self._line(entry)._replace(number=self._numbers[entry]))
            for entry in self._entries(image)
        ]
        try:
            return united(lines) or contents[0]
        except CannotUniteError as error:
            raise DataError(
                f"{self._places(image)} cannot be united: {error}; no manifest was written",
                code=error.code,
                hint="Repair the manifests with manifest validate --fix, or use --on-conflict last.",
            ) from error

    def _places(self, image: int) -> str:
        """The lines for one image, for messages."""
        named = [
            f"{self.counts.inputs[self._files[entry]].file}:{self._numbers[entry]}" for entry in self._entries(image)
        ]
        return f"{', '.join(named[:-1])} and {named[-1]}"
