"""The test snapshot: a manifest with the labels and the predictions of every test image, line by line.

A line that cannot be read is left out and reported; the others count. Only images that the service could use are in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from asyncfilter.custom_labels.evaluation.model import SnapshotImage
from asyncfilter.custom_labels.evaluation.snapshot_line import BadSnapshotLineError, parse_line
from asyncfilter.datasets.manifests.json_object import BadJsonError, JsonLineReader
from asyncfilter.datasets.manifests.physical_lines import MAX_HELD_BYTES, PhysicalLine, read_lines
from asyncfilter.errors import UsageError

MOST_PROBLEMS = 1_000
"""Problems that are kept; all are counted."""


class LineProblem(NamedTuple):
    """A line that is left out: its number, from 1, and what is wrong with it."""

    line: int
    message: str


@dataclass(slots=True)
class Snapshot:
    """A test snapshot.

    Attributes:
        file: Where it was read, for messages.
        images: In the order of the file.
        lines: That are not blank.
        problems: The first ``MOST_PROBLEMS`` lines that were left out.
        left_out: All of these.
    """

    file: str
    images: list[SnapshotImage] = field(default_factory=list)
    lines: int = 0
    problems: list[LineProblem] = field(default_factory=list)
    left_out: int = 0


def read_snapshot(stream: BinaryIO, *, file: str) -> Snapshot:
    """All images of a snapshot.

    Args:
        stream: The file.
        file: Its name, for messages.

    Raises:
        UsageError: No line has a prediction: this is no test snapshot.
    """
    reader = _Reader(file)
    for line in read_lines(stream):
        if not line.is_blank:
            reader.add(line)
    if not reader.is_evaluated:
        found = reader.snapshot
        first = f"; line {found.problems[0].line}: {found.problems[0].message}" if found.problems else ""
        raise UsageError(
            f"{file}: no test snapshot: none of {found.lines:,} lines has a prediction{first}",
            hint="Name the manifest in TestingDataResult.Output of DescribeProjectVersions.",
        )
    return reader.snapshot


class _Reader:
    def __init__(self, file: str) -> None:
        self.snapshot = Snapshot(file)
        self.is_evaluated = False
        self._json = JsonLineReader()
        self._lines: dict[str, int] = {}

    def add(self, line: PhysicalLine) -> None:
        self.snapshot.lines += 1
        try:
            self._add(line)
        except BadSnapshotLineError as error:
            self.snapshot.left_out += 1
            if len(self.snapshot.problems) < MOST_PROBLEMS:
                self.snapshot.problems.append(LineProblem(line.number, str(error)))

    def _add(self, line: PhysicalLine) -> None:
        if not line.is_whole:
            raise BadSnapshotLineError(f"the line has {line.size_bytes:,} bytes, {MAX_HELD_BYTES:,} are read")
        try:
            document = self._json.read(line.content)
        except BadJsonError as error:
            raise BadSnapshotLineError(f"the line {error}") from error
        parsed = parse_line(document, line=line.number)
        earlier = self._lines.setdefault(parsed.image.source_ref, line.number)
        if earlier != line.number:
            raise BadSnapshotLineError(f"{parsed.image.source_ref} stood in line {earlier}")
        self.is_evaluated |= parsed.is_evaluated
        self.snapshot.images.append(parsed.image)
