"""Manifests as the input of a conversion: lines, with SageMaker's multi-label attributes turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.manifests.codes import Severity
from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineChecker, LineState
from asyncfilter.datasets.manifests.line_form import encode_line
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.multi_label import BadMultiLabelError, is_multi_label, turned
from asyncfilter.datasets.manifests.physical_lines import PhysicalLine, read_lines

BLANK = "blank"
"""Why a blank line is skipped."""


class ManifestLines:
    """Reads a manifest for a conversion.

    Args:
        stream: The manifest.
        skipped: Counts what is left out without harm.
        rejects: Takes what cannot be used.
    """

    def __init__(self, stream: BinaryIO, *, skipped: Counter[str], rejects: Rejects) -> None:
        self._stream, self._skipped, self._rejects = stream, skipped, rejects
        self._checker = LineChecker()
        self._again = LineChecker(finds_repeated=False)

    def turned(self) -> Iterator[CheckedLine]:
        """All lines that the service does not drop, multi-label attributes turned; others may still be invalid."""
        for line in read_lines(self._stream):
            checked = self._checker.check(line)
            if checked.is_blank:
                self._skipped[BLANK] += 1
            elif checked.is_dropped:
                self.reject(checked)
            elif any(is_multi_label(pair.metadata) for pair in checked.pairs):
                again = self._turned(checked)
                if again is not None:
                    yield again
            else:
                yield checked

    def usable(self) -> Iterator[CheckedLine]:
        """The lines with something to convert; invalid ones are rejected."""
        for checked in self.turned():
            if checked.state is LineState.INVALID:
                self.reject(checked)
            else:
                yield checked

    def reject(self, checked: CheckedLine) -> None:
        """Leave a line out, for the first error in it."""
        found = next(
            (found for found in checked.findings if found.severity is Severity.ERROR), next(iter(checked.findings))
        )
        self._rejects.add(f"line {checked.line.number}", found.code, found.message)

    def _turned(self, checked: CheckedLine) -> CheckedLine | None:
        number = checked.line.number
        try:
            content = encode_line(turned(checked.document))
        except (BadMultiLabelError, ValueError, OverflowError) as error:
            self._rejects.add(f"line {number}", "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT", str(error))
            return None
        return self._again.check(PhysicalLine(number, checked.line.offset, len(content), content[:-1], b"\n"))


def size_in(checked: CheckedLine) -> ImageSize | None:
    """The image's size, which attributes with boxes have, also those without a box."""
    return next((pair.size for pair in checked.pairs if pair.size is not None), None)


def boxes_in(checked: CheckedLine) -> list[PixelBox]:
    """All boxes of a line that can be used."""
    return [box for attribute in checked.boxes for box in attribute.boxes]


def sizes_differ(checked: CheckedLine) -> bool:
    """Whether attributes give the image different sizes."""
    return len({(pair.size.width, pair.size.height) for pair in checked.pairs if pair.size is not None}) > 1
