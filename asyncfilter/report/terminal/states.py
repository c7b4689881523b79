"""A state in S3: its public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from asyncfilter.report.formatting import count, duration, size, usd, usd_number

if TYPE_CHECKING:
    from asyncfilter.state.looking import StateLook
    from asyncfilter.state.restore import Restored
    from asyncfilter.state.status import StateStatus
    from asyncfilter.state.unnamed import Pruned, PrunePlan


def look_mapping(look: StateLook) -> dict[str, object]:
    """A look at a state under its public names."""
    head = look.head
    return {
        "uri": look.place.uri,
        "format": head.format,
        "state_id": head.state_id,
        "name": head.name,
        "identity": dict(head.identity),
        "file_format": head.file_format,
        "epoch": head.epoch,
        "commit": head.commit,
        "owner": None if head.owner is None else msgspec.structs.asdict(head.owner),
        "held": look.held,
        "age_s": look.age_s,
        "written": head.written,
        "snapshot": None if head.snapshot is None else msgspec.structs.asdict(head.snapshot),
        "segments": len(head.segments),
        "segment_bytes": head.segment_bytes,
        "rows": head.rows,
        "spent_usd": usd_number(head.spent_micros),
        "granted_usd": usd_number(head.granted_micros),
        "unnamed_objects": look.unnamed,
        "foreign_objects": look.foreign,
        "ok": look.ok,
        "problems": look.problems,
    }


def look_lines(look: StateLook) -> Iterator[str]:
    """A look at a state."""
    head = look.head
    yield f"{look.place.uri}: {'whole' if look.ok else 'DAMAGED'}"
    yield f"  commit    {count(head.commit)} of epoch {count(head.epoch)}, {_written(look)}"
    yield f"  owner     {_owner(look)}"
    yield f"  holds     {count(head.rows)} rows; {usd(head.spent_micros)} spent, {usd(head.granted_micros)} granted"
    snapshot = "no snapshot yet" if head.snapshot is None else f"snapshot {size(head.snapshot.bytes)}"
    yield f"  objects   {snapshot}, {count(len(head.segments))} segments ({size(head.segment_bytes)})"
    if look.unnamed:
        yield f"  unnamed   {count(look.unnamed)} objects that no head names (`asyncfilter state prune` deletes them)"
    if look.foreign:
        yield f"  foreign   {count(look.foreign)} objects that asyncfilter did not make"
    yield f"  state id  {head.state_id}"
    for problem in look.problems:
        yield f"  problem   {problem}"


def _written(look: StateLook) -> str:
    return f"written {look.head.written}" if look.age_s is None else f"written {duration(max(0.0, look.age_s))} ago"


def _owner(look: StateLook) -> str:
    if look.head.owner is None:
        return "nobody"
    return f"{look.head.owner}{', who holds it' if look.held else ', who does not rewrite it any more'}"


def pulled_mapping(restored: Restored, uri: str, path: str) -> dict[str, object]:
    """A restored file under its public names."""
    head = restored.head
    return {
        "uri": uri,
        "file": path,
        "state_id": head.state_id,
        "epoch": head.epoch,
        "commit": head.commit,
        "segments": len(head.segments),
        "rows": head.rows,
        "bytes": restored.bytes,
        "wall_s": round(restored.wall_s, 3),
    }


def pulled_lines(restored: Restored, uri: str, path: str) -> Iterator[str]:
    """A restored file."""
    head = restored.head
    yield f"{path}: {count(head.rows)} rows of {uri} as of commit {count(head.commit)}, written {head.written}"


def prune_mapping(plan: PrunePlan, pruned: Pruned) -> dict[str, object]:
    """What was deleted of a state under its public names."""
    return {
        "uri": plan.place.uri,
        "deleted_objects": pruned.objects,
        "deleted_bytes": pruned.bytes,
        "kept_objects": plan.kept + pruned.left,
        "foreign_objects": plan.foreign,
    }


def prune_lines(plan: PrunePlan, pruned: Pruned) -> Iterator[str]:
    """What was deleted of a state."""
    yield f"{plan.place.uri}: {count(pruned.objects)} objects deleted ({size(pruned.bytes)})"
    if kept := plan.kept + pruned.left:
        yield f"  {count(kept)} objects that no head names stay for now: somebody may be about to name or to read them"
    if plan.foreign:
        yield f"  {count(plan.foreign)} objects that asyncfilter did not make were left alone"


def state_line(state: StateStatus) -> str:
    """The state of a checkpoint in one line."""
    if not state.state_id:
        return f"{state.uri}: nothing is committed yet"
    age = "" if state.age_s is None else f", written {duration(max(0.0, state.age_s))} ago"
    behind = f"; {count(state.behind_rows)} rows are not in it yet" if state.behind_rows else ""
    return f"{state.uri}: commit {count(state.commit)} of epoch {count(state.epoch)}{age}{behind}"
