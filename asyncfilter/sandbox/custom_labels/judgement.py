"""Judges one line of a manifest as the service does."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import msgspec

from asyncfilter.sandbox.custom_labels.limits import MAX_LINE_CHARS

_REF: Final = re.compile(r"s3://([0-9A-Za-z._-]{3,255})/(.+)", re.DOTALL)
IMAGE_TYPE: Final = "groundtruth/image-classification"
BOX_TYPE: Final = "groundtruth/object-detection"


class JudgedLine:
    """What the service finds in a line."""

    __slots__ = ("boxes", "document", "has_errors", "is_dropped", "labels", "line", "ref")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.document: dict[str, Any] = {}
        self.ref = ""
        self.is_dropped = False
        self.has_errors = False
        self.labels: list[str] = []
        self.boxes: list[str] = []

    def box_counts(self) -> Counter[str]:
        """The number of usable boxes of each label."""
        return Counter(self.boxes)


def judge(line: bytes) -> JudgedLine:
    """Judge a line."""
    judged = JudgedLine(line)
    try:
        document = msgspec.json.decode(line)
    except msgspec.DecodeError:
        judged.is_dropped = True
        return judged
    ref = document.get("source-ref") if isinstance(document, dict) else None
    if not isinstance(ref, str) or not _REF.fullmatch(ref) or len(line) > 4 * MAX_LINE_CHARS:
        judged.is_dropped = True
        return judged
    judged.document, judged.ref = document, ref
    for name, metadata in document.items():
        value = document.get(name.removesuffix("-metadata"))
        if not name.endswith("-metadata") or not isinstance(metadata, dict) or value is None:
            continue
        if metadata.get("type") == IMAGE_TYPE:
            judged.labels.append(str(metadata.get("class-name")))
        elif metadata.get("type") == BOX_TYPE:
            classes = metadata.get("class-map") or {}
            judged.boxes += [str(classes.get(str(box.get("class_id")))) for box in value.get("annotations", [])]
    return judged
