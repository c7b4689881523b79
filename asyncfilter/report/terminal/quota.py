"""Quotas and prices of an account, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from asyncfilter.job.spec import DetectorKind, PriceTier
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.image_limits import READABLE
from asyncfilter.policy.pricing import TABLE_DATE, PriceList
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.report import formatting
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

MILLION = 1_000_000
_HOUR_S = 3600
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorTerms:
    """Quota, prices and image limits of one detector in one region."""

    kind: DetectorKind
    quota: QuotaAnswer
    prices: PriceList

    @property
    def operation(self) -> str:
        """The operation that it calls; a quota applies to one operation."""
        return PROFILES[self.kind].operation

    @property
    def images(self) -> str:
        """The images that it accepts, in words for people."""
        limits = PROFILES[self.kind].image_limits
        formats = " or ".join(sorted(one.upper() for one in READABLE))
        aspect = "" if limits.max_aspect is None else f", up to {limits.max_aspect:g}:1"
        size = f"up to {limits.max_object_bytes // _MIB} MB"
        return f"{formats}, {size}, {limits.min_px} to {limits.max_px:,} px a side{aspect}"

    @property
    def million_h(self) -> float:
        """Hours for a million images at the quota."""
        return MILLION / self.quota.tps / _HOUR_S

    @property
    def million_micros(self) -> int:
        """Price of the first million images of a month; 0 where running time is billed and not images."""
        return self.prices.total_micros(1, MILLION)


def quota_mapping(region: str, terms: Sequence[DetectorTerms]) -> dict[str, object]:
    """The terms of each detector, by its name in the job file."""
    return {"region": region, "price_table": TABLE_DATE, "detectors": {one.kind.value: _mapping(one) for one in terms}}


def _mapping(terms: DetectorTerms) -> dict[str, object]:
    prices = terms.prices
    return {
        "operation": terms.operation,
        "tps": terms.quota.tps,
        "tps_origin": terms.quota.origin.value,
        "tps_reason": terms.quota.reason,
        "hours_per_million": round(terms.million_h, 2),
        "usd_per_million": formatting.usd_number(terms.million_micros),
        "tiers": [{"up_to": tier.up_to, "usd": formatting.usd_number(tier.micros)} for tier in prices.tiers],
        "unit_hour_usd": formatting.usd_number(prices.unit_hour_micros) if prices.unit_hour_micros else None,
        "price_source": prices.source,
        "price_is_estimate": prices.is_estimate,
        "images": terms.images,
    }


def draw_quota(region: str, terms: Sequence[DetectorTerms]) -> RenderableType:
    """A few lines for each detector."""
    rows = [("region", Text(region, "bold"))]
    for one in terms:
        rows += [("", Text()), *_rows(one)]
    return Facts(rows)


def _rows(terms: DetectorTerms) -> list[tuple[str, Text]]:
    quota, prices = terms.quota, terms.prices
    rows = [
        (terms.kind.value, Text(terms.operation, "bold")),
        ("quota", Text(f"{formatting.tps(quota.tps)} calls a second ({quota.origin.value})")),
    ]
    if quota.reason:
        rows.append(("", Text(quota.reason, "dim")))
    rows.append(("a million", Text(f"{formatting.duration(terms.million_h * _HOUR_S)} at that rate{_cost(terms)}")))
    rows.append(("price", Text(_price(prices))))
    rows.append(("", Text(f"{prices.source}{' (an estimate)' if prices.is_estimate else ''}", "dim")))
    rows.append(("images", Text(terms.images)))
    return rows


def _cost(terms: DetectorTerms) -> str:
    return f", {formatting.usd(terms.million_micros)}" if terms.million_micros else ""


def _price(prices: PriceList) -> str:
    if prices.unit_hour_micros:
        return f"{formatting.usd(prices.unit_hour_micros)} an hour for each inference unit, while the model runs"
    return "; ".join(_tier(tier) for tier in prices.tiers) + " a month"


def _tier(tier: PriceTier) -> str:
    per_thousand = f"{formatting.usd(1000 * tier.micros)} a thousand"
    return (
        f"{per_thousand} up to {formatting.count(tier.up_to)}" if tier.up_to is not None else f"{per_thousand} beyond"
    )
