"""One line of a manifest, checked: what is wrong with it, what the service does with it, and what of it can be used.

Every problem that can be seen is reported, though the service stops at the first. ``read_manifest`` is how all commands
read manifests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, BinaryIO

from msgspec.structs import replace

from asyncfilter.datasets.limits import MAX_ASPECT, MAX_BOXES_OF_IMAGE, MAX_LABELS_OF_IMAGE, MAX_SIDE_PX, MIN_SIDE_PX
from asyncfilter.datasets.manifests.attribute_checks import Pair, PairState
from asyncfilter.datasets.manifests.codes import RANKS, Consequence, Finding, Scope, finding
from asyncfilter.datasets.manifests.json_object import BadJsonError, JsonLineReader, kind_of
from asyncfilter.datasets.manifests.model import METADATA, SERVICE_KEYS, SOURCE_REF, BoxAttribute, ImageLabel, ImageSize
from asyncfilter.datasets.manifests.physical_lines import PhysicalLine, read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.source_ref import parse_source_ref
from asyncfilter.model import S3Location

MAX_LINE_CHARS = 100_000
MAX_ATTRIBUTE_CHARS = 20_000


class LineState(StrEnum):
    """What the service does with a line."""

    VALID = "valid"
    INVALID = "invalid"
    IGNORED = "ignored"


class CheckedLine:
    """A line of a manifest; made by ``LineChecker``.

    Attributes:
        line: As it is in the file.
        document: All members; empty when the line is no JSON object.
        place: Bucket and key; None when the line has no address that can be read.
        pairs: The attributes with metadata, in the order of the line.
        findings: What is wrong, in the order of the table of codes.
        state: What the service does with the line.
        is_blank: Whether there is nothing but white space.
        is_dropped: Whether the service drops an invalid line without a word.
    """

    __slots__ = ("document", "findings", "is_blank", "is_dropped", "line", "pairs", "place", "state")

    def __init__(self, line: PhysicalLine) -> None:
        self.line = line
        self.is_blank = line.content[:1] != b"{" and line.is_blank
        self.document: dict[str, Any] = {}
        self.place: S3Location | None = None
        self.pairs: list[Pair] = []
        self.findings: list[Finding] = []
        self.state = LineState.VALID
        self.is_dropped = False

    @property
    def source_ref(self) -> str:
        """The address of the image as the line has it; empty where it is none."""
        return self.document[SOURCE_REF] if self.place is not None else ""

    @property
    def labels(self) -> list[ImageLabel]:
        """The image-level labels that can be used, of a valid line."""
        if self.state is not LineState.VALID:
            return []
        return [pair.label for pair in self.pairs if pair.label is not None]

    @property
    def boxes(self) -> list[BoxAttribute]:
        """The sets of boxes that can be used, of a valid line; each has at least one box."""
        if self.state is not LineState.VALID:
            return []
        return [pair.boxes for pair in self.pairs if pair.boxes is not None and pair.state is PairState.USABLE]

    def label_names(self) -> list[str]:
        """The labels of the image, of both kinds, each once, in the order of the line."""
        names = [label.name for label in self.labels]
        names += [box.label for attribute in self.boxes for box in attribute.boxes]
        return list(dict.fromkeys(names))

    def settle(self) -> None:
        """Put the findings in order, and derive from them what the service does with the line."""
        if not self.findings:
            return
        effects = {
            found.effect
            for found in self.findings
            if found.effect is not Consequence.IGNORED or found.scope is Scope.LINE
        }
        self.is_dropped = Consequence.DROPPED in effects
        if self.is_dropped or Consequence.INVALID in effects:
            self.state = LineState.INVALID
        elif Consequence.IGNORED in effects:
            self.state = LineState.IGNORED
        self.findings.sort(key=lambda found: RANKS[found.code])

    def add(self, code: str, message: str, scope: Scope = Scope.LINE, *, attribute: str | None = None) -> None:
        """Add a finding about the line."""
        self.findings.append(finding(code, message, line=self.line.number, scope=scope, attribute=attribute))


ImageCheck = Callable[[CheckedLine], object]
"""Checks the image of a line that has attributes: it adds findings, and sets the state of pairs."""


class LineChecker:
    """Checks the lines of one file, in order.

    Args:
        finds_repeated: Whether an address that an earlier line has is an error.
        images: Checks the image of a line, where images are looked at.

    Attributes:
        refs: The addresses of the lines that the service does not drop, with the number of each line.
    """

    def __init__(self, *, finds_repeated: bool = True, images: ImageCheck | None = None) -> None:
        self.refs = RefIndex()
        self._images = images
        self._finds_repeated = finds_repeated
        self._reader = JsonLineReader()

    def check(self, line: PhysicalLine) -> CheckedLine:
        """The line, checked."""
        checked = CheckedLine(line)
        if checked.is_blank:
            checked.add("BLANK_LINE", "nothing but white space")
        elif self._read(checked):
            self._check_source_ref(checked)
            self._check_pairs(checked)
        checked.settle()
        if self._finds_repeated and checked.place is not None and not checked.is_dropped:
            self._note(checked)
        return checked

    def _read(self, checked: CheckedLine) -> bool:
        """Read the line as JSON; returns whether it is an object."""
        line = checked.line
        if len(line.content) > MAX_LINE_CHARS and (chars := _chars(line)) > MAX_LINE_CHARS:
            checked.add("LINE_TOO_LONG", f"{chars:,} characters{'' if line.is_whole else ' or more'}")
            if not line.is_whole:
                return False
        try:
            checked.document = self._reader.read(line.content)
        except BadJsonError as error:
            checked.add("ERROR_INVALID_JSON_LINE", f"the line {error}")
            return False
        for name in self._reader.repeated:
            checked.add("DUPLICATE_KEY", f"{kind_of(name).removeprefix('the string ')} occurs twice in one object")
        return True

    def _check_source_ref(self, checked: CheckedLine) -> None:
        if SOURCE_REF not in checked.document:
            checked.add("ERROR_MISSING_SOURCE_REF", "no source-ref")
            return
        value = checked.document[SOURCE_REF]
        checked.place = parse_source_ref(value)
        if checked.place is None:
            checked.add("ERROR_INVALID_SOURCE_REF_FORMAT", f"source-ref is {kind_of(value)}, not s3://BUCKET/KEY")

    def _note(self, checked: CheckedLine) -> None:
        earlier = self.refs.add(checked.source_ref, checked.line.number)
        if earlier:
            checked.add("REPEATED_SOURCE_REF", f"{checked.source_ref} stands in line {earlier} already")
            checked.settle()

    # -- Attributes ----------------------------------------------------------------------------------------------------

    def _check_pairs(self, checked: CheckedLine) -> None:
        document = checked.document
        checked.pairs = [
            Pair(name, value, document[name + METADATA])
            for name, value in document.items()
            if name + METADATA in document and name not in SERVICE_KEYS and name != SOURCE_REF
        ]
        self._check_others(checked)
        if not checked.pairs:
            is_bare = SOURCE_REF in document and not document.keys() - SERVICE_KEYS - {SOURCE_REF}
            if is_bare:
                checked.add("WARNING_UNANNOTATED_RECORD", "the image has no labels")
            else:
                checked.add("ERROR_NO_LABEL_ATTRIBUTES", "no attribute has metadata")
            return
        for pair in checked.pairs:
            if pair.findings:
                checked.findings += [replace(found, line=checked.line.number) for found in pair.findings]
        if self._images is not None and checked.place is not None:
            self._images(checked)
        _check_states(checked)
        _check_counts(checked)
        for pair in checked.pairs:
            if pair.size is not None:
                for code, problem in size_problems(pair.size):
                    checked.add(code, f"{pair.name}: {problem}", Scope.ATTRIBUTE, attribute=pair.name)

    def _check_others(self, checked: CheckedLine) -> None:
        """Check keys that are no pair, and the length of attributes."""
        if len(checked.document) > 2 * len(checked.pairs) + (SOURCE_REF in checked.document):
            self._check_unpaired(checked)
        if len(checked.line.content) <= MAX_ATTRIBUTE_CHARS:
            return
        for name, value in checked.document.items():
            chars = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
            if chars > MAX_ATTRIBUTE_CHARS:
                checked.add("ATTRIBUTE_TOO_LONG", f"{name!r} has {chars:,} characters", Scope.ATTRIBUTE, attribute=name)

    @staticmethod
    def _check_unpaired(checked: CheckedLine) -> None:
        used = {SOURCE_REF, *SERVICE_KEYS}
        for pair in checked.pairs:
            used |= {pair.name, pair.name + METADATA}
        others = checked.document.keys() - used
        for name in checked.document if others else ():
            if name in others:
                partner = name.removesuffix(METADATA) if name.endswith(METADATA) else name + METADATA
                checked.add("UNPAIRED_KEY", f"{name!r} has no {partner!r}", Scope.ATTRIBUTE, attribute=name)


def read_manifest(stream: BinaryIO, *, finds_repeated: bool = True) -> Iterator[CheckedLine]:
    """The lines of a manifest, checked, from the present position of ``stream``."""
    check = LineChecker(finds_repeated=finds_repeated).check
    for line in read_lines(stream):
        yield check(line)


def size_problems(size: ImageSize) -> Iterator[tuple[str, str]]:
    """Codes and texts of what is wrong with the size of an image."""
    shown = f"{size.width:,} x {size.height:,} px"
    shorter, longer = sorted((size.width, size.height))
    if shorter < MIN_SIDE_PX or longer > MAX_SIDE_PX:
        yield "ERROR_INVALID_IMAGE_DIMENSION", f"an image of {shown}; {MIN_SIDE_PX} to {MAX_SIDE_PX:,} a side are taken"
    if longer > MAX_ASPECT * shorter:
        yield "ERROR_INVALID_IMAGE", f"an image of {shown}; sides may differ {MAX_ASPECT}:1"


def _check_states(checked: CheckedLine) -> None:
    """What follows for the line when none of its attributes can be used."""
    states = [pair.state for pair in checked.pairs]
    if PairState.USABLE in states:
        return
    if PairState.NO_VALID_BOX in states:
        checked.add("ERROR_NO_VALID_ANNOTATIONS", "no box of the line can be used")
    elif PairState.EMPTY in states:
        checked.add("WARNING_NO_ANNOTATIONS", "the line has no boxes")
    else:
        checked.add("ERROR_NO_VALID_LABEL_ATTRIBUTES", "no attribute of the line can be used")


def _check_counts(checked: CheckedLine) -> None:
    boxes = sum([pair.annotations for pair in checked.pairs])
    if boxes > MAX_BOXES_OF_IMAGE:
        checked.add("ERROR_TOO_MANY_BOUNDING_BOXES", f"{boxes} boxes, {MAX_BOXES_OF_IMAGE} are taken")
    labels = [pair.label for pair in checked.pairs if pair.label is not None]
    if len(labels) < 2:
        return
    if len(labels) > MAX_LABELS_OF_IMAGE:
        checked.add("TOO_MANY_LABELS", f"{len(labels)} labels, {MAX_LABELS_OF_IMAGE} are taken")
    first: dict[str, str] = {}
    for label in labels:
        if first.setdefault(label.name, label.attribute) != label.attribute:
            checked.add(
                "DUPLICATE_LABEL",
                f"{label.attribute} has the label of {first[label.name]}: {label.name!r}",
                Scope.ATTRIBUTE,
                attribute=label.attribute,
            )


def _chars(line: PhysicalLine) -> int:
    return len(line.content.decode("utf-8", "replace"))
