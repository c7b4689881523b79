"""The goals of the benchmarks, and whether the figures meet them.

Goals are judged on full runs only: a quick run shows its figures, but they are not valid for a million images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
"""Figures of all workloads, by name; a workload that was not measured is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure and its bounds.

    Attributes:
        what: The measured quantity; may hold ``{rows}`` and ``{few_rows}``, which are set from the sizes.
        figure: Reads it from the results; None, ``KeyError`` or ``ValueError`` mean that it was not measured.
        unit: Printed after every number.
        goal, stretch: The bounds; None if there is none.
        is_least: Whether the bounds are lower bounds; otherwise they are upper bounds.
        digits: Digits after the decimal point.
    """

    what: str
    figure: Callable[[Results], float | None]
    unit: str = ""
    goal: float | None = None
    stretch: float | None = None
    is_least: bool = False
    digits: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A goal and its figure; a field is None if it was not measured or not judged, or if the goal has no bound.

    Attributes:
        what: The measured quantity, with the numbers of this run.
    """

    goal: Goal
    what: str
    figure: float | None
    is_met: bool | None
    is_stretch_met: bool | None


def judge(results: Results, *, is_full: bool) -> list[Judged]:
    """Every goal, in order."""
    return [_judged(goal, results, is_full=is_full) for goal in GOALS]


def _judged(goal: Goal, results: Results, *, is_full: bool) -> Judged:
    sizes = results.get("resume", {"rows": "many", "few_rows": "few"})
    what = goal.what.format_map({name: _count(sizes[name]) for name in ("rows", "few_rows")})
    try:
        figure: float | None = goal.figure(results)
    except (KeyError, ValueError):
        figure = None
    if figure is None:
        return Judged(goal=goal, what=what, figure=None, is_met=None, is_stretch_met=None)

    def met(bound: float | None) -> bool | None:
        if bound is None or not is_full:
            return None
        return figure >= bound if goal.is_least else figure <= bound

    return Judged(goal=goal, what=what, figure=figure, is_met=met(goal.goal), is_stretch_met=met(goal.stretch))


def _count(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


# -- Quotas ------------------------------------------------------------------------------------------------------------


def _cases(results: Results, told: tuple[str, ...], quota_tps: int | None = None) -> Iterator[Mapping[str, Any]]:
    for case in results["quota"]["cases"]:
        if case["peer"] == "ours" and case["told"] in told and quota_tps in {None, case["quota_tps"]}:
            yield case


def _share(*told: str, quota_tps: int | None = None) -> Callable[[Results], float]:
    return lambda results: min(case["share"] for case in _cases(results, told, quota_tps))


def _throttled(field: str, *told: str, up_to_tps: float = math.inf) -> Callable[[Results], float]:
    return lambda results: max(case[field] for case in _cases(results, told) if case["quota_tps"] <= up_to_tps)


def _known(quota_tps: int, goal: float | None, stretch: float | None = None) -> Goal:
    return Goal(
        what=f"share of a known quota of {quota_tps:,} a second, 300 ms with a slow tail",
        figure=_share("right", quota_tps=quota_tps),
        goal=goal,
        stretch=stretch,
        is_least=True,
        digits=3,
    )


# -- Memory ------------------------------------------------------------------------------------------------------------


def _peaks(results: Results) -> list[float]:
    """Peak memory by growing number of objects."""
    runs = results["memory"]["by_objects"]
    return [runs[objects]["peak_mb"] for objects in sorted(runs, key=int)]


def _growth_pct(results: Results) -> float:
    peaks = _peaks(results)
    return (peaks[-1] / peaks[0] - 1) * 100


# -- Ends --------------------------------------------------------------------------------------------------------------


def _ends(results: Results, end: str) -> list[Mapping[str, Any]]:
    return [case for case in results["overshoot"]["cases"] if case["end"] == end]


# -- Lanes and fleets --------------------------------------------------------------------------------------------------


def _beside_cut(results: Results) -> float:
    """The least share of a lane while another one is cut."""
    shares = [lane["share_beside_cut"] for lane in results["lanes"]["lanes"].values()]
    return min(float(share) for share in shares if share is not None)


GOALS = (
    Goal(
        what="processor time of a detection, times less than aioboto3 as it comes",
        figure=lambda results: results["calls"]["detect"]["times_less"]["ours"],
        goal=5,
        stretch=15,
        is_least=True,
    ),
    Goal(
        what="whole run, processor time an image, times less than the obvious build",
        figure=lambda results: results["whole"]["ours_times_less"]["obvious"],
        goal=6,
        stretch=12,
        is_least=True,
    ),
    Goal(
        what="whole run, processor time an image, times less than boto3 with 100 threads",
        figure=lambda results: results["whole"]["ours_times_less"]["threads"],
        goal=6,
        stretch=12,
        is_least=True,
    ),
    Goal(
        what="whole run, images a second on one core, no latency",
        figure=lambda results: results["whole"]["peers"]["ours"]["images_per_s"],
        goal=3_000,
        stretch=8_000,
        is_least=True,
        digits=0,
    ),
    Goal(
        what="listing, processor time times less than aioboto3's paginator",
        figure=lambda results: results["listing"]["ours_times_less"],
        goal=20,
        is_least=True,
    ),
    Goal(
        what="listing, longest stall of the event loop",
        figure=lambda results: results["listing"]["ours"]["stall_ms"],
        unit=" ms",
        goal=10,
    ),
    _known(5, 0.97),
    _known(50, 0.985),
    _known(500, 0.985),
    _known(2_000, 0.98),
    _known(5_000, None, 0.97),
    Goal(
        what="known quotas up to 2,000 a second, throttled attempts of the whole run, the worst",
        figure=_throttled("throttled_pct", "right", up_to_tps=2_000),
        unit=" %",
        goal=0.1,
        digits=2,
    ),
    Goal(
        what="quota half of what was told, share in the second half, the worst",
        figure=_share("half"),
        goal=0.97,
        is_least=True,
        digits=3,
    ),
    Goal(
        what="quota half of what was told, throttled in the second half, the worst",
        figure=_throttled("throttled_late_pct", "half"),
        unit=" %",
        goal=0.5,
        digits=2,
    ),
    Goal(
        what="quota unknown, share in the second half, the worst",
        figure=_share("unknown"),
        goal=0.97,
        is_least=True,
        digits=3,
    ),
    Goal(
        what="quota unknown, throttled in the second half, the worst",
        figure=_throttled("throttled_late_pct", "unknown"),
        unit=" %",
        goal=0.5,
        digits=2,
    ),
    Goal(
        what="lanes of 50, 20 and 5 a second in three regions, share of its quota, the worst",
        figure=lambda results: min(lane["share"] for lane in results["lanes"]["lanes"].values()),
        goal=0.95,
        is_least=True,
        digits=3,
    ),
    Goal(
        what="the same while one lane is cut to a tenth, share of the others, the worst",
        figure=_beside_cut,
        goal=0.95,
        is_least=True,
        digits=3,
    ),
    Goal(
        what="listing in 8 ranges at 60 ms a page, keys a second, times those of one range, the worst",
        figure=lambda results: min(kind["times"] for kind in results["ranges"]["keys"].values()),
        goal=5,
        is_least=True,
    ),
    Goal(
        what="1,000 workers join a head, all in one process",
        figure=lambda results: results["workers"]["joined_wall_s"],
        unit=" s",
        goal=60,
    ),
    Goal(
        what="head of a fleet, by reference, processor time an image, times that of one process alone",
        figure=lambda results: results["fleet"]["head_times_alone"],
        goal=1.2,
        digits=2,
    ),
    Goal(
        what="head of a fleet, `convert`, processor time an image",
        figure=lambda results: results["fleet"]["converting_head_ms"],
        unit=" ms",
        goal=1,
        digits=2,
    ),
    Goal(
        what="checkpoint, processor time an image, whole answer kept",
        figure=lambda results: results["checkpoint"]["cpu_us_per_image"],
        unit=" us",
        goal=25,
    ),
    Goal(
        what="checkpoint, size of an image",
        figure=lambda results: results["checkpoint"]["bytes_per_image"],
        unit=" bytes",
        goal=400,
        stretch=250,
        digits=0,
    ),
    Goal(
        what="resume over {rows} images, time to the first new call",
        figure=lambda results: results["resume"]["first_call_wall_s"],
        unit=" s",
        goal=1,
        digits=2,
    ),
    Goal(
        what="resume over {rows} images, memory beyond a fresh run's",
        figure=lambda results: results["resume"]["more_mb"],
        unit=" MB",
        goal=20,
    ),
    Goal(
        what="`refilter` of {rows} images",
        figure=lambda results: results["resume"]["refilter_wall_s"],
        unit=" s",
        goal=20,
        stretch=8,
    ),
    Goal(
        what="`refilter`, memory of {rows} images beyond that of {few_rows}",
        figure=lambda results: results["resume"]["refilter_growth_pct"],
        unit=" %",
        goal=10,
    ),
    Goal(
        what="peak memory with 1,000 calls in flight",
        figure=lambda results: max(_peaks(results)),
        unit=" MB",
        goal=120,
        digits=0,
    ),
    Goal(
        what="peak memory of the most objects beyond that of the fewest",
        figure=_growth_pct,
        unit=" %",
        goal=10,
    ),
    Goal(
        what="overshoot of a stop, with and without faults, times what was in flight, the worst",
        figure=lambda results: max(case["times_in_flight_max"] for case in _ends(results, "stop")),
        goal=2,
        stretch=1.5,
        digits=2,
    ),
    Goal(
        what="images stranded by the end of a budget, with and without faults, the most",
        figure=lambda results: max(case["overshoot_max"] for case in _ends(results, "budget")),
        goal=0,
        digits=0,
    ),
    Goal(
        what="conversion of pictures on two cores, images a second, times those of a loop in Pillow",
        figure=lambda results: results["pictures"]["conversion"]["ours"] / results["pictures"]["conversion"]["pillow"],
        goal=1.8,
        is_least=True,
        digits=2,
    ),
    Goal(
        what="peak memory over hostile pictures, decoding processes included",
        figure=lambda results: results["pictures"]["modes"]["hostile"]["peak_mb"],
        unit=" MB",
        goal=500,
        digits=0,
    ),
    Goal(
        what="`manifest validate` of 250,000 image-level lines, processor time",
        figure=lambda results: results["manifests"]["validate_cpu_s"],
        unit=" s",
        goal=10,
    ),
    Goal(
        what="`manifest validate` of 250,000 image-level lines, peak memory",
        figure=lambda results: results["manifests"]["validate_peak_mb"],
        unit=" MB",
        goal=200,
        digits=0,
    ),
    Goal(
        what="run over an S3 Inventory of a million keys that examines its first images, processor time",
        figure=lambda results: results["lists"]["by_keys"]["1000000"]["first_cpu_s"],
        unit=" s",
        goal=10,
    ),
    Goal(
        what="first tile of 10,000 pictures on the review page, from the start of the navigation",
        figure=lambda results: results["page"]["page"]["first_tile_ms"],
        unit=" ms",
        goal=1000,
        digits=0,
    ),
    Goal(
        what="all cards of 10,000 pictures on the review page, from the start of the navigation",
        figure=lambda results: results["page"]["page"]["all_cards_ms"],
        unit=" ms",
        goal=3000,
        digits=0,
    ),
    Goal(
        what="review page, key to the next picture, at 95 %",
        figure=lambda results: results["page"]["page"]["key_p95_ms"],
        unit=" ms",
        goal=50,
        digits=1,
    ),
    Goal(
        what="review page, frames of a grid that scrolls, at 95 %",
        figure=lambda results: results["page"]["page"]["frame_p95_ms"],
        unit=" ms",
        goal=50,
        digits=1,
    ),
    Goal(
        what="review page, pictures asked for while the grid scrolls",
        figure=lambda results: results["page"]["page"]["asked_while_scrolling"],
        goal=0,
        digits=0,
    ),
    Goal(
        what="review page, tiles in the document",
        figure=lambda results: results["page"]["page"]["tiles"],
        goal=150,
        digits=0,
    ),
    Goal(
        what="review page over a million rows, start of the command to the first saved decision",
        figure=lambda results: results["page"]["usable_s"],
        unit=" s",
        goal=15,
    ),
    Goal(
        what="server of the review page, memory after 2,000 decisions, times that of before",
        figure=lambda results: (
            results["page"]["server"]["memory_after_decisions_mb"] / results["page"]["server"]["memory_mb"]
        ),
        goal=1.1,
        digits=2,
    ),
    Goal(
        what="`asyncfilter --help`",
        figure=lambda results: results["startup"]["help_wall_s"],
        unit=" s",
        goal=0.3,
        digits=2,
    ),
    Goal(
        what="start of a run to its first call, processor time",
        figure=lambda results: results["startup"]["first_call_cpu_s"],
        unit=" s",
        goal=1,
        digits=2,
    ),
)
"""The bounds of the project's speed plan; "flat" is taken as 10 % at the most."""
