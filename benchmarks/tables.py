"""Results as Markdown; all figures are from the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.goals import Goal, Judged, judge
from benchmarks.peers import PEERS

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
_ANSWERS = {"recorded": "recorded ones of the real service", "drawn": "the sandbox's own"}
Document = Mapping[str, Any]
"""The JSON file: ``name``, ``machine``, and ``workloads`` by name with conditions and ``figures``."""


def figures(document: Document) -> dict[str, Any]:
    """The figures of the workloads, without their conditions."""
    return {name: workload["figures"] for name, workload in document["workloads"].items()}


def summary(document: Document) -> str:
    """The machine and date, the table of goals, and the table of where the time of an image goes."""
    measured = figures(document)
    parts = [provenance(document), goals_table(judge(measured, is_full=document["name"] == "full"))]
    if "costs" in measured:
        parts += ["### " + _SECTIONS["costs"][0], _costs(measured["costs"])]
    return "\n\n".join(parts)


def report(document: Document) -> str:
    """All figures."""
    measured = figures(document)
    parts = ["# Results", summary(document)]
    parts += [
        f"## {title}\n\n{draw(measured[name])}"
        for name, (title, draw) in _SECTIONS.items()
        if name in measured and name != "costs"  # which the summary has
    ]
    return "\n\n".join([*parts, _conditions(document)]) + "\n"


def placed(text: str, block: str) -> str:
    """``text`` with ``block`` between the lines ``BEGIN`` and ``END``.

    Raises:
        ValueError: ``text`` lacks one of them.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no place for the results between {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{block}\n{END}{tail}"


def provenance(document: Document) -> str:
    """One sentence with machine, commit and date."""
    machine, conditions = document["machine"], document["workloads"].values()
    processors = " and ".join(sorted({one["processor"] for one in conditions}))
    where = f"{processors}, {machine['cores_usable']} cores, Python {machine['python']}"
    pinned = "client and server on a core each" if machine["client_core"] is not None else "all on one core"
    loudest, day = max(one["load"] for one in conditions), min(one["at"] for one in conditions)
    commits = " and ".join(sorted({one["commit"] or "unknown" for one in conditions}))
    text = f"A {document['name']} run of {day} at commit {commits}: {where}, {pinned};"
    text += f" answers were {_ANSWERS[document['answers']]};"
    text += f" the load before a workload was {loudest:g} at the most."
    if document["name"] != "full":
        text += " **Goals are not judged by it.**"
    return text


def goals_table(judged: Sequence[Judged]) -> str:
    """Each goal with its figure, and whether the goal is met."""
    rows = []
    for one in judged:
        goal = one.goal
        shown = "not measured" if one.figure is None else _number(goal, one.figure)
        rows.append(
            (
                one.what,
                shown,
                _bound(goal, goal.goal),
                _met(one.is_met),
                _bound(goal, goal.stretch),
                _met(one.is_stretch_met),
            )
        )
    return table(("", "measured", "goal", "", "stretch", ""), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is right-aligned."""
    lines = [_line(head), "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *(_line(row) for row in rows)])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _number(goal: Goal, value: float) -> str:
    return f"{value:,.{goal.digits}f}{goal.unit}"


def _bound(goal: Goal, value: float | None) -> str:
    if value is None:
        return ""
    return f"{'>=' if goal.is_least else '<='} {value:,g}{goal.unit}"


def _met(is_met: bool | None) -> str:
    return {None: "", True: "met", False: "**not met**"}[is_met]


# -- Sections ----------------------------------------------------------------------------------------------------------


def _calls(measured: Document) -> str:
    names = {"aioboto3": "aioboto3 as it comes", "fallback": PEERS["fallback"].title, "ours": PEERS["ours"].title}
    rows = [
        (
            names[name],
            *(f"{measured[kind]['cpu_ms'][name]:.3f}" for kind in ("detect", "copy")),
            *(f"{measured[kind]['times_less'][name]:.1f}" for kind in ("detect", "copy")),
        )
        for name in names
    ]
    head = ("client", "detection, CPU ms", "copy, CPU ms", "detection, times less", "copy, times less")
    return f"{measured['calls']:,} calls of each, 50 at once, {_rounds(measured)}.\n\n{table(head, rows)}"


def _whole(measured: Document) -> str:
    rows = [
        (
            PEERS[name].title,
            f"{peer['images']:,}",
            f"{peer['cpu_ms']:.3f}",
            "too short" if peer["images_per_s"] is None else f"{peer['images_per_s']:,.0f}",
            f"{peer['single_cpu_s']:.2f}",
            f"{peer['peak_mb']:.0f}",
            f"{peer['copied_share']:.1%}",
            f"{peer['sandbox_cpu_ms']:.3f}",
        )
        for name, peer in measured["peers"].items()
    ]
    head = ("peer", "images", "CPU ms/image", "images/s", "start CPU s", "peak MB", "copied", "sandbox CPU ms/image")
    return f"{_rounds(measured).capitalize()}; see the plot.\n\n![](cpu.svg)\n\n{table(head, rows)}"


def _costs(measured: Document) -> str:
    before = measured.get("before")
    columns = [*([before["us"]] if before else []), measured["us"]]
    rows = [(stage, *(f"{column.get(stage, 0.0):.1f}" for column in columns)) for stage in measured["us"]]
    rows.append(("all", *(f"{sum(column.values()):.1f}" for column in columns)))
    head = ("us of processor time an image", *([f"at {before['commit']}"] if before else []), "now")
    return f"{_rounds(measured).capitalize()}, {measured['images']:,} images, no latency.\n\n{table(head, rows)}"


def _listing(measured: Document) -> str:
    rows = [
        (
            title,
            f"{measured[name]['keys']:,.0f}",
            f"{measured[name]['cpu_ms_per_page']:.2f}",
            f"{measured[name]['stall_ms']:.1f}",
            f"{measured[name]['stall_cpu_ms']:.1f}",
        )
        for name, title in (("aioboto3", "aioboto3's paginator"), ("ours", "asyncfilter"))
    ]
    head = ("client", "keys", "CPU ms for 1,000", "longest stall ms", "of it CPU ms")
    return f"{_rounds(measured).capitalize()}.\n\n{table(head, rows)}"


def _ranges(measured: Document) -> str:
    rows = [
        (
            name,
            f"{kind['serial']:,.0f}",
            f"{kind['stored']:,.0f}",
            f"{kind['counted']:,.0f}",
            f"{kind['times']:.1f}",
            f"{kind['stored_requests']:.3f}",
        )
        for name, kind in measured["keys"].items()
    ]
    head = ("keys", "serial keys/s", "run keys/s", "plan keys/s", "times", "requests for 1,000")
    return f"{measured['ranges']} ranges, {measured['latency_s'] * 1000:.0f} ms a page.\n\n{table(head, rows)}"


def _lanes(measured: Document) -> str:
    rows = [
        (
            region,
            f"{lane['quota_tps']:g}",
            f"{lane['share']:.3f}",
            f"{lane['throttled_pct']:.2f}",
            "cut" if lane["share_beside_cut"] is None else f"{lane['share_beside_cut']:.3f}",
        )
        for region, lane in measured["lanes"].items()
    ]
    head = ("region", "quota/s", "share", "throttled %", "share while one is cut")
    usual_ms, slow_ms = measured["latency_p50_s"] * 1000, measured["latency_p99_s"] * 1000
    text = f"Each measured for {measured['seconds']:g} s behind the ramp, then again after {measured['cut']} was "
    text += f"cut to a tenth. Answers take {usual_ms:.0f} ms, one in a hundred {slow_ms:.0f} ms or more; "
    text += f"{measured['cpu_ms']:.2f} ms of processor time an image, start included."
    return f"{text}\n\n{table(head, rows)}"


def _quota(measured: Document) -> str:
    rows = [
        (
            PEERS[case["peer"]].title,
            f"{case['quota_tps']:,}",
            {"window": "strict second", "bucket": "token bucket"}[case["mode"]],
            case["told"],
            f"{case['share']:.3f}",
            f"{case['throttled_pct']:.2f}",
            f"{case['throttled_late_pct']:.2f}",
            f"{case['cpu_ms']:.2f}",
        )
        for case in measured["cases"]
    ]
    head = (
        "peer",
        "quota/s",
        "counted by",
        "told",
        "share",
        "throttled %",
        "of it late %",
        "CPU ms/accepted, start included",
    )
    usual_ms, slow_ms = measured["latency_p50_s"] * 1000, measured["latency_p99_s"] * 1000
    text = (
        f"Answers take {usual_ms:.0f} ms, one in a hundred {slow_ms:.0f} ms or more. The share is that of the second "
    )
    text += "half of each run. A token bucket saves up one second, so that a share can lie above 1. One by one and "
    text += "threads cannot be told a rate."
    return f"{text}\n\n![](rates.svg)\n\n{table(head, rows)}"


def _memory(measured: Document) -> str:
    rows = [
        (f"{int(objects):,}", f"{run['peak_mb']:.0f}", f"{run['in_flight_max']:,}", f"{run['wall_s']:.0f}")
        for objects, run in measured["by_objects"].items()
    ]
    return "![](memory.svg)\n\n" + table(("objects", "peak MB", "most in flight", "wall s"), rows)


def _exports(measured: Document) -> str:
    names = ("parquet_cpu_s", "parquet_peak_mb", "parquet_mb", "frame_peak_mb", "pictures", "pictures_a_second")
    columns = (*names, "webdataset_peak_mb")
    rows = [
        (f"{int(images):,}", f"{one['rows']:,}", *(f"{one[name]:,}" for name in columns))
        for images, one in measured["by_images"].items()
    ]
    return table(("images", "rows", *(name.replace("_", " ") for name in columns)), rows)


def _lists(measured: Document) -> str:
    names = ("first_cpu_s", "first_peak_mb", "resumed_cpu_s", "resumed_peak_mb")
    rows = [(f"{int(keys):,}", *(f"{one[name]:,}" for name in names)) for keys, one in measured["by_keys"].items()]
    return table(("keys", *(name.replace("_", " ") for name in names)), rows)


def _overshoot(measured: Document) -> str:
    ends = {"stop": f"`matches: {measured['matches']:,}`", "budget": f"{measured['budget_calls']:,} calls"}
    rows = [
        (
            ends[one["end"]],
            one["faults"],
            f"{one['examined']:,.0f}",
            f"{one['overshoot']:,.0f}",
            f"{one['overshoot_max']:,}",
            f"{one['in_flight_max']:,.0f}",
            f"{one['times_in_flight_max']:.2f}",
        )
        for one in measured["cases"]
    ]
    head = ("end", "faults", "examined", "overshoot", "the most", "most in flight", "worst, times in flight")
    text = f"Images paid for and not used when a run ends by a stop rule or its budget, at {measured['tps']:,.0f} a "
    return f"{text}second, {_rounds(measured)}.\n\n{table(head, rows)}"


def _pictures(measured: Document) -> str:
    rows = [
        (mode, *(f"{run[name]:,}" for name in ("images", "failed", "images_per_s", "cpu_ms", "peak_mb")))
        for mode, run in measured["modes"].items()
    ]
    head = ("mode", "images", "failed", "images/s", "CPU ms/image", "peak MB")
    titles = {"pillow": "a loop in Pillow", "pyvips": "a loop in pyvips", "ours": "asyncfilter, without a service"}
    rates = [
        (titles[name], "not installed" if rate is None else f"{rate:.1f}")
        for name, rate in measured["conversion"].items()
    ]
    text = "Pictures of 1600 x 1200, with two cores for the program and the sandbox together; start included, decoding "
    text += "processes included."
    return f"{text}\n\n{table(head, rows)}\n\nWebP to JPEG, {_rounds(measured)}:\n\n" + table(("", "images/s"), rates)


def _plain(measured: Document) -> str:
    rows = [(name.replace("_", " "), value) for name, value in measured.items() if isinstance(value, int | float | str)]
    return table(("", "measured"), rows)


def _limiters(measured: Document) -> str:
    rows = [
        (
            f"`{one['limiter']}`",
            one["quota"],
            f"{one['quota_tps']:,}",
            f"{one['share']:.3f}",
            one["throttled"],
            f"{one['fullest_second']:.2f}",
            f"{one['cpu_us']:.0f}",
            f"{one['core']:.1%}",
        )
        for one in measured["results"]
    ]
    head = ("limiter", "quota", "R", "share", "throttled", "fullest second / R", "CPU us an attempt", "of a core")
    return table(head, rows)


def _sandbox(measured: Document) -> str:
    rows = [(kind, f"{rate:,}") for kind, rate in measured["requests_per_s"].items()]
    return "What it can do bounds every other figure.\n\n" + table(("operation", "requests/s"), rows)


def _page(measured: Document) -> str:
    many = f"{measured['rows']:,} rows"
    rows = [(f"{measured['cards']:,} {measured['page']['pictures']}", *one) for one in measured["page"].items()]
    rows += [(many, "usable_s", measured["usable_s"]), *((many, *one) for one in measured["server"].items())]
    return table(("source", "figure", "measured"), [row for row in rows if row[1] != "pictures"])


def _rounds(measured: Document) -> str:
    rounds = measured["rounds"]
    return "one round" if rounds == 1 else f"medians of {rounds} interleaved rounds"


def _conditions(document: Document) -> str:
    rows = [
        (name, one["at"], one["commit"], one["processor"], f"{one['took_s']:.0f}", one["load"])
        for name, one in document["workloads"].items()
    ]
    versions = ", ".join(f"{part} {number}" for part, number in document["machine"]["versions"].items())
    return f"## Conditions\n\n{versions}.\n\n" + table(
        ("workload", "at", "commit", "processor", "took s", "load before"), rows
    )


_SECTIONS: dict[str, tuple[str, Callable[[Document], str]]] = {
    "calls": ("One call alone", _calls),
    "whole": ("Whole run, no latency", _whole),
    "costs": ("Where the time of an image goes", _costs),
    "quota": ("Share of a quota", _quota),
    "lanes": ("Lanes", _lanes),
    "listing": ("Listing", _listing),
    "ranges": ("Listing in ranges", _ranges),
    "workers": ("Workers that join a fleet", _plain),
    "fleet": ("The head of a fleet", _plain),
    "checkpoint": ("Checkpoint", _plain),
    "resume": ("Going on after many images", _plain),
    "memory": ("Memory, 1,000 calls in flight", _memory),
    "overshoot": ("Paid in vain at the end", _overshoot),
    "startup": ("Starting", _plain),
    "manifests": ("Manifests of Custom Labels", _plain),
    "exports": ("Exports for training", _exports),
    "lists": ("A run over an S3 Inventory", _lists),
    "pictures": ("Pictures", _pictures),
    "page": ("The review page in a browser", _page),
    "limiters": ("Limiters", _limiters),
    "sandbox": ("The sandbox", _sandbox),
}
