"""Image-level labels as SageMaker's multi-label lines: the reverse of ``manifests.multi_label``."""

from __future__ import annotations

from typing import Any

from asyncfilter.datasets.manifests.line_checks import CheckedLine
from asyncfilter.datasets.manifests.line_form import DEFAULT_IMAGE_ATTRIBUTE, confidence_number, encode_line
from asyncfilter.datasets.manifests.model import METADATA, MULTI_LABEL_TYPE, ImageLabel
from asyncfilter.datasets.manifests.physical_lines import line_bytes
from asyncfilter.datasets.manifests.writing import Classes

_OWN_FIELDS = frozenset({"class-name", "confidence", "type", "class-map", "confidence-map"})


def multi_label_line(checked: CheckedLine, classes: Classes, attribute: str | None) -> bytes:
    """A line with all image-level labels in one attribute; other attributes stay, also in their order.

    Args:
        checked: A line that is not invalid.
        classes: Gives the numbers of labels; new ones are added.
        attribute: The name of the attribute; None for that of the first label without its number.
    """
    labels = list({label.name: label for label in reversed(checked.labels)}.values())[::-1]
    if not labels:
        return line_bytes(checked.line)
    image_level = {label.attribute for label in checked.labels}
    others = {name: value for name, value in checked.document.items() if name.removesuffix(METADATA) not in image_level}
    name = attribute or _free_name(labels[0], others)
    members = {name: [classes.add(label.name) for label in labels], name + METADATA: _metadata(labels, classes)}
    source_ref = next(iter(others.items())) if next(iter(others)) == "source-ref" else None
    head = {} if source_ref is None else dict([source_ref])
    return encode_line({**head, **members, **{key: value for key, value in others.items() if key not in members}})


def _free_name(label: ImageLabel, others: dict[str, Any]) -> str:
    name = label.attribute.rstrip("0123456789").rstrip("-") or DEFAULT_IMAGE_ATTRIBUTE
    return name if name not in others and name + METADATA not in others else label.attribute


def _metadata(labels: list[ImageLabel], classes: Classes) -> dict[str, Any]:
    first = labels[0].metadata
    numbers = classes.numbers
    by_people = all(label.metadata["human-annotated"] == "yes" for label in labels)
    in_order = sorted(labels, key=lambda label: numbers[label.name])
    return {
        "class-map": {str(numbers[label.name]): label.name for label in in_order},
        "confidence-map": {str(numbers[label.name]): confidence_number(label.confidence) for label in in_order},
        "type": MULTI_LABEL_TYPE,
        **{name: value for name, value in first.items() if name not in _OWN_FIELDS},
        "human-annotated": "yes" if by_people else "no",
    }
