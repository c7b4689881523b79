"""The counts of each lane, which add up to those of the run."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from asyncfilter.model import LaneCounts
from asyncfilter.records.progress import LaneTotals, Totals

OTHER = "(other)"
"""Stands for calls of no known lane: those made without lanes, and what a killed process had reserved. No lane can have
this name."""

_SUMS = ("calls", "attempts", "throttled", "retried", "billed_calls", "spent_micros")


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """A lane of a run: the rate that it may have, and whether it was closed."""

    tps_limit: float | None
    is_closed: bool = False


def lane_counts(
    totals: Totals,
    since: Totals | None = None,
    *,
    states: Mapping[str, LaneState] | None = None,
) -> dict[str, LaneCounts]:
    """The counts of every lane that the checkpoint has known, by name.

    Args:
        totals: The sums.
        since: The sums at the start, to count only what came after.
        states: The lanes of the run; None where there is no run.
    """
    before = since if since is not None else Totals()
    found = {
        name: _counts(lane, before.lanes.get(name) or LaneTotals(), (states or {}).get(name))
        for name, lane in totals.lanes.items()
    }
    rest = {key: getattr(totals, key) - getattr(before, key) for key in _SUMS}
    for lane in found.values():
        for key in _SUMS:
            rest[key] -= getattr(lane, key)
    if any(rest.values()):
        found[OTHER] = LaneCounts(**rest)
    return found


def with_means(
    life: Mapping[str, LaneCounts], this_run: Mapping[str, LaneCounts], wall_s: float
) -> tuple[dict[str, LaneCounts], dict[str, LaneCounts]]:
    """Both with the attempts a second that each lane made in this run, of ``wall_s`` seconds."""
    means = {name: lane.attempts / wall_s if wall_s > 0 else 0.0 for name, lane in this_run.items()}

    def add(lanes: Mapping[str, LaneCounts]) -> dict[str, LaneCounts]:
        return {name: msgspec.structs.replace(lane, tps_mean=means.get(name, 0.0)) for name, lane in lanes.items()}

    return add(life), add(this_run)


def _counts(lane: LaneTotals, before: LaneTotals, state: LaneState | None) -> LaneCounts:
    return LaneCounts(
        region=lane.region,
        account=lane.account,
        by=lane.by,
        **{key: getattr(lane, key) - getattr(before, key) for key in _SUMS},
        tps_limit=None if state is None else state.tps_limit,
        closed=state is not None and state.is_closed,
        model_versions=lane.model_versions,
    )
