"""How far people agree: with one another, or with themselves later.

Chance-corrected by Gwet's AC1 (Gwet 2008, *Computing inter-rater reliability and its variance in the presence of high
agreement*, British Journal of Mathematical and Statistical Psychology 61), which stays meaningful where nearly all
images have the same verdict; Cohen's kappa does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

LEAST_PAIRS = 50
"""Fewer pairs have no figures."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of ``calibrate --json``: all None below ``LEAST_PAIRS``, but for the pairs.

    Attributes:
        low: From here to ``high`` is the true share, with 95 % confidence.
        ac1: At most 1.
    """

    pairs: int
    agreed: int | None = None
    share: float | None = None
    low: float | None = None
    high: float | None = None
    ac1: float | None = None


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """The agreement of the first and second words about the same images."""
    raise NotImplementedError
