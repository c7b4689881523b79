"""Everything that can be wrong with a manifest, as one table, and a finding in a file.

Codes that begin with ``ERROR_`` or ``WARNING_`` are the service's own, with its meaning (Custom Labels guide,
*Debugging a failed model training*); all others are of this program. The order of the table is that of
findings in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from asyncfilter.printable import printable


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Consequence(StrEnum):
    """What the service does because of a finding."""

    FATAL = "fatal"
    """The file is of no use."""
    DROPPED = "dropped"
    """The line is dropped when a dataset is made of it, without a word."""
    INVALID = "invalid"
    """The line is not used, and counts among the invalid ones."""
    PART = "part"
    """An attribute or a box of the line is not used."""
    IGNORED = "ignored"
    """The line or the attribute is not used, and does not count as invalid."""
    NONE = "none"


class Scope(StrEnum):
    """What a finding is about."""

    FILE = "file"
    LINE = "line"
    ATTRIBUTE = "attribute"
    METADATA = "metadata"
    ANNOTATION = "annotation"


class CodeFacts(NamedTuple):
    """What holds for all findings of one code."""

    severity: Severity
    effect: Consequence
    hint: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found in a file.

    Attributes:
        line: From 1; None for the file as a whole.
        attribute: Name of the attribute that it is about; None where it is about none.
        index: Number of the box in it, from 0; None where it is about none.
        message: What is wrong, with the value seen.
        hint: What to do.
    """

    line: int | None
    code: str
    severity: Severity
    effect: Consequence
    scope: Scope
    attribute: str | None
    index: int | None
    message: str
    hint: str

    def __str__(self) -> str:
        text = f"{self.severity} {self.code}: {printable(self.message)}"
        return text if self.line is None else f"{self.line}: {text}"


_MAX_CHARS = 1000
"""Of a message: names in a manifest may be as long as its lines."""


def finding(
    code: str,
    message: str,
    *,
    line: int | None = None,
    scope: Scope = Scope.LINE,
    attribute: str | None = None,
    index: int | None = None,
    severity: Severity | None = None,
    effect: Consequence | None = None,
    hint: str | None = None,
) -> Finding:
    """A finding of one code; severity, effect and hint are those of the table unless they are given."""
    facts = CODES[code]
    return Finding(
        line=line,
        code=code,
        severity=severity or facts.severity,
        effect=effect or facts.effect,
        scope=scope,
        attribute=attribute,
        index=index,
        message=message if len(message) <= _MAX_CHARS else f"{message[:_MAX_CHARS]}…",
        hint=hint or facts.hint,
    )


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTICE
_C = Consequence

CODES: Mapping[str, CodeFacts] = {
    # Lines that the service drops without a word.
    "ERROR_INVALID_JSON_LINE": CodeFacts(
        _E, _C.DROPPED, "Write one JSON object a line, in UTF-8 without a byte order mark."
    ),
    "BLANK_LINE": CodeFacts(_W, _C.DROPPED, "Remove the line."),
    "LINE_TOO_LONG": CodeFacts(_E, _C.DROPPED, "Keep a line within 100,000 characters."),
    "ERROR_MISSING_SOURCE_REF": CodeFacts(_E, _C.DROPPED, 'Add "source-ref": "s3://BUCKET/KEY".'),
    "ERROR_INVALID_SOURCE_REF_FORMAT": CodeFacts(
        _E, _C.DROPPED, "Write s3://BUCKET/KEY, with s3 in lower case and the key as it is, not encoded."
    ),
    "REPEATED_SOURCE_REF": CodeFacts(
        _E, _C.DROPPED, "Keep one line for each image; manifest merge unites their labels."
    ),
    # Lines and attributes that training does not use.
    "WARNING_UNANNOTATED_RECORD": CodeFacts(_W, _C.IGNORED, "Label the image, or remove the line."),
    "ERROR_NO_LABEL_ATTRIBUTES": CodeFacts(
        _E, _C.INVALID, "Give the line an attribute and its metadata, under NAME and NAME-metadata."
    ),
    "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT": CodeFacts(
        _E, _C.PART, "Write a whole number for an image-level label, or an object with image_size and annotations."
    ),
    "ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT": CodeFacts(
        _E, _C.PART, "Add the missing fields to the metadata; manifest validate --fix adds those that have a default."
    ),
    "ERROR_UNSUPPORTED_USE_CASE_TYPE": CodeFacts(
        _E, _C.PART, "Use groundtruth/image-classification or groundtruth/object-detection."
    ),
    "ERROR_INVALID_LABEL_NAME_LENGTH": CodeFacts(_E, _C.PART, "Shorten the label to 255 characters."),
    "ERROR_MISSING_BOUNDING_BOX_CONFIDENCE": CodeFacts(
        _E, _C.PART, "Give objects one entry with a confidence for each box, in the order of the annotations."
    ),
    "ERROR_MISSING_CLASS_MAP_ID": CodeFacts(_E, _C.PART, "Add the class_id to class-map."),
    "ERROR_NO_VALID_LABEL_ATTRIBUTES": CodeFacts(_E, _C.INVALID, "Correct the attributes of this line."),
    "ERROR_INVALID_IMAGE_DIMENSION": CodeFacts(
        _E, _C.INVALID, "Scale the image and its boxes to 64 to 4,096 px a side."
    ),
    "ERROR_INVALID_IMAGE": CodeFacts(
        _E, _C.INVALID, "Use a JPEG or PNG of at most 15 MB, 64 to 4,096 px a side and 20:1, that can be read."
    ),
    "ERROR_INVALID_BOUNDING_BOX": CodeFacts(_E, _C.PART, "Keep the box inside of the image."),
    "ERROR_BOUNDING_BOX_TOO_SMALL": CodeFacts(_E, _C.PART, "Remove the box, or draw it larger."),
    "ERROR_NO_VALID_ANNOTATIONS": CodeFacts(_E, _C.INVALID, "Correct the boxes of this line."),
    "ERROR_TOO_MANY_BOUNDING_BOXES": CodeFacts(_E, _C.INVALID, "Keep at most 50 boxes an image."),
    "TOO_MANY_LABELS": CodeFacts(_E, _C.INVALID, "Keep at most 50 labels an image."),
    "WARNING_NO_ATTRIBUTE_ANNOTATIONS": CodeFacts(_W, _C.IGNORED, "Draw boxes, or remove the attribute."),
    "WARNING_NO_ANNOTATIONS": CodeFacts(_W, _C.IGNORED, "Draw boxes, or remove the line."),
    "IMAGE_SIZE_MISMATCH": CodeFacts(
        _E, _C.PART, "Correct image_size to the size of the upright image, and check that the boxes are for it."
    ),
    # What the service does not mind, and people should.
    "FRACTIONAL_PIXELS": CodeFacts(_W, _C.NONE, "Round the boxes to whole pixels; manifest validate --fix does."),
    "BAD_ATTRIBUTE_NAME": CodeFacts(
        _W, _C.NONE, "Rename the attribute: no -metadata in it, no -ref at its end, no $ first."
    ),
    "DUPLICATE_KEY": CodeFacts(_W, _C.NONE, "Use each key once in an object: only the last one holds."),
    "MIXED_USE_CASES": CodeFacts(
        _W, _C.NONE, "Use either image-level labels or boxes: a model is trained for one of them."
    ),
    "SIMILAR_LABELS": CodeFacts(_W, _C.NONE, "Write a label in one way; these are different labels."),
    "FEW_IMAGES": CodeFacts(_W, _C.NONE, "Add images of this label; at least 10 are advised."),
    "UNPAIRED_KEY": CodeFacts(_N, _C.NONE, "Give the key its partner, or remove it; it is not used."),
    "ATTRIBUTE_TOO_LONG": CodeFacts(_N, _C.NONE, "Keep an attribute within 20,000 characters."),
    "DUPLICATE_LABEL": CodeFacts(_N, _C.NONE, "Give an image each label once."),
    # The file as a whole.
    "ERROR_EMPTY_MANIFEST": CodeFacts(_E, _C.FATAL, "Write at least one line."),
    "ERROR_MANIFEST_SIZE_TOO_LARGE": CodeFacts(_E, _C.FATAL, "Keep the manifest within 1 GiB."),
    "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM": CodeFacts(_E, _C.FATAL, "Use fewer images, or ask AWS to raise the limit."),
    "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST": CodeFacts(_E, _C.FATAL, "Correct or remove the invalid lines."),
    "ERROR_TOO_MANY_RECORDS_IN_ERROR": CodeFacts(_E, _C.FATAL, "Correct or remove the lines that are dropped."),
    "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS": CodeFacts(_E, _C.FATAL, "Copy the images to one bucket."),
    "ERROR_MANIFEST_TOO_MANY_LABELS": CodeFacts(_E, _C.FATAL, "Use at most 250 labels."),
    "ERROR_MANIFEST_TOO_FEW_LABELS": CodeFacts(
        _E, _C.FATAL, "Use at least two image-level labels, or one label with boxes."
    ),
    "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS": CodeFacts(
        _E, _C.FATAL, "Use at least two image-level labels, or one label with boxes, in lines of one kind."
    ),
    "ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT": CodeFacts(
        _E, _C.FATAL, "Add images of this label, or split with asyncfilter manifest split."
    ),
    "ERROR_INSUFFICIENT_LABEL_OVERLAP": CodeFacts(
        _E, _C.FATAL, "Have at least half of the training labels in the test manifest, too."
    ),
    "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP": CodeFacts(
        _E, _C.FATAL, "Have at least half of the labels that are trained in the test manifest, too."
    ),
    "SHARED_IMAGES": CodeFacts(_W, _C.NONE, "Test with other images than those that are trained with."),
    "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT": CodeFacts(_E, _C.FATAL, "Name a manifest that is there."),
    "ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET": CodeFacts(_E, _C.FATAL, "Allow s3:GetObject on the manifest."),
}
"""Every code."""

RANKS: Mapping[str, int] = {code: rank for rank, code in enumerate(CODES)}
"""The place of each code in the order of findings."""
