"""One manifest as two, for training and for the test: stratified by label, with images that must not part together.

The first pass keeps of each line its labels, a number and the digest of its address; the second copies lines.
"""

from __future__ import annotations

import csv
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineChecker, LineState
from asyncfilter.datasets.manifests.physical_lines import ByteSink, line_bytes, read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.stratifying import Division, Units
from asyncfilter.datasets.manifests.writing import empty_manifest
from asyncfilter.errors import DataError, UsageError
from asyncfilter.model import S3

_TRAIN, _TEST, _LEFT_OUT = range(3)
_REPEATED = "REPEATED_SOURCE_REF"


@dataclass(slots=True, kw_only=True)
class SplitCounts:
    """What a split did.

    Attributes:
        train: Lines for the training; ``test`` likewise.
        labels: Images of each label in the training and in the test.
        groups: Groups of images that were kept together.
        ungrouped: Images in none of them.
        rejected: Lines that are left out because they cannot be used.
        undivided: Labels of several images that are all in one group, and so on one side.
        one_sided: Other labels of several images that are on one side.
    """

    train: int = 0
    test: int = 0
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    groups: int = 0
    ungrouped: int = 0
    rejected: int = 0
    undivided: list[str] = field(default_factory=list)
    one_sided: list[str] = field(default_factory=list)

    def as_mapping(self) -> dict[str, Any]:
        """The counts under their public names."""
        return {
            "train": self.train,
            "test": self.test,
            "labels": {name: {"train": train, "test": test} for name, (train, test) in self.labels.items()},
            "groups": self.groups,
            "ungrouped": self.ungrouped,
            "rejected": self.rejected,
            "undivided": self.undivided,
            "one_sided": self.one_sided,
        }


class Splitter:
    """Splits a manifest that can be read twice.

    Args:
        stream: The manifest, at its beginning.
        seed: Equal seeds give equal splits.
        skips_invalid: Whether lines that cannot be used are left out.

    Raises:
        DataError: There is no line, an image has several, or a line cannot be used.
    """

    def __init__(self, stream: BinaryIO, *, seed: int, skips_invalid: bool) -> None:
        self._stream = stream
        self._key = str(seed).encode()[-64:]
        self._labels: dict[str, int] = {}
        self._checker = LineChecker()
        # Of each line, from 0: whether it is used, its rank by chance, the line that stands for its group, its labels.
        self._sides, self._ranks, self._leaders = bytearray(), array("Q"), array("I")
        self._starts, self._line_labels = array("Q", [0]), array("I")
        self._groups, self._next = bytearray(), array("I")
        self._is_single = True
        self.counts = SplitCounts()
        self._read(skips_invalid=skips_invalid)

    # -- First pass ----------------------------------------------------------------------------------------------------

    def _read(self, *, skips_invalid: bool) -> None:
        for line in read_lines(self._stream):
            checked = self._checker.check(line)
            if checked.state is LineState.INVALID:
                self._refuse(checked, skips_invalid=skips_invalid)
            self._add(checked)
        if self.counts.rejected == len(self._sides):
            raise empty_manifest()

    def _refuse(self, checked: CheckedLine, *, skips_invalid: bool) -> None:
        """Count a line that cannot be used.

        Raises:
            DataError: It may not be left out.
        """
        number = checked.line.number
        for found in checked.findings:
            if found.code == _REPEATED:
                raise DataError(
                    f"line {number}: {found.message}; nothing was written",
                    code=_REPEATED,
                    hint="Merge its lines for each image: asyncfilter manifest merge FILE -o OUT.",
                )
        if not skips_invalid:
            found = checked.findings[0]
            raise DataError(
                f"line {number} cannot be used: {found.message}; nothing was written",
                code=found.code,
                hint="Repair the manifest with manifest validate --fix, or leave such lines out with --skip-invalid.",
            )
        self.counts.rejected += 1

    def _add(self, checked: CheckedLine) -> None:
        is_used = checked.state is not LineState.INVALID
        names = checked.label_names()
        self._is_single = self._is_single and len(names) < 2
        self._line_labels.extend([self._labels.setdefault(name, len(self._labels)) for name in names])
        self._starts.append(len(self._line_labels))
        self._leaders.append(len(self._sides))
        self._sides.append(_TRAIN if is_used else _LEFT_OUT)
        self._groups.append(0)
        self._ranks.append(self._rank(checked.source_ref) if is_used else 0)

    def _rank(self, source_ref: str) -> int:
        return int.from_bytes(hashlib.blake2b(source_ref.encode(), digest_size=8, key=self._key).digest(), "big")

    # -- Groups --------------------------------------------------------------------------------------------------------

    def read_groups(self, rows: Iterable[str], *, file: str) -> int:
        """Keep together what a table puts into one group.

        Args:
            rows: Lines of CSV: source-ref and group; a first row without an address is a header.
            file: Its name, for messages.

        Returns:
            How many rows name no image of the manifest.

        Raises:
            UsageError: A row is no pair, or no row names an image of the manifest.
        """
        seen, found, unknown = RefIndex(), 0, 0
        reader = csv.reader(rows, strict=True)
        try:
            for number, row in enumerate(reader, 1):
                if not any(row):
                    continue
                if len(row) != 2 or not row[1]:
                    what = "no group" if len(row) == 2 else f"{len(row)} cells"
                    raise UsageError(f"--groups {file}: row {number} has {what}", hint="Write source-ref,group.")
                if self.group(row[0], row[1], seen):
                    found += 1
                elif number > 1 or row[0].startswith(S3):
                    unknown += 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"--groups {file}: {error}", hint="Write source-ref,group as CSV in UTF-8.") from error
        if unknown and not found:
            raise UsageError(
                f"--groups {file}: none of its rows names an image of the manifest",
                hint="Write each image as the manifest has it: s3://BUCKET/KEY,group.",
            )
        return unknown

    def group(self, source_ref: str, name: str, seen: RefIndex, *, even_alone: bool = True) -> bool:
        """Keep an image together with the others of its group.

        Args:
            source_ref: Of the image; one that is not in the manifest is passed over.
            name: Of the group.
            seen: The groups of this kind so far.
            even_alone: Whether one image is a group.

        Returns:
            Whether the image is in the manifest.
        """
        number = self._checker.refs.find(source_ref)
        if not number or self._sides[number - 1] == _LEFT_OUT:
            return False
        earlier = seen.add(name, number)
        if earlier:
            self._groups[number - 1] = self._groups[earlier - 1] = 1
            self._join(number - 1, earlier - 1)
        elif even_alone:
            self._groups[number - 1] = 1
        return True

    def _leader(self, line: int) -> int:
        leaders = self._leaders
        while leaders[line] != line:
            leaders[line] = leaders[leaders[line]]
            line = leaders[line]
        return line

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self._leader(one), self._leader(other)))
        self._leaders[second] = first

    @property
    def used(self) -> int:
        """How many lines are used."""
        return len(self._sides) - self.counts.rejected

    def refs(self) -> Iterator[str]:
        """The addresses of the lines that are used, in order."""
        self._stream.seek(0)
        check = LineChecker(finds_repeated=False).check
        for number, line in enumerate(read_lines(self._stream)):
            if self._sides[number] != _LEFT_OUT:
                yield check(line).source_ref

    # -- The split -----------------------------------------------------------------------------------------------------

    def divide(self, *, share: float) -> None:
        """Decide for each line where it belongs.

        Args:
            share: Of the test, above 0 and below 1.

        Raises:
            DataError: No image can go to the test.
        """
        self._checker = LineChecker(finds_repeated=False)  # addresses are not needed any more, and take most memory
        self._link()
        order = array("I", self._order())
        units = Units(len(self._labels))
        for leader in order:
            units.add(self._label_counts(leader))
        division = Division(units, share=share, is_single=self._is_single)
        for unit, leader in enumerate(order):
            if division.is_test[unit]:
                for line in self._members(leader):
                    self._sides[line] = _TEST
        self._count(units, division)

    def _link(self) -> None:
        """Link the lines of each unit, the first of which stands for it, and give it the lowest rank of them."""
        ranks = self._ranks
        self._next = array("I", bytes(4 * len(ranks)))
        for line in range(len(ranks) - 1, 0, -1):
            leader = self._leader(line)
            if leader != line:
                self._next[line], self._next[leader] = self._next[leader], line
                ranks[leader] = min(ranks[leader], ranks[line])

    def _members(self, leader: int) -> Iterator[int]:
        """The lines of a unit."""
        yield leader
        line = leader
        while line := self._next[line]:  # the first line of a file follows none
            yield line

    def _order(self) -> Iterator[int]:
        """The lines that stand for a unit, in the order of chance; in parts, so that few are held as numbers."""
        ranks = self._ranks
        parts = [array("I") for _ in range(256)]
        for line, leader in enumerate(self._leaders):
            if leader == line and self._is_used(line):
                parts[ranks[line] >> 56].append(line)
        for part in parts:
            yield from sorted(part, key=ranks.__getitem__)

    def _is_used(self, line: int) -> bool:
        return self._sides[line] != _LEFT_OUT

    def _label_counts(self, leader: int) -> dict[int, int]:
        counts: dict[int, int] = {}
        for line in self._members(leader):
            for label in self._line_labels[self._starts[line] : self._starts[line + 1]]:
                counts[label] = counts.get(label, 0) + 1
        return counts

    def _count(self, units: Units, division: Division) -> None:
        counts = self.counts
        counts.test, counts.train = self._sides.count(_TEST), self._sides.count(_TRAIN)
        if not counts.test:
            raise DataError(
                "no image can go to the test: no label has two images that may part; nothing was written",
                code="ERROR_EMPTY_MANIFEST",
                hint="Add images, or put them into smaller groups.",
            )
        grouped = [line for line in range(len(self._groups)) if self._groups[line]]
        counts.groups = len({self._leader(line) for line in grouped})
        counts.ungrouped = counts.train + counts.test - len(grouped)
        for name, label in self._labels.items():
            images, in_test = units.images[label], division.in_test[label]
            counts.labels[name] = (images - in_test, in_test)
            if images > 1 and in_test in {0, images}:
                (counts.undivided if units.is_whole(label) else counts.one_sided).append(name)

    def write(self, train: ByteSink, test: ByteSink) -> None:
        """Copy each line to where it belongs."""
        self._stream.seek(0)
        outs = {_TRAIN: train, _TEST: test}
        for number, line in enumerate(read_lines(self._stream)):
            out = outs.get(self._sides[number])
            if out is not None:
                out.write(line_bytes(line))
