"""Several lines for one image as one line: the labels and boxes of all of them, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asyncfilter.datasets.manifests.codes import Severity
from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineChecker, LineState
from asyncfilter.datasets.manifests.line_form import DEFAULT_IMAGE_ATTRIBUTE, confidence_number, encode_line
from asyncfilter.datasets.manifests.model import METADATA, SOURCE_REF, BoxAttribute, PixelBox
from asyncfilter.datasets.manifests.physical_lines import PhysicalLine

_CHECKER = LineChecker(finds_repeated=False)


class CannotUniteError(Exception):
    """Lines cannot be one line; ``code`` says why, as a code of the service."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def united(lines: Sequence[CheckedLine]) -> bytes | None:
    """The line that holds what all lines for one image hold.

    Labels and boxes keep the order of the lines; of equal ones the first is kept. Image-level attributes are numbered
    anew after the name of the first; all boxes are in the first box attribute.

    Args:
        lines: Of one image, none of which the service drops.

    Returns:
        The line with its end; None when no line has a label or a box.

    Raises:
        CannotUniteError: A line is invalid, or the result would be, or the lines differ in the size of the image.
    """
    for line in lines:
        if line.state is LineState.INVALID:
            raise CannotUniteError(_first_error(line), f"line {line.line.number} cannot be used")
    used = [line for line in lines if line.state is LineState.VALID]
    if not used:
        return None
    boxes = _boxes(used)
    others = _others(used)
    members = {SOURCE_REF: used[0].source_ref, **_labels(used, taken={*boxes, *others}), **boxes}
    content = encode_line({**members, **{name: value for name, value in others.items() if name not in members}})
    again = _CHECKER.check(PhysicalLine(1, 0, len(content), content[:-1], b"\n"))
    if again.state is not LineState.VALID:
        raise CannotUniteError(_first_error(again), "with all labels the line could not be used")
    return content


def _first_error(line: CheckedLine) -> str:
    return next(found.code for found in line.findings if found.severity is Severity.ERROR)


def _labels(lines: Sequence[CheckedLine], *, taken: set[str]) -> dict[str, Any]:
    labels = list({label.name: label for line in reversed(lines) for label in reversed(line.labels)}.values())[::-1]
    base = labels[0].attribute.rstrip("0123456789") if labels else ""
    members: dict[str, Any] = {}
    number = 0
    for label in labels:
        while (name := f"{base or DEFAULT_IMAGE_ATTRIBUTE}{number}") in taken or name + METADATA in taken:
            number += 1
        members[name] = label.value
        members[name + METADATA] = label.metadata
        number += 1
    return members


def _others(lines: Sequence[CheckedLine]) -> dict[str, Any]:
    """Members that belong to no attribute; of equal names the first line's."""
    members: dict[str, Any] = {}
    for line in lines:
        pairs = {pair.name for pair in line.pairs}
        for name, value in line.document.items():
            if name.removesuffix(METADATA) not in pairs:
                members.setdefault(name, value)
    members.pop(SOURCE_REF, None)
    return members


# -- Boxes -------------------------------------------------------------------------------------------------------------


def _boxes(lines: Sequence[CheckedLine]) -> dict[str, Any]:
    attributes = [attribute for line in lines for attribute in line.boxes]
    if not attributes:
        return {}
    first = attributes[0]
    for attribute in attributes[1:]:
        if attribute.size != first.size:
            raise CannotUniteError("IMAGE_SIZE_MISMATCH", "the lines differ in the size of the image")
    boxes = list(dict.fromkeys(_keyed(attributes).values()))
    numbers = _numbers(attributes)
    used = sorted({numbers[box.label]: box.label for box in boxes}.items())
    size = first.size
    by_people = all(attribute.metadata["human-annotated"] == "yes" for attribute in attributes)
    return {
        first.attribute: {
            "image_size": [{"width": size.width, "height": size.height, "depth": size.depth}],
            "annotations": [_annotation(box, numbers) for box in boxes],
        },
        first.attribute + METADATA: {
            **first.metadata,
            "objects": [{"confidence": confidence_number(box.confidence)} for box in boxes],
            "class-map": {str(number): label for number, label in used},
            "human-annotated": "yes" if by_people else "no",
        },
    }


def _keyed(attributes: Sequence[BoxAttribute]) -> dict[tuple[object, ...], PixelBox]:
    """The boxes, each once, by label and place; the first of equal ones with its confidence."""
    found: dict[tuple[object, ...], PixelBox] = {}
    for attribute in attributes:
        for box in attribute.boxes:
            found.setdefault((box.label, box.left, box.top, box.width, box.height), box)
    return found


def _numbers(attributes: Sequence[BoxAttribute]) -> dict[str, int]:
    """The class ids: each label keeps its first one, unless another label has it."""
    numbers: dict[str, int] = {}
    for attribute in attributes:
        for class_id, label in attribute.metadata["class-map"].items():
            if label in numbers:
                continue
            number = int(class_id) if class_id.lstrip("-").isdecimal() else -1
            taken = set(numbers.values())
            numbers[label] = number if number >= 0 and number not in taken else max([-1, *taken]) + 1
    return numbers


def _annotation(box: PixelBox, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "class_id": numbers[box.label],
        "top": box.top,
        "left": box.left,
        "width": box.width,
        "height": box.height,
    }
