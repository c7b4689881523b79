"""Lines with what the service adds to them: errors where they belong, and whether the image is labelled."""

from __future__ import annotations

import copy
import json
from typing import Any, Final, NamedTuple

from asyncfilter.sandbox.custom_labels.judgement import JudgedLine, judge
from asyncfilter.sandbox.custom_labels.messages import LINE_MESSAGES
from asyncfilter.sandbox.custom_labels.pairs import Fault


class Keys(NamedTuple):
    """The names of what is added."""

    errors: str
    warnings: str


DATASET_KEYS: Final = Keys("cl-errors", "cl-warnings")
"""Those in entries of a dataset, as in the guide's newer example."""
TRAINING_KEYS: Final = Keys("errors", "warnings")
"""Those in the validation manifests of a training, as in the guide's reference."""


def listed(line: bytes) -> str:
    """An entry as ListDatasetEntries returns it."""
    judged = judge(line)
    document = annotated(judged, DATASET_KEYS)
    document.setdefault("cl-metadata", {"is_labeled": judged.is_labeled})
    return encoded(document)


def annotated(judged: JudgedLine, keys: Keys) -> dict[str, Any]:
    """The members of a line, with its errors and warnings; a line that is no JSON object has only its errors."""
    if not judged.faults:
        return dict(judged.document)
    document = copy.deepcopy(judged.document)
    for fault in judged.faults:
        place = _place(document, fault)
        name = keys.errors if fault.code.startswith("ERROR_") else keys.warnings
        message = LINE_MESSAGES[fault.code].format(name=fault.name)
        held = place.setdefault(name, [])
        if isinstance(held, list):
            held.append({"code": fault.code, "message": message})
    return document


def encoded(document: dict[str, Any]) -> str:
    """A line of JSON, without its end."""
    return json.dumps(document, separators=(",", ":"))


def _place(document: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Where an error belongs, or the nearest object around it."""
    value, metadata = document.get(fault.name), document.get(f"{fault.name}-metadata")
    if fault.box is not None and isinstance(value, dict):
        found: dict[str, Any] = value["annotations"][fault.box]
        return found
    if not fault.is_metadata and isinstance(value, dict):
        return value
    return metadata if fault.name and isinstance(metadata, dict) else document
