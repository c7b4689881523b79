"""The rates of detections: one for each pair of principal and region, and the quotas that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from asyncfilter.sandbox.accounts import Pair
from asyncfilter.sandbox.custom_labels.names import CONTROL_OPERATIONS
from asyncfilter.sandbox.throttle import Quota, Ramp, ThrottleMode, new_quota

DETECTIONS: Final = ("DetectLabels", "DetectCustomLabels")


class RateSpec(NamedTuple):
    """A rate in calls a second, of a region, or of one principal in a region.

    Attributes:
        principal: An access key, or the number of an account whose role is assumed; empty for all of the region.
        region: Empty for all without a rate of their own.
    """

    tps: float
    region: str = ""
    principal: str = ""


class Rates:
    """The rate of every pair.

    Args:
        tps: Of pairs without a rate of their own; None accepts any rate.
        specs: Rates of regions and pairs.

    Raises:
        ValueError: If a rate is not positive, or is given twice.
    """

    def __init__(self, tps: float | None = None, specs: Iterable[RateSpec] = ()) -> None:
        rates: dict[Pair, float] = {}
        for spec in specs if tps is None else (RateSpec(tps), *specs):
            pair = Pair(spec.principal, spec.region)
            if spec.tps <= 0:
                raise ValueError(f"a quota must be above 0 calls a second, not {spec.tps}")
            if pair in rates:
                raise ValueError(f"the quota of {_said(pair)} is given twice")
            rates[pair] = spec.tps
        self._plain = rates.pop(Pair(), None)
        self._rates = rates

    def own(self, pair: Pair) -> float | None:
        """The rate of this pair or of its region; None if it has only the one of all others."""
        held = self._rates.get(pair)
        return self._rates.get(Pair(region=pair.region)) if held is None else held

    def of(self, pair: Pair) -> float | None:
        """The rate of a pair; None for any rate."""
        own = self.own(pair)
        return self._plain if own is None else own


def _said(pair: Pair) -> str:
    if pair.principal:
        return pair.name
    return pair.region or "all other regions"


@dataclass(slots=True, kw_only=True)
class Quotas:
    """The quotas of a running sandbox.

    Attributes:
        rates: Rates of detections; every pair has quotas of its own, one for each operation.
        mode: How they are counted.
        growth: The most by which the detections of a pair may grow from second to second; None for any.
        control: Quotas of the control plane, by operation, for all callers together.
    """

    rates: Rates
    mode: ThrottleMode = ThrottleMode.WINDOW
    growth: float | None = None
    control: Mapping[str, Quota] = field(default_factory=dict)
    _pairs: dict[Pair, Mapping[str, Quota]] = field(default_factory=dict)
    _ramps: dict[Pair, Ramp] = field(default_factory=dict)

    def admits(self, operation: str, pair: Pair, at_s: float) -> bool:
        """Count an attempt; False if it is over the rate."""
        quota = self.control.get(operation) or self._quotas_of(pair).get(operation)
        return quota is None or quota.admit(at_s)

    def admits_growth(self, pair: Pair, at_s: float) -> bool:
        """Count a detection; False if the rate of its pair grows too fast."""
        if self.growth is None:
            return True
        ramp = self._ramps.get(pair)
        if ramp is None:
            ramp = self._ramps[pair] = Ramp(self.growth)
        return ramp.admit(at_s)

    def _quotas_of(self, pair: Pair) -> Mapping[str, Quota]:
        held = self._pairs.get(pair)
        if held is None:
            held = self._pairs[pair] = new_quotas(self.rates.of(pair), self.mode)
        return held


def new_quotas(tps: float | None, mode: ThrottleMode, *, control_tps: float | None = None) -> Mapping[str, Quota]:
    """A new quota for each detection, and for each operation of the control plane; none where the rate is None.

    Raises:
        ValueError: If a rate is not positive.
    """
    quotas: dict[str, Quota] = {}
    for rate, operations in ((tps, DETECTIONS), (control_tps, CONTROL_OPERATIONS)):
        if rate is None:
            continue
        if rate <= 0:
            raise ValueError(f"a quota must be above 0 calls a second, not {rate}")
        quotas |= {operation: new_quota(rate, mode) for operation in operations}
    return quotas
