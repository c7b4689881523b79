"""What can be repaired in one line: defaults that metadata lack, and boxes that are not whole pixels in the frame."""

from __future__ import annotations

import copy
import re
from math import ceil, floor
from typing import Any

from asyncfilter.datasets.manifests.attribute_checks import box_problems, is_sound_annotation, size_of
from asyncfilter.datasets.manifests.model import BOX_TYPE, IMAGE_TYPE, METADATA, ImageSize, PixelBox
from asyncfilter.datasets.manifests.multi_label import turned
from asyncfilter.datasets.manifests.pixels import box_of_edges, is_too_small

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")
_SIDES = ("left", "top", "width", "height")


def repaired(document: dict[str, Any], creation_date: str) -> dict[str, Any]:
    """A copy of a line with everything repaired that can be; what cannot is left as it is.

    Args:
        document: The line.
        creation_date: For metadata that have none.

    Raises:
        BadMultiLabelError: A multi-label attribute cannot be turned.
    """
    members = turned(copy.deepcopy(document))
    for name in list(members):
        metadata = members.get(name + METADATA)
        kind = metadata.get("type") if isinstance(metadata, dict) else None
        if metadata is None or not isinstance(kind, str) or kind not in {IMAGE_TYPE, BOX_TYPE}:
            continue
        if kind == IMAGE_TYPE:
            members[name] = _whole(members[name])
            _set_missing(metadata, "confidence", 1)
        elif isinstance(members[name], dict):
            _repair_boxes(members[name], metadata)
        _set_missing(metadata, "human-annotated", "no")
        _set_missing(metadata, "creation-date", creation_date)
    return members


def _set_missing(metadata: dict[str, Any], name: str, value: object) -> None:
    if metadata.get(name) is None:
        metadata[name] = value


def _whole(value: object) -> object:
    """A whole number that is written as text, or with decimals, as such."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _repair_boxes(value: dict[str, Any], metadata: dict[str, Any]) -> None:
    annotations = value.get("annotations")
    if not isinstance(annotations, list):
        return
    _set_missing(metadata, "objects", [])
    objects = metadata["objects"]
    if not isinstance(objects, list):
        return
    objects += [{} for _ in annotations[len(objects) :]]
    for entry in objects:
        if isinstance(entry, dict):
            _set_missing(entry, "confidence", 1)
    size = size_of(value.get("image_size"))
    if size is None:
        return
    kept = [index for index, annotation in enumerate(annotations) if _repair_box(annotation, size)]
    if not kept:
        return  # it had boxes, none can be used: the attribute is broken, not empty
    value["annotations"] = [annotations[index] for index in kept]
    metadata["objects"] = [objects[index] for index in kept] + objects[len(annotations) :]


def _repair_box(annotation: Any, size: ImageSize) -> bool:  # noqa: ANN401  JSON
    """Put a box into whole pixels of the frame; returns False for one that cannot be used."""
    if not is_sound_annotation(annotation):
        return True  # it is no box, and its attribute cannot be used
    left, top, width, height = (annotation[side] for side in _SIDES)
    if width < 0 or height < 0:
        return False
    is_whole = all(annotation[side] == int(annotation[side]) for side in _SIDES)
    if not is_whole or next(box_problems(annotation, size), None) is not None:
        edges = {"left": left, "top": top, "right": left + width, "bottom": top + height}
        box = box_of_edges("", size, **edges)
        if is_too_small(box.width, box.height, size):  # it may have been large enough before
            box = _widened(edges, size)
        annotation |= {side: getattr(box, side) for side in _SIDES}
    return next(box_problems(annotation, size), None) is None


def _widened(edges: dict[str, float], size: ImageSize) -> PixelBox:
    """The smallest box of whole pixels around the part of a box that is in the frame."""
    return box_of_edges(
        "",
        size,
        left=floor(edges["left"]),
        top=floor(edges["top"]),
        right=ceil(edges["right"]),
        bottom=ceil(edges["bottom"]),
    )
