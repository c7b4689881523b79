"""Repair of a manifest: lines that the service would use stay as they are, others are repaired or set aside.

A repaired line is checked again and written only when nothing is wrong with it, so that the result has no error in a
line, and a second repair changes nothing.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from asyncfilter.datasets.manifests.attribute_checks import PairState
from asyncfilter.datasets.manifests.codes import Consequence, Severity
from asyncfilter.datasets.manifests.json_object import BadJsonError, JsonLineReader
from asyncfilter.datasets.manifests.line_checks import CheckedLine, ImageCheck, LineChecker
from asyncfilter.datasets.manifests.model import METADATA
from asyncfilter.datasets.manifests.multi_label import BadMultiLabelError
from asyncfilter.datasets.manifests.physical_lines import ByteSink, PhysicalLine, line_bytes
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.repairs import repaired

_BOM = b"\xef\xbb\xbf"
_PIECE_BYTES = 64 * 1024
_REPEATED = "REPEATED_SOURCE_REF"


class Fixer:
    """Writes what can be saved of a manifest, and the rest.

    Args:
        source: The manifest, which can be read at any place: lines that are too long to be held are copied from it.
        out: Where good and repaired lines go.
        rejected: Where the other lines go, byte for byte.
        creation_date: For metadata that have none.
        images: Checks the image of a line, as for the manifest itself.

    Attributes:
        kept: Lines that are unchanged.
        repaired: Lines that were changed.
        rejected: Lines that were set aside.
    """

    def __init__(
        self,
        source: BinaryIO,
        *,
        out: ByteSink,
        rejected: ByteSink,
        creation_date: str,
        images: ImageCheck | None = None,
    ) -> None:
        self.kept = self.repaired = self.rejected = 0
        self._source, self._out, self._rejected_out = source, out, rejected
        self._creation_date = creation_date
        self._checker = LineChecker(finds_repeated=False, images=images)
        self._reader = JsonLineReader()
        self._written = RefIndex()

    def add(self, checked: CheckedLine) -> None:
        """Write one line, checked, where it belongs."""
        line = checked.line
        as_it_is = line_bytes(line) if _is_good(checked) else None
        fixed, ref = as_it_is, checked.source_ref
        if as_it_is is None or any(found.code == "FRACTIONAL_PIXELS" for found in checked.findings):
            again = self._repaired(checked)
            if again is not None:
                fixed, ref = line_bytes(again.line), again.source_ref
        if fixed is None or self._written.add(ref, line.number):
            self._reject(line)
            return
        self._out.write(fixed)
        if fixed == as_it_is:
            self.kept += 1
        else:
            self.repaired += 1

    def _repaired(self, checked: CheckedLine) -> CheckedLine | None:
        """The line after all repairs, if nothing is wrong with it then."""
        line = checked.line
        document = checked.document or self._without_bom(line)
        if not document:
            return None
        try:
            again = self._checked(line, repaired(document, self._creation_date))
            if not _is_good(again):
                again = self._checked(line, _without_broken(again))
        except (BadMultiLabelError, ValueError):  # ValueError: a text or number that JSON cannot hold
            return None
        return again if _is_good(again) else None

    def _checked(self, line: PhysicalLine, members: dict[str, Any]) -> CheckedLine:
        content = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        return self._checker.check(PhysicalLine(line.number, 0, len(content) + 1, content, b"\n"))

    def _without_bom(self, line: PhysicalLine) -> dict[str, Any]:
        if not line.is_whole or not line.content.startswith(_BOM):
            return {}
        try:
            return self._reader.read(line.content.removeprefix(_BOM))
        except BadJsonError:
            return {}

    def _reject(self, line: PhysicalLine) -> None:
        self.rejected += 1
        if line.is_whole:
            self._rejected_out.write(line.content + line.end)
            return
        before = self._source.tell()
        self._source.seek(line.offset)
        left_bytes = line.size_bytes
        while left_bytes and (piece := self._source.read(min(left_bytes, _PIECE_BYTES))):
            self._rejected_out.write(piece)
            left_bytes -= len(piece)
        self._source.seek(before)


def _is_good(checked: CheckedLine) -> bool:
    """Whether the service takes the line, unless an earlier one has its image."""
    return not any(
        (found.severity is Severity.ERROR or found.effect is Consequence.DROPPED) and found.code != _REPEATED
        for found in checked.findings
    )


def _without_broken(checked: CheckedLine) -> dict[str, Any]:
    """The members of a line without attributes that cannot be used, if another one can."""
    states = {pair.name: pair.state for pair in checked.pairs}
    if PairState.USABLE not in states.values():
        return checked.document
    broken = {name for name, state in states.items() if state in {PairState.BROKEN, PairState.NO_VALID_BOX}}
    return {
        name: value
        for name, value in checked.document.items()
        if name not in broken and name.removesuffix(METADATA) not in broken
    }
