"""What rows and files without a label, and rows that cannot be used, mean to the writers of manifests."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from asyncfilter.datasets.limits import MAX_LABELS_OF_IMAGE
from asyncfilter.datasets.manifests.writing import Classes


class Unlabelled(StrEnum):
    """What happens to an image without a label."""

    ERROR = "error"
    """It is rejected."""
    SKIP = "skip"
    """It is left out and counted."""
    KEEP = "keep"
    """It becomes a line without labels."""


class RowCode(StrEnum):
    """Why a row, or a file, is rejected."""

    NOT_S3_URI = "NOT_S3_URI"
    NO_IMAGE = "NO_IMAGE"
    NO_LABEL = "NO_LABEL"
    LABEL_TOO_LONG = "LABEL_TOO_LONG"
    TOO_MANY_LABELS = "TOO_MANY_LABELS"
    BAD_NUMBER = "BAD_NUMBER"
    BAD_BOX = "BAD_BOX"
    SIZE_DIFFERS = "SIZE_DIFFERS"
    TOO_MANY_BOXES = "TOO_MANY_BOXES"
    UNKNOWN_CLASS = "UNKNOWN_CLASS"
    UNREADABLE = "UNREADABLE"
    """A file or folder that may not be looked at."""
    NAME_NOT_UTF8 = "NAME_NOT_UTF8"
    """A file whose name no key can have."""


class RowSink(Protocol):
    """A destination of rows, such as those that are rejected."""

    def write(self, cells: Sequence[str], /) -> object:
        """Write one row."""
        ...


def labels_problem(labels: Sequence[str], classes: Classes) -> RowCode | None:
    """Why the labels of an image cannot be used; None when they can."""
    found = next((code for label in labels if (code := classes.problem(label)) is not None), None)
    if found is not None:
        return RowCode(found)
    return RowCode.TOO_MANY_LABELS if len(labels) > MAX_LABELS_OF_IMAGE else None
