"""From a model's scores to shares from 0 to 1, and from shares to labels."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from asyncfilter.onnx.label_names import Name

if TYPE_CHECKING:
    import numpy as np

    Rows: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
    """Scores or shares: one row an image."""

_TOLERANCE = 0.1
"""How far from 1 the sum of scores may be that are shares already."""

_SAME = 0.0002
"""Shares that differ by no more are the same; 0.0005 is what is promised."""


class Scores(StrEnum):
    """What a model's scores are."""

    AUTO = "auto"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    NONE = "none"


class ScoredLabel(NamedTuple):
    """A label that was found; ``confidence_pct`` from 0 to 100."""

    name: str
    aliases: tuple[str, ...]
    confidence_pct: float


def decided(first: Rows) -> Scores:
    """What the scores of a model are, by those of its first image: shares if they add up to one."""
    is_shares = float(first.min()) >= 0 and abs(float(first.sum()) - 1) <= _TOLERANCE
    return Scores.NONE if is_shares else Scores.SOFTMAX


def shares_of(rows: Rows, scores: Scores) -> Rows:
    """The shares of finite scores, each from 0 to 1."""
    import numpy as np  # noqa: PLC0415  part of the extra

    if scores is Scores.SOFTMAX:
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        shares: Rows = powers / powers.sum(axis=1, keepdims=True)
        return shares
    if scores is Scores.SIGMOID:
        small = np.exp(-np.abs(rows))  # never above 1, so that nothing overflows
        return np.where(rows >= 0, 1 / (1 + small), small / (1 + small))
    return rows.clip(0, 1)


def is_alike(one: Rows, other: Rows) -> bool:
    """Whether two rows of scores have the same shares, whatever scores are; within a fiftieth of a percent."""
    import numpy as np  # noqa: PLC0415  part of the extra

    rows = np.nan_to_num(np.stack([one, other]))
    shares = (shares_of(rows, scores) for scores in (Scores.SOFTMAX, Scores.SIGMOID, Scores.NONE))
    return all(float(np.abs(first - second).max(initial=0)) <= _SAME for first, second in shares)


def labels_of(shares: Rows, names: Sequence[Name], *, least_pct: float, most: int) -> list[ScoredLabel]:
    """The labels of one image, by falling confidence; of scores with one name the surest.

    Args:
        shares: Of one image, one for each name.
        names: In the order of the scores.
        least_pct: The least confidence that is kept.
        most: Most labels.
    """
    percents = shares * 100
    likely = (percents >= least_pct).nonzero()[0]
    found: dict[str, ScoredLabel] = {}
    # Stable, so that equal scores keep the order of the label file.
    for index in likely[(-percents[likely]).argsort(kind="stable")].tolist():
        name, aliases = names[index]
        found.setdefault(name, ScoredLabel(name, aliases, min(float(percents[index]), 100.0)))
        if len(found) == most:
            break
    return list(found.values())
