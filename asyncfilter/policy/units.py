"""Inference units of a Custom Labels model: what a rate needs, and what it costs.

AWS publishes no rate of a unit. ``GUESSED_UNIT_TPS`` is the figure of the first API text, and holds until ``bench`` has
measured the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import msgspec

GUESSED_UNIT_TPS = 5.0
"""Detections a second of one unit, as long as none were measured."""

MOST_COMPARED = 5
"""Units up to which costs and times are compared; the usual quota of an account."""


LIKELY_START_S = 600.0
"""Time in which a run starts its model and stops it, seconds, which is paid for too; a guess, AWS publishes none."""

LONGEST_START_S = 1800.0
"""The same where all goes slowly, seconds: what a measurement may spend for it."""


class UnitTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the units of a model do and cost.

    Attributes:
        unit_tps: Detections a second of one.
        is_measured: Whether ``bench`` measured that; otherwise it is a guess.
        hour_micros: The price of one for an hour.
        units: With which the model runs, or would be started; None where that is not known.
        limit_tps: The rate that the account allows, whatever the units; None when it is not known.
        wanted_tps: The rate that the job asks for; None when it asks for none.
    """

    unit_tps: float
    is_measured: bool
    hour_micros: int
    units: int | None
    limit_tps: float | None
    wanted_tps: float | None

    @property
    def advised_units(self) -> int | None:
        """The units that the wanted rate needs; None without one."""
        return None if self.wanted_tps is None else units_for(self.wanted_tps, self.unit_tps)

    @property
    def present_tps(self) -> float | None:
        """The rate of the units that there are; None when they are not known."""
        return None if self.units is None else self.tps_of(self.units)

    @property
    def described(self) -> str:
        """The origin of the rate of the present units, as text for reports."""
        count = "1 unit" if self.units == 1 else f"{self.units} units"
        return f"{count} at {self.unit_tps:g} a second, {self.origin}"

    @property
    def origin(self) -> str:
        """The origin of ``unit_tps``."""
        return "as bench measured" if self.is_measured else "a guess, since AWS publishes none"

    def tps_of(self, units: int) -> float:
        """The rate of so many units, as far as the account allows it."""
        tps = units * self.unit_tps
        return tps if self.limit_tps is None else min(tps, self.limit_tps)


class UnitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A number of units: their rate, and time and price of all calls, without the minutes in which a model starts."""

    units: int
    tps: float
    duration_s: float
    cost_micros: int


def compared(terms: UnitTerms, calls: int) -> Sequence[UnitRow]:
    """One to ``MOST_COMPARED`` units; every minute that is begun is paid for."""
    rows = []
    for units in range(1, MOST_COMPARED + 1):
        tps = terms.tps_of(units)
        minutes = ceil(calls / tps / 60)
        cost_micros = units * terms.hour_micros * minutes // 60
        rows.append(UnitRow(units=units, tps=tps, duration_s=calls / tps, cost_micros=cost_micros))
    return rows


def units_for(tps: float, unit_tps: float) -> int:
    """The fewest units with a rate of ``tps``."""
    return max(1, ceil(round(tps / unit_tps, 6)))
