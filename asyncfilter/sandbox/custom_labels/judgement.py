"""One line of a manifest, judged as the service does.

Written apart from the product's own ``manifest validate``: a rule that one of them has wrong is found by their tests
against each other.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from enum import StrEnum
from typing import Any, Final, NoReturn

from asyncfilter.sandbox.custom_labels import messages
from asyncfilter.sandbox.custom_labels.limits import MAX_BOXES_OF_IMAGE, MAX_LABELS_OF_IMAGE, MAX_LINE_CHARS
from asyncfilter.sandbox.custom_labels.pairs import Box, Fault, Pair
from asyncfilter.sandbox.images import CUSTOM_LABELS

_REF: Final = re.compile(r"s3://([0-9A-Za-z._-]{3,255})/(.+)", re.DOTALL)
_MAX_KEY_BYTES: Final = 1024
_MAX_DEPTH: Final = 100
_SERVICE_KEYS: Final = frozenset(
    {"errors", "warnings", "cl-errors", "cl-metadata", "rekognition-custom-labels-object-id", "line-idx", "source-ref"}
)


class Fate(StrEnum):
    """What becomes of a line."""

    VALID = "valid"
    IGNORED = "ignored"
    INVALID = "invalid"
    DROPPED = "dropped"


class JudgedLine:
    """A line, judged.

    Attributes:
        line: As it is in the manifest.
        document: Its members; empty for a line that is no JSON object.
        ref: Its source-ref; empty for a line that is dropped.
        pairs: The attributes that have metadata.
        faults: Everything that is wrong.
        fate: What becomes of it.
    """

    __slots__ = ("document", "fate", "faults", "line", "pairs", "ref")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.document: dict[str, Any] = {}
        self.ref = ""
        self.pairs: list[Pair] = []
        self.faults: list[Fault] = []
        self.fate = Fate.VALID

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key of the image."""
        bucket, _, key = self.ref.removeprefix("s3://").partition("/")
        return bucket, key

    @property
    def labels(self) -> list[str]:
        """The image-level labels of a valid line."""
        return [pair.label for pair in self.pairs if pair.label] if self.fate is Fate.VALID else []

    @property
    def boxes(self) -> list[Box]:
        """The boxes of a valid line."""
        return [box for pair in self.pairs for box in pair.boxes] if self.fate is Fate.VALID else []

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height that the line gives for its image."""
        return next((pair.size for pair in self.pairs if pair.size is not None), None)

    @property
    def is_labeled(self) -> bool:
        """Whether somebody has labelled the image, soundly or not."""
        return any(pair.is_labeled for pair in self.pairs)

    @property
    def has_errors(self) -> bool:
        """Whether there is an error, not only a warning."""
        return any(fault.code.startswith("ERROR_") for fault in self.faults)

    def box_counts(self) -> Counter[str]:
        """The number of usable boxes of each label."""
        return Counter(box.label for box in self.boxes)

    def spoil(self, code: str, fate: Fate = Fate.INVALID) -> None:
        """Add an error of the whole line."""
        self.faults.append(Fault(code))
        if self.fate not in {Fate.DROPPED, Fate.INVALID}:
            self.fate = fate


def judge(line: bytes) -> JudgedLine:
    """Judge a line by itself; that its source-ref is repeated is for the caller to find."""
    judged = JudgedLine(line)
    document = _document(line)
    if document is None:
        judged.spoil(messages.INVALID_JSON, Fate.DROPPED)
        return judged
    judged.document = document
    if not _is_ref(document.get("source-ref")):
        code = messages.INVALID_REF if "source-ref" in document else messages.MISSING_REF
        judged.spoil(code, Fate.DROPPED)
        return judged
    judged.ref = document["source-ref"]
    judged.pairs = [
        Pair(name, value, document[f"{name}-metadata"])
        for name, value in document.items()
        if f"{name}-metadata" in document and name not in _SERVICE_KEYS
    ]
    for pair in judged.pairs:
        judged.faults += pair.faults
    _judge_pairs(judged)
    return judged


def _judge_pairs(judged: JudgedLine) -> None:
    """What follows for the line from its attributes.

    The guide has no code for too many image-level labels: the one of a line without valid attributes is used.
    """
    pairs = judged.pairs
    if not pairs:
        if judged.document.keys() <= _SERVICE_KEYS:
            judged.spoil(messages.UNANNOTATED, Fate.IGNORED)
        else:
            judged.spoil(messages.NO_ATTRIBUTES)
        return
    if not any(pair.is_usable for pair in pairs):
        if any(pair.annotations and pair.size for pair in pairs):
            judged.spoil(messages.NO_VALID_ANNOTATIONS)
        elif any(pair.is_empty for pair in pairs):
            judged.spoil(messages.NO_ANNOTATIONS, Fate.IGNORED)
        else:
            judged.spoil(messages.NO_VALID_ATTRIBUTES)
    if sum(pair.annotations for pair in pairs) > MAX_BOXES_OF_IMAGE:
        judged.spoil(messages.MANY_BOXES)
    if sum(bool(pair.label) for pair in pairs) > MAX_LABELS_OF_IMAGE:
        judged.spoil(messages.NO_VALID_ATTRIBUTES)
    for pair in pairs:
        if pair.given_size is not None and (code := size_fault(pair.given_size)):
            judged.spoil(code)


def size_fault(size: tuple[int, int]) -> str:
    """The code of what is wrong with the size of a boxed image; empty for nothing."""
    shorter, longer = sorted(size)
    if shorter < CUSTOM_LABELS.min_px or longer > CUSTOM_LABELS.max_px:
        return messages.DIMENSION
    return messages.INVALID_IMAGE if longer > (CUSTOM_LABELS.max_aspect or 0) * shorter else ""


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        text = line.decode()
        if len(text) > MAX_LINE_CHARS:
            return None
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    brackets = text.count("{") + text.count("[")
    return None if brackets > _MAX_DEPTH and _depth(document) > _MAX_DEPTH else document


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _is_ref(value: object) -> bool:
    found = _REF.fullmatch(value) if isinstance(value, str) else None
    try:
        return found is not None and len(found[2].encode()) <= _MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False
