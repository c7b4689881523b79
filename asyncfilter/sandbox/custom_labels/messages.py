"""The service's codes of errors in manifests, and its messages (Custom Labels guide, *Debugging a failed training*)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NO_ATTRIBUTES: Final = "ERROR_NO_LABEL_ATTRIBUTES"
FORMAT: Final = "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT"
METADATA_FORMAT: Final = "ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT"
NO_VALID_ATTRIBUTES: Final = "ERROR_NO_VALID_LABEL_ATTRIBUTES"
UNSUPPORTED_TYPE: Final = "ERROR_UNSUPPORTED_USE_CASE_TYPE"
NAME_LENGTH: Final = "ERROR_INVALID_LABEL_NAME_LENGTH"
MISSING_CONFIDENCE: Final = "ERROR_MISSING_BOUNDING_BOX_CONFIDENCE"
MISSING_CLASS: Final = "ERROR_MISSING_CLASS_MAP_ID"
INVALID_IMAGE: Final = "ERROR_INVALID_IMAGE"
DIMENSION: Final = "ERROR_INVALID_IMAGE_DIMENSION"
INVALID_BOX: Final = "ERROR_INVALID_BOUNDING_BOX"
SMALL_BOX: Final = "ERROR_BOUNDING_BOX_TOO_SMALL"
MANY_BOXES: Final = "ERROR_TOO_MANY_BOUNDING_BOXES"
NO_VALID_ANNOTATIONS: Final = "ERROR_NO_VALID_ANNOTATIONS"
INVALID_JSON: Final = "ERROR_INVALID_JSON_LINE"
UNANNOTATED: Final = "WARNING_UNANNOTATED_RECORD"
NO_ANNOTATIONS: Final = "WARNING_NO_ANNOTATIONS"
NO_ATTRIBUTE_ANNOTATIONS: Final = "WARNING_NO_ATTRIBUTE_ANNOTATIONS"
MISSING_REF: Final = "ERROR_MISSING_SOURCE_REF"
INVALID_REF: Final = "ERROR_INVALID_SOURCE_REF_FORMAT"

LINE_MESSAGES: Final[Mapping[str, str]] = {
    NO_ATTRIBUTES: "No label attributes found.",
    FORMAT: "The format of the label attribute {name} is invalid.",
    METADATA_FORMAT: "The format of the label attribute metadata is invalid.",
    NO_VALID_ATTRIBUTES: "No valid label attributes found.",
    UNSUPPORTED_TYPE: "The use case type of the {name}-metadata label attribute metadata is unsupported. "
    "Check the type field.",
    NAME_LENGTH: "The length of the label name is too long.",
    MISSING_CONFIDENCE: "One or more bounding boxes has a missing confidence value.",
    MISSING_CLASS: "One of more class ids is missing from the class map.",
    INVALID_IMAGE: "The image is invalid. Check S3 path and/or image properties.",
    DIMENSION: "The image dimension(s) do not conform to allowed dimensions.",
    INVALID_BOX: "The bounding box has off frame values.",
    SMALL_BOX: "The height and width of the bounding box is too small.",
    MANY_BOXES: "There are more bounding boxes than the allowed maximum.",
    NO_VALID_ANNOTATIONS: "No valid annotations found.",
    INVALID_JSON: "The JSON Line has an invalid format.",
    UNANNOTATED: "Record is unannotated.",
    NO_ANNOTATIONS: "No annotations were found.",
    NO_ATTRIBUTE_ANNOTATIONS: "No attribute annotations were found.",
    MISSING_REF: "The source-ref key is missing.",
    INVALID_REF: "The format of the source-ref value is invalid.",
}

EMPTY: Final = "The manifest file is empty."
TOO_LARGE: Final = "The manifest file size exceeds the maximum supported size."
TOO_MANY_ROWS: Final = "The manifest file has too many rows."
TOO_MANY_ERRORS: Final = "The manifest file has too many terminal errors."
TOO_MANY_LABELS: Final = "The manifest file has too many labels."
NO_EXTENSION: Final = "The manifest file extension or contents are invalid."
NO_PERMISSION: Final = "The S3 bucket permissions are incorrect."
NO_OUTPUT: Final = "Unable to write to output S3 bucket."
TOO_FEW_TO_DISTRIBUTE: Final = "The manifest file doesn't have enough labeled images to distribute the dataset."

CONTENT_MESSAGES: Final[Mapping[str, str]] = {
    "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST": "The manifest file contains too many invalid rows.",
    "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS": "The manifest file contains images from multiple S3 buckets.",
    "ERROR_INVALID_PERMISSIONS_IMAGES_S3_BUCKET": "The permissions for the images S3 bucket are invalid.",
    "ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT": "The manifest file contains insufficient labeled images per "
    "label to perform auto-split.",
    "ERROR_MANIFEST_TOO_FEW_LABELS": "The manifest file has too few labels.",
    "ERROR_MANIFEST_TOO_MANY_LABELS": "The manifest file has too many labels.",
    "ERROR_INSUFFICIENT_LABEL_OVERLAP": "Less than 50% label overlap between the training and testing manifest files.",
    "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS": "The manifest file has too few usable labels.",
    "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP": "Less than 50% usable label overlap between the training and testing "
    "manifest files.",
    "ERROR_FAILED_IMAGES_S3_COPY": "Failed to copy images from S3 bucket.",
    "ERROR_TOO_MANY_RECORDS_IN_ERROR": TOO_MANY_ERRORS,
    "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM": TOO_MANY_ROWS,
}
"""Errors in the contents of a manifest, which end a training and stand in its manifest summary."""
