"""The texts with which the service explains a failed dataset or training, and the codes that its guide gives them.

The service sends a text and no code (Custom Labels guide, *Debugging terminal dataset errors*, *Terminal manifest file
errors*, *Terminal manifest content errors*).
"""

from __future__ import annotations

import re

_CODE = re.compile(r"\b(?:ERROR|WARNING)_[A-Z0-9_]+\b")

_TEXTS: tuple[tuple[str, str], ...] = (
    ("manifest file extension or contents are invalid", "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"),
    ("manifest file is empty", "ERROR_EMPTY_MANIFEST"),
    ("manifest file size exceeds the maximum supported size", "ERROR_MANIFEST_SIZE_TOO_LARGE"),
    ("manifest file has too many rows", "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM"),
    ("permissions for the images s3 bucket are invalid", "ERROR_INVALID_PERMISSIONS_IMAGES_S3_BUCKET"),
    ("s3 bucket permissions are incorrect", "ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET"),
    ("unable to write to output s3 bucket", "ERROR_CANNOT_WRITE_OUTPUT_S3_BUCKET"),
    ("manifest file has too many terminal errors", "ERROR_TOO_MANY_RECORDS_IN_ERROR"),
    ("manifest file has too many labels", "ERROR_MANIFEST_TOO_MANY_LABELS"),
    ("manifest file has too few usable labels", "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS"),
    ("manifest file has too few labels", "ERROR_MANIFEST_TOO_FEW_LABELS"),
    ("enough labeled images to distribute the dataset", "ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_DISTRIBUTE"),
    ("images per label to perform auto-split", "ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT"),
    ("manifest file contains too many invalid rows", "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST"),
    ("manifest file contains images from multiple s3 buckets", "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"),
    ("invalid owner id for images s3 bucket", "ERROR_INVALID_IMAGES_S3_BUCKET_OWNER"),
    ("usable label overlap between the training and testing", "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP"),
    ("label overlap between the training and testing", "ERROR_INSUFFICIENT_LABEL_OVERLAP"),
    ("failed to copy images from s3 bucket", "ERROR_FAILED_IMAGES_S3_COPY"),
)
"""A part of each text in lower case, the longer of two that contain each other first; and its code."""


def code_of(message: str) -> str | None:
    """The service's code for one of its messages; None for a text that its guide does not list."""
    if named := _CODE.search(message):
        return named[0]
    text = " ".join(message.lower().split())
    return next((code for part, code in _TEXTS if part in text), None)
