"""Builds the body of a response from the labels of a picture: filters, order, encoding."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from asyncfilter.sandbox.answers.source import EncodedLabel, LabelSet

CACHED_ANSWERS: Final = 65_536


class LabelFilter(NamedTuple):
    """The filters of a request; empty filters keep all. Names are compared exactly, as the service does."""

    min_confidence_pct: float = 55.0
    max_labels: int = 1000
    general_labels: bool = True
    image_properties: bool = False
    names_in: frozenset[str] = frozenset()
    names_out: frozenset[str] = frozenset()
    categories_in: frozenset[str] = frozenset()
    categories_out: frozenset[str] = frozenset()

    def keeps(self, label: EncodedLabel) -> bool:
        """Whether a label passes the filters; ``max_labels`` is applied elsewhere."""
        if label.confidence_pct < self.min_confidence_pct:
            return False
        if label.name in self.names_out or not self.categories_out.isdisjoint(label.categories):
            return False
        if not self.names_in and not self.categories_in:
            return True
        return label.name in self.names_in or not self.categories_in.isdisjoint(label.categories)


class Labelling:
    """Encodes responses and caches up to ``CACHED_ANSWERS`` of them.

    Args:
        versions: ``LabelModelVersion`` by region, with "" for all others; without, that of the labels.
    """

    def __init__(self, versions: Mapping[str, str] | None = None) -> None:
        self._versions = versions or {}
        self._kept: dict[tuple[str, LabelFilter, str], bytes] = {}

    def labels_body(self, found: LabelSet, wanted: LabelFilter, etag: str, region: str = "") -> bytes:
        """The body of a DetectLabels response of a region."""
        version = self._versions.get(region) or self._versions.get("", "")
        if not found.identity or wanted.image_properties:
            return _labels_body(found, wanted, etag, version)
        name = (found.identity, wanted, version)
        body = self._kept.get(name)
        if body is None:
            body = _labels_body(found, wanted, etag, version)
            if len(self._kept) < CACHED_ANSWERS:
                self._kept[name] = body
        return body


def custom_labels_body(found: LabelSet, min_confidence_pct: float, max_results: int | None) -> bytes:
    """The body of a DetectCustomLabels response of an image-level model: names and confidences."""
    labels = [label for label in found.labels if label.confidence_pct >= min_confidence_pct][:max_results]
    rows = [{"Name": label.name, "Confidence": label.confidence_pct} for label in labels]
    return msgspec.json.encode({"CustomLabels": rows})


def _labels_body(found: LabelSet, wanted: LabelFilter, etag: str, version: str) -> bytes:
    rest = (_with_version(found.rest, version) if version else found.rest).strip()[1:-1]
    members = []
    if wanted.general_labels:
        kept = [label.json for label in found.labels if wanted.keeps(label)][: wanted.max_labels]
        members.append(b'"Labels":[' + b",".join(kept) + b"]")
    if wanted.image_properties:
        members.append(b'"ImageProperties":' + msgspec.json.encode(_image_properties(etag)))
    if rest:
        members.append(rest)
    return b"{" + b",".join(members) + b"}"


def _with_version(rest: bytes, version: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(rest), "LabelModelVersion": version})


@functools.lru_cache(maxsize=1024)
def _image_properties(etag: str) -> dict[str, Any]:
    """Invented properties in the service's format, a function of the picture's ETag."""
    shade = zlib.crc32(etag.encode())
    red, green, blue = shade & 255, shade >> 8 & 255, shade >> 16 & 255
    colour = {
        "Red": red,
        "Green": green,
        "Blue": blue,
        "HexCode": f"#{red:02x}{green:02x}{blue:02x}",
        "CSSColor": "gray",
        "SimplifiedColor": "grey",
        "PixelPercent": 100.0,
    }
    quality = {"Brightness": red / 2.56, "Sharpness": green / 2.56, "Contrast": blue / 2.56}
    part = {"Quality": {k: quality[k] for k in ("Brightness", "Sharpness")}, "DominantColors": [colour]}
    return {"Quality": quality, "DominantColors": [colour], "Foreground": part, "Background": part}
