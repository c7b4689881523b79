"""Draws of audits: which images are asked about, frozen with the population that they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class PartName(StrEnum):
    """A part of the population of a rule."""

    TAKEN = "taken"
    """Images with a score of at least the floor: what the rule takes, or could take."""
    REST = "rest"
    """The others, as far as no rule keeps them."""


class DrawnImage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image at a position of a draw: one version of an object.

    Attributes:
        score: Percent; None where the rule has no score.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    score: float | None


class DrawnPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a population, and its images of the lowest ranks.

    Attributes:
        images: In the part.
        positions: The first images in the order of their ranks; position 1 comes first.
    """

    images: int
    positions: Sequence[DrawnImage] = ()


class ImageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Images of a checkpoint that are in no population, and those that came later than a draw.

    Attributes:
        failed: Without labels.
        unplaced: Without a position in the order of examination.
        removed: Out of the source: ``apply`` has moved or deleted them.
        duplicate: With the content of an earlier one, where the job skips such images.
        later: With labels, and behind a given position.
    """

    failed: int
    unplaced: int
    removed: int
    duplicate: int
    later: int


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What was announced before anybody was asked.

    The numbers are read as decimals: 0.95 is 19/20, not the nearest number in binary.

    Attributes:
        precision: Share of good images among those kept that is to be shown.
        recall: Share of the good images that are to be kept or asked; None for no such target.
        confidence: Of all statements of a kind together.
        milestones: Numbers of positions at which certificates are decided, rising.
    """

    precision: float
    recall: float | None
    confidence: float
    milestones: tuple[int, ...]


class MeasuredRule(msgspec.Struct, frozen=True, kw_only=True):
    """A keep rule as a draw measures it.

    Attributes:
        rule: Its number, from 0.
        population: Digest of its condition and of the rules before it, thresholds of its own left out: another digest
            means another population.
        present: Its confidence, percent.
        floor: Least score of the part ``taken``, percent.
        has_score: False for a rule that is measured as it stands.
        asks: Number of the review rule with the same condition; None without one.
    """

    rule: int
    population: str
    present: float
    floor: float
    has_score: bool
    asks: int | None = None


class NewDraw(msgspec.Struct, frozen=True, kw_only=True):
    """A draw that is to be stored.

    Attributes:
        job: Name of the job.
        source: Its source in words, which tells it from another job of that name; empty in draws of former versions.
        seed: Of the ranks.
        images: In the population of the rule, in neither part those that a later rule keeps.
        last_seq: Highest position in the order of examination among all images with labels then; 0 for none.
        counts: For each threshold that can be certified, rising: images of the part ``taken`` with that score or more.
    """

    job: str
    measured: MeasuredRule
    targets: Targets
    seed: int
    created_at_unix_s: float
    images: int
    last_seq: int
    counts: tuple[tuple[float, int], ...]
    taken: DrawnPart
    rest: DrawnPart
    source: str = ""

    def part(self, name: PartName) -> DrawnPart:
        """One of its two parts."""
        return self.taken if name is PartName.TAKEN else self.rest


class Draw(NewDraw, frozen=True, kw_only=True):
    """A stored draw.

    Attributes:
        number: From 1, over the answers file.
    """

    number: int
