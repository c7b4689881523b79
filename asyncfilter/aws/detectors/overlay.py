"""The fields of a response that ``Detection`` does not model, as a JSON overlay on the detection.

``Detection.extra`` holds the overlay. An object in the response is an object in the overlay; a list is an object from
index to the remaining fields of that element. ``{"Labels": {"0": {"Instances": {"1": {"DominantColors": […]}}}}}``
means that the second instance of the first label had dominant colours. Nulls and empty lists are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = Any
"""Anything that JSON can hold."""


def modelled(value: Json, known: Mapping[str, Json] | None) -> Json:
    """``value`` reduced to the known fields; nulls are left out."""
    if known is None:
        return value
    if isinstance(value, list):
        return [modelled(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: modelled(value[name], known[name]) for name in known if value.get(name) is not None}


def left_over(value: Json, known: Mapping[str, Json] | None) -> Json:
    """The fields that ``modelled`` leaves out, as an overlay; empty when there are none."""
    if known is None:
        return {}
    if isinstance(value, list):
        rests = {str(index): left_over(item, known) for index, item in enumerate(value)}
        return {index: rest for index, rest in rests.items() if rest}
    if not isinstance(value, dict):
        return {}
    overlay = {}
    for name, item in value.items():
        rest = left_over(item, known[name]) if name in known else item
        if rest not in (None, [], {}):
            overlay[name] = rest
    return overlay


def encode_extra(overlay: Mapping[str, Any]) -> bytes:
    """The JSON of an overlay; empty for an empty overlay."""
    return msgspec.json.encode(overlay) if overlay else b""
