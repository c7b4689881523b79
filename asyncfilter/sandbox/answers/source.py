"""The labels of a picture, and the protocol of the sources that provide them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An image to be labelled; bucket and key are empty when its bytes came with the request."""

    bucket: str
    key: str
    body: bytes
    etag: str


class Box(msgspec.Struct, rename="pascal", gc=False):
    """A bounding box, in fractions of the image."""

    width: float
    height: float
    left: float
    top: float


class Instance(msgspec.Struct, gc=False):
    """One occurrence of a label in the image; ``confidence`` in percent."""

    box: Box = msgspec.field(name="BoundingBox")
    confidence: float = msgspec.field(name="Confidence")


class Name(msgspec.Struct, rename="pascal", gc=False):
    """A name in a list of names."""

    name: str


class Label(msgspec.Struct, rename="pascal", omit_defaults=False, gc=False):
    """A label in the form of a DetectLabels response (model 3.0)."""

    name: str
    confidence: float
    instances: list[Instance] = []
    parents: list[Name] = []
    aliases: list[Name] = []
    categories: list[Name] = []


class EncodedLabel(msgspec.Struct, frozen=True, gc=False):
    """A label encoded as JSON, and the values that filters compare."""

    name: str
    confidence_pct: float
    categories: tuple[str, ...]
    json: bytes


class LabelSet(msgspec.Struct, frozen=True, gc=False):
    """The labels of a picture, before the request's filters.

    Attributes:
        labels: By falling confidence.
        identity: Equal for equal answers, so that their encoding can be cached; empty when it must not be cached.
        rest: Further members of the response, LabelModelVersion among them, as a JSON object.
    """

    labels: tuple[EncodedLabel, ...]
    identity: str = ""
    rest: bytes = b'{"LabelModelVersion":"3.0"}'


def encode_label(label: Label) -> EncodedLabel:
    """Encode a label."""
    categories = tuple(category.name for category in label.categories)
    return EncodedLabel(label.name, label.confidence, categories, msgspec.json.encode(label))


def keep_label(raw: dict[str, Any]) -> EncodedLabel:
    """Encode a label read from a file, all members unchanged.

    Raises:
        ValueError: If the name or the confidence is missing.
    """
    try:
        name, confidence = str(raw["Name"]), float(raw["Confidence"])
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"a label needs Name and Confidence: {raw!r:.200}") from exc
    categories = tuple(str(category.get("Name")) for category in raw.get("Categories") or ())
    return EncodedLabel(name, confidence, categories, msgspec.json.encode(raw))


class AnswerSource(Protocol):
    """Provides the labels of pictures."""

    slow: bool
    """True when ``labels`` should run in a thread."""

    def labels(self, picture: Picture) -> LabelSet:
        """The labels of one picture; a function of the picture alone.

        Raises:
            ServiceError: If the service would refuse this picture.
        """
        ...
