"""Labels from the name of an object's folder, with seeded noise.

The answer is a function of seed and ``bucket/key``. Each folder has ``VARIANTS`` answers, and a hash of the key selects
one of them. Encoded answers can therefore be cached, and a rate is exact to a thousandth over many keys.
"""

from __future__ import annotations

import functools
import random
import zlib
from typing import Final, NamedTuple

from asyncfilter.onnx.label_names import label_name
from asyncfilter.sandbox.answers.source import Box, Instance, Label, LabelSet, Name, Picture, encode_label
from asyncfilter.sandbox.answers.taxonomy import category_of, parents_of

VARIANTS: Final = 2048
_SCENERY: Final = ("Outdoors", "Nature", "Grass", "Plant", "Wood", "Sky", "Indoors", "Furniture")
_STRANGERS: Final = ("Cat", "Car", "Duck", "Flower", "Squirrel", "Boat", "Owl", "Dog")


class Noise(NamedTuple):
    """How labels differ from the folder's name; rates are shares of the images, 0 to 1.

    Attributes:
        false_negative: The folder's label is replaced by an unrelated one.
        false_positive: An unrelated label is added to the folder's label.
        person: The label Person is added.
        unsure: The folder's label has a confidence of 30 to 85 percent instead of its usual one.
        low_pct, high_pct: Range of the usual confidence.
    """

    false_negative: float = 0.05
    false_positive: float = 0.02
    person: float = 0.05
    unsure: float = 0.08
    low_pct: float = 88.0
    high_pct: float = 99.9


class FolderAnswers:
    """An ``AnswerSource``: labels by folder name."""

    slow = False

    def __init__(self, noise: Noise | None = None, seed: int = 0) -> None:
        self._noise = Noise() if noise is None else noise
        self._seed = seed
        self._variant = functools.lru_cache(maxsize=64 * VARIANTS)(self._draw)

    def labels(self, picture: Picture) -> LabelSet:
        """See ``AnswerSource``."""
        folder = picture.key.rpartition("/")[0].rpartition("/")[2]
        text = f"{self._seed} {picture.bucket}/{picture.key or picture.etag}".encode("utf-8", "surrogateescape")
        return self._variant(folder, (zlib.crc32(text) * 0x9E3779B1 >> 16) % VARIANTS)

    def _draw(self, folder: str, variant: int) -> LabelSet:
        chance, noise = random.Random(f"{self._seed} {folder} {variant}"), self._noise
        name = label_name(folder)
        stranger = chance.choice([other for other in _STRANGERS if other != name])
        unsure = chance.random() < noise.unsure
        confidence = chance.uniform(30, 85) if unsure else chance.uniform(noise.low_pct, noise.high_pct)
        found: dict[str, float] = {}
        missing = chance.random() < noise.false_negative
        if missing or not name:
            found[stranger] = chance.uniform(60, 99)
        else:
            found[name] = confidence
            if chance.random() < noise.false_positive:
                found[stranger] = chance.uniform(55, 90)
        if chance.random() < noise.person:
            found["Person"] = chance.uniform(70, 99.9)
        for scenery in chance.sample(_SCENERY, 2):
            found.setdefault(scenery, chance.uniform(20, 95))
        labels = tuple(encode_label(label) for label in build_labels(found, chance))
        return LabelSet(labels, identity=f"{folder}/{variant}")


def build_labels(found: dict[str, float], chance: random.Random) -> list[Label]:
    """Labels and, as separate labels, their ancestors, by falling confidence.

    Found animals, people and vehicles get a bounding box.
    """
    confidences = dict(found)
    for name, confidence in found.items():
        for parent in parents_of(name):
            confidences[parent] = max(confidence, confidences.get(parent, 0.0))
    labels = [_label(name, confidence, chance, seen=name in found) for name, confidence in confidences.items()]
    return sorted(labels, key=lambda label: -label.confidence)


def _label(name: str, confidence: float, chance: random.Random, *, seen: bool) -> Label:
    category = category_of(name)
    boxed = seen and category in {"Animals and Pets", "Person Description", "Vehicles and Automotive"}
    return Label(
        name=name,
        confidence=round(confidence, 8),
        instances=[_instance(confidence, chance)] if boxed else [],
        parents=[Name(parent) for parent in parents_of(name)],
        categories=[Name(category)] if category else [],
    )


def _instance(confidence: float, chance: random.Random) -> Instance:
    width, height = chance.uniform(0.2, 0.7), chance.uniform(0.2, 0.7)
    box = Box(width=width, height=height, left=chance.uniform(0, 1 - width), top=chance.uniform(0, 1 - height))
    return Instance(box, round(confidence * chance.uniform(0.75, 1.0), 8))
