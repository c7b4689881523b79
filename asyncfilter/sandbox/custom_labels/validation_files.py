"""The files of a training that judge its manifests: they are written for a failed training, too.

Forms: Custom Labels guide, *Getting the validation results*, *Understanding the manifest summary*.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from asyncfilter.sandbox.custom_labels.annotation import TRAINING_KEYS, annotated, encoded
from asyncfilter.sandbox.custom_labels.material import Material, content_error


def pretty(document: dict[str, Any]) -> bytes:
    """A document as JSON for people."""
    return json.dumps(document, indent=2).encode()


def json_lines(documents: Sequence[dict[str, Any]]) -> bytes:
    """Documents as JSON Lines."""
    return "".join(f"{encoded(document)}\n" for document in documents).encode()


def validation_manifest(material: Material) -> bytes:
    """A copy of a manifest with the errors of each line."""
    return json_lines([annotated(line, TRAINING_KEYS) for line in material.lines])


def manifest_summary(train: Material, test: Material | None, codes: Sequence[str]) -> bytes:
    """The summary of both manifests; ``codes`` are errors that concern both."""
    statistics = {"training": train.statistics()}
    if test is not None:
        statistics["testing"] = test.statistics()
    return pretty({"statistics": statistics, "errors": [content_error(code) for code in codes]})
