"""Prices: the price table by region, its tiers, and exact sums over it.

Money is integer micro-dollars. Prices never rise from tier to tier. Where a price is not known, the highest known one
is used and marked as an estimate, so that a budget holds in any case; the job's own ``pricing`` takes precedence. Free
tiers are ignored.

The table was compiled on 2026-11-22. Images beyond the listed tiers are priced at the last known tier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from asyncfilter.job.spec import PriceTier, Pricing

TABLE_DATE = "2026-11-22"

_PRICE_LIST = "AWS Price List (usage type Group2), published 2026-09-11, as read by a public report"
_REGION_LISTS = "AWS regional price lists, September 2026, as cited in public files"
_OLDER_TABLE = "an older price table in a public repository; first tier only"
_PRICING_PAGE = "aws.amazon.com/rekognition/pricing, as transcribed on 2026-10-07"
_JOB_FILE = "the job file"
_SAMPLES = "READMEs of AWS samples on Custom Labels: 4 dollars an hour for each inference unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """The prices of images in one region with one set of features.

    Attributes:
        tiers: Price of the n-th image billed in a month; the last tier has no end.
        unit_hour_micros: One inference unit of a Custom Labels model for one hour; 0 for other detectors.
        source: Where the figures come from, and for when.
        is_estimate: True when the region's price, or that of a feature in it, is not known.
    """

    tiers: tuple[PriceTier, ...]
    unit_hour_micros: int = 0
    source: str
    is_estimate: bool = False

    def __post_init__(self) -> None:
        _check(self.tiers)

    def price_micros(self, nth_image: int) -> int:
        """The price of the ``nth_image`` billed this month, from 1; ``pricing.used_this_month`` counts into it."""
        if nth_image < 1:
            raise ValueError(f"expected an image from 1 on, found {nth_image}")
        return _at(self.tiers, nth_image)

    def total_micros(self, first: int, count: int) -> int:
        """The price of ``count`` images from the ``first`` billed this month on, counted from 1; exact."""
        if first < 1 or count < 0:
            raise ValueError(f"expected first from 1 on and count from 0 on, found {first} and {count}")
        last, total_micros, nth = first + count - 1, 0, first
        for tier in self.tiers:
            end = last if tier.up_to is None else min(last, tier.up_to)
            if end >= nth:
                total_micros += tier.micros * (end - nth + 1)
                nth = end + 1
        return total_micros


@dataclass(frozen=True, slots=True)
class _Price:
    """A row of the table: tiers as (up to, micros)."""

    tiers: tuple[PriceTier, ...]
    source: str


def _row(source: str, *tiers: tuple[int | None, int]) -> _Price:
    return _Price(tuple(PriceTier(up_to=up_to, micros=micros) for up_to, micros in tiers), source)


_M = 1_000_000

_LABELS = {
    "us-east-1": _row(_PRICE_LIST, (1 * _M, 1000), (5 * _M, 800), (35 * _M, 600), (None, 250)),
    "us-east-2": _row(_OLDER_TABLE, (None, 1000)),
    "us-west-1": _row(_OLDER_TABLE, (None, 1170)),
    "us-west-2": _row(_OLDER_TABLE, (None, 1000)),
    "ca-central-1": _row(_OLDER_TABLE, (None, 1110)),
    "eu-central-1": _row(_REGION_LISTS, (1 * _M, 1200), (None, 960)),
    "eu-west-1": _row(_OLDER_TABLE, (None, 1000)),
    "eu-west-2": _row(_OLDER_TABLE, (None, 1160)),
    "ap-northeast-1": _row(_REGION_LISTS, (None, 1300)),
    "ap-northeast-2": _row(_OLDER_TABLE, (None, 1200)),
    "ap-south-1": _row(_OLDER_TABLE, (None, 1250)),
    "ap-southeast-1": _row(_OLDER_TABLE, (None, 1300)),
    "ap-southeast-2": _row(_OLDER_TABLE, (None, 1200)),
}
"""DetectLabels with GENERAL_LABELS: a Group 2 API."""

_PROPERTIES = {"us-east-1": _row(_PRICING_PAGE, (1 * _M, 750), (None, 600))}
"""IMAGE_PROPERTIES, billed beside the labels of the same call."""


class PriceTable(Protocol):
    """The prices of one kind of detector, by region and feature."""

    def price_list(self, features: Sequence[str], pricing: Pricing, region: str) -> PriceList:
        """The prices in ``region``; the job's own ``pricing`` takes precedence.

        Raises:
            ValueError: Tiers of a job made in a program that rise, or do not end.
        """
        ...


@dataclass(frozen=True, slots=True)
class PricesByImage:
    """Bills each image, once for each feature.

    Attributes:
        features: Rows by feature, then by region.
    """

    features: Mapping[str, Mapping[str, _Price]]

    def price_list(self, features: Sequence[str], pricing: Pricing, region: str) -> PriceList:
        """See ``PriceTable``; the highest known price of a feature is used where a region has none."""
        if pricing.tiers is not None:
            return PriceList(tiers=pricing.tiers, source=_JOB_FILE)
        rows = [self.features[feature].get(region) for feature in features]
        known = [row or _dearest(self.features[feature]) for row, feature in zip(rows, features, strict=True)]
        return PriceList(
            tiers=_sum([row.tiers for row in known]),
            source="; ".join(row.source for row in known),
            is_estimate=None in rows,
        )


@dataclass(frozen=True, slots=True)
class PricesByHour:
    """Bills the running time of a model, and no image.

    Attributes:
        unit_hour_micros: One inference unit for one hour, whether or not images are analysed; the same in all regions.
        source: The source of the figure.
    """

    unit_hour_micros: int
    source: str

    def price_list(self, features: Sequence[str], pricing: Pricing, region: str) -> PriceList:  # noqa: ARG002  all alike
        """See ``PriceTable``."""
        own_micros = pricing.inference_unit_hour_micros
        return PriceList(
            tiers=pricing.tiers or (PriceTier(up_to=None, micros=0),),
            unit_hour_micros=self.unit_hour_micros if own_micros is None else own_micros,
            source=self.source if own_micros is None else _JOB_FILE,
        )


@dataclass(frozen=True, slots=True)
class NoPrices:
    """Bills nothing, whatever the job's ``pricing`` says.

    Attributes:
        source: Why.
    """

    source: str

    def price_list(self, features: Sequence[str], pricing: Pricing, region: str) -> PriceList:  # noqa: ARG002  all alike
        """See ``PriceTable``."""
        return PriceList(tiers=(PriceTier(up_to=None, micros=0),), source=self.source)


OWN_MODEL_PRICES = NoPrices("a model of your own")
"""Models on this machine."""

LABEL_PRICES = PricesByImage({"GENERAL_LABELS": _LABELS, "IMAGE_PROPERTIES": _PROPERTIES})
"""DetectLabels."""

CUSTOM_LABEL_PRICES = PricesByHour(4_000_000, _SAMPLES)
"""DetectCustomLabels."""


def _dearest(table: Mapping[str, _Price]) -> _Price:
    """The highest price in the table, without tiers."""
    region, row = max(table.items(), key=lambda item: item[1].tiers[0].micros)
    return _row(f"an estimate: the dearest price known, that of {region}", (None, row.tiers[0].micros))


def _sum(lists: Sequence[tuple[PriceTier, ...]]) -> tuple[PriceTier, ...]:
    """The tiers of several features asked for in one call: each image costs the sum of them."""
    ends = sorted({tier.up_to for tiers in lists for tier in tiers if tier.up_to is not None})
    return tuple(PriceTier(up_to=end, micros=sum(_at(tiers, end) for tiers in lists)) for end in (*ends, None))


def _at(tiers: tuple[PriceTier, ...], nth_image: int | None) -> int:
    """The price of the n-th image; None for that of the last tier."""
    for tier in tiers:
        if tier.up_to is not None and nth_image is not None and nth_image <= tier.up_to:
            return tier.micros
    return tiers[-1].micros


def _check(tiers: tuple[PriceTier, ...]) -> None:
    """Reject tiers with which a budget could not be computed."""
    if not tiers or tiers[-1].up_to is not None:
        raise ValueError(f"expected a last tier without end, found {tiers}")
    for one, following in pairwise(tiers):
        if one.up_to is None or (following.up_to is not None and following.up_to <= one.up_to):
            raise ValueError(f"expected tiers whose up_to rises, found {tiers}")
        if following.micros > one.micros:
            raise ValueError(f"expected prices that never rise from tier to tier, found {tiers}")


TRAINING_HOUR_MICROS = 1_000_000
"""One hour of training, the same in all regions; a training that fails costs nothing (*READMEs of AWS samples*)."""


def training_micros(billable_s: float) -> int:
    """The price of a training of so many billable seconds."""
    return round(billable_s * TRAINING_HOUR_MICROS / 3600)


def model_hour_micros(units: int) -> int:
    """The price of one hour of a model that runs with so many inference units."""
    return units * CUSTOM_LABEL_PRICES.unit_hour_micros


def model_micros(units: int, ran_s: float) -> int:
    """The price of a model that ran so long: every minute that was begun is paid for (guide, *Running a model*)."""
    # Rounded: the difference of two moments in floating point may exceed whole minutes by a fraction of a microsecond.
    return model_hour_micros(units) * math.ceil(round(ran_s, 3) / 60) // 60
