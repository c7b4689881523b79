"""Results for scripts: the field names of docs/guarantees.md, *Summary*, and money as exact decimal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from asyncfilter.events import Event, RunEnded
from asyncfilter.model import AnswersState, Counts, LaneCounts, NothingFound, Summary, Workers
from asyncfilter.report.formatting import usd_number

_ENCODER = msgspec.json.Encoder()


def counts_mapping(counts: Counts) -> dict[str, object]:
    """``counts`` under the summary's names."""
    fields = msgspec.structs.asdict(counts)
    lanes = fields.pop("lanes")
    found = _in_dollars(fields)
    return found if lanes is None else {**found, "lanes": lanes_mapping(lanes)}


def lanes_mapping(lanes: Mapping[str, LaneCounts]) -> dict[str, object]:
    """The counts of each lane, by its name."""
    found = {name: _in_dollars(msgspec.structs.asdict(lane)) for name, lane in lanes.items()}
    for lane in found.values():
        if isinstance(mean := lane["tps_mean"], float):
            lane["tps_mean"] = round(mean, 3)
    return {**found}


def _in_dollars(fields: Mapping[str, Any]) -> dict[str, object]:
    return {
        name.replace("_micros", "_usd"): usd_number(value) if name.endswith("_micros") else value
        for name, value in fields.items()
    }


def nothing_mapping(found: NothingFound) -> dict[str, object]:
    """Why there is no image to examine, without the message and the hint."""
    return {
        "likely_cause": found.likely_cause,
        "nearest_prefix": found.nearest_prefix,
        "skipped_keys": found.skipped_keys,
    }


def answers_state_mapping(answers: AnswersState | None) -> dict[str, object] | None:
    """The answers file, and how far a checkpoint follows it; None where there is no file."""
    return None if answers is None else msgspec.structs.asdict(answers)


def workers_mapping(workers: Workers | None) -> dict[str, object] | None:
    """What became of the workers of a fleet; None without one."""
    if workers is None:
        return None
    return {name: value for name, value in msgspec.structs.asdict(workers).items() if name != "now"}


def summary_mapping(summary: Summary) -> dict[str, object]:
    """A summary with the names and the order of docs/guarantees.md, *Summary*, then error, hint and exit code."""
    budget = summary.budget_micros
    counts = counts_mapping(summary.counts)
    last = ("duplicates", "saved_usd", "reviewed", "adopted", "lanes")
    later: dict[str, object] = {name: counts.pop(name) for name in last if name in counts}
    return {
        "run_id": summary.run_id,
        "name": summary.name,
        "stop_reason": summary.stop_reason.value,
        **counts,
        "budget_usd": None if budget is None else usd_number(budget),
        "tps_mean": round(summary.tps_mean, 3),
        "tps_limit": summary.tps_limit,
        "wall_s": round(summary.wall_s, 3),
        "resumed": summary.resumed,
        "checkpoint": summary.checkpoint,
        "this_run": counts_mapping(summary.this_run),
        "complete": summary.complete,
        "pending_removals": summary.pending_removals,
        "cautions": list(summary.cautions),
        **later,
        "answers": answers_state_mapping(summary.answers),
        "epoch": summary.epoch,
        "state": None if summary.state is None else msgspec.to_builtins(summary.state),
        "workers": workers_mapping(summary.workers),
        "nothing_to_examine": None if summary.nothing is None else nothing_mapping(summary.nothing),
        "error": summary.error,
        "hint": summary.hint,
        "exit_code": summary.exit_code,
    }


def json_line(mapping: Mapping[str, object] | msgspec.Struct) -> bytes:
    """One line of JSON."""
    return _encoded(mapping) + b"\n"


def json_text(mapping: Mapping[str, object]) -> str:
    """Indented JSON, for stdout."""
    return msgspec.json.format(_encoded(mapping), indent=2).decode() + "\n"


def event_line(event: Event) -> bytes:
    """An event as one line of JSON: its name is under ``event``; a summary has the names of ``summary_mapping``."""
    if isinstance(event, RunEnded):
        return json_line(
            {"event": "run_ended", "at_unix_s": event.at_unix_s, "summary": summary_mapping(event.summary)}
        )
    return _encoded(event) + b"\n"


def _encoded(value: object) -> bytes:
    """``value`` as JSON; in paths that are not UTF-8 the other bytes become escapes."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_escaped(msgspec.to_builtins(value, enc_hook=str)))


def _escaped(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_escaped(key): _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
        case _:
            return value
