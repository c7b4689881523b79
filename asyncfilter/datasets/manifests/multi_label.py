"""SageMaker's own lines with several labels, turned into the image-level labels that Custom Labels takes.

``A: [ids]`` becomes ``A0``, ``A1``, ... with ``class-name`` from ``class-map`` and ``confidence`` from
``confidence-map``. AWS's published script leaves the multi-label ``type`` in, which its own rules refuse.
"""

from __future__ import annotations

from typing import Any

from asyncfilter.datasets.manifests.model import IMAGE_TYPE, METADATA, MULTI_LABEL_TYPE

_OWN_FIELDS = frozenset({"class-map", "confidence-map", "type", "class-name", "confidence"})


class BadMultiLabelError(Exception):
    """A multi-label attribute cannot be turned; the message says why."""


def is_multi_label(metadata: object) -> bool:
    """Whether metadata is that of a multi-label attribute."""
    return isinstance(metadata, dict) and metadata.get("type") == MULTI_LABEL_TYPE


def turned(document: dict[str, Any]) -> dict[str, Any]:
    """A line with each multi-label attribute turned; the other members keep their order. An empty list leaves none.

    Raises:
        BadMultiLabelError: An attribute is no list of ids, an id has no class, or the new name is in use.
    """
    result: dict[str, Any] = {}
    pairs = {name for name in document if is_multi_label(document.get(name + METADATA))}
    for name, value in document.items():
        if name in pairs:
            for key, member in _members(name, value, document[name + METADATA]).items():
                if key in document or key in result:
                    raise BadMultiLabelError(f"{key!r} is in the line already")
                result[key] = member
        elif name.removesuffix(METADATA) not in pairs:
            result[name] = value
    return result


def _members(name: str, ids: object, metadata: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(ids, list):
        raise BadMultiLabelError(f"{name} is no list")
    classes, confidences = metadata.get("class-map"), metadata.get("confidence-map")
    others = {key: value for key, value in metadata.items() if key not in _OWN_FIELDS}
    members: dict[str, Any] = {}
    for number, class_id in enumerate(ids):
        label = classes.get(str(class_id)) if isinstance(classes, dict) and type(class_id) is int else None
        if not isinstance(label, str):
            raise BadMultiLabelError(f"{name}: class {class_id!r} is not in class-map")
        confidence = confidences.get(str(class_id), 0) if isinstance(confidences, dict) else 0
        members[f"{name}{number}"] = 1
        members[f"{name}{number}{METADATA}"] = {
            "class-name": label,
            "confidence": confidence,
            "type": IMAGE_TYPE,
            **others,
        }
    return members
