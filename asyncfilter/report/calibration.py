"""``audit`` and ``calibrate`` for scripts, and for the page: their JSON."""

from __future__ import annotations

import re

import msgspec

from asyncfilter.datasets.answers.words import moment_text
from asyncfilter.policy.audit_progress import DrawStandings
from asyncfilter.policy.calibrated import Audited, Calibration, Change, RuleCalibration
from asyncfilter.records.draws import Targets

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def audit_mapping(found: Audited, *, written: int, output: str | None, format_: str | None) -> dict[str, object]:
    """The object of ``audit --json``.

    Args:
        found: The draws.
        written: Lines or tasks in the output.
        output: The file; None without one, and then ``format_`` too.
        format_: Of the output.
    """
    excluded = msgspec.structs.asdict(found.counts)
    later = excluded.pop("later")
    if not excluded["duplicate"]:
        del excluded["duplicate"]
    return {
        "draws": [_draw_mapping(one, is_outdated=one.draw.number in found.outdated) for one in found.draws],
        "examined_since": later,
        "excluded": excluded,
        "written": written,
        "output": output,
        "format": format_,
        "cautions": list(found.cautions),
    }


def _draw_mapping(found: DrawStandings, *, is_outdated: bool) -> dict[str, object]:
    draw = found.draw
    return {
        "draw": draw.number,
        "rule": draw.measured.rule,
        "outdated": is_outdated,
        "seed": draw.seed,
        "created_at": moment_text(draw.created_at_unix_s),
        **_targets(draw.targets),
        "floor": draw.measured.floor,
        "population": draw.images,
        "parts": _parts(found),
    }


def _targets(targets: Targets) -> dict[str, object]:
    return {"confidence": targets.confidence, "precision": targets.precision, "recall": targets.recall}


def _parts(found: DrawStandings) -> dict[str, object]:
    return {name.value: msgspec.structs.asdict(part.progress) for name, part in found.parts.items()}


def calibration_mapping(found: Calibration) -> dict[str, object]:
    """The object of ``calibrate --json``, and of the page's figures."""
    return {
        "file": found.file,
        "serial": found.serial,
        "rules": [_rule_mapping(rule) for rule in found.rules],
        "agreement": msgspec.structs.asdict(found.agreement),
        "reviewers": [msgspec.structs.asdict(one) for one in found.reviewers],
        "written": found.is_written,
        "cautions": list(found.cautions),
    }


def _rule_mapping(found: RuleCalibration) -> dict[str, object]:
    draw, figures = found.standings.draw, found.figures
    return {
        "rule": draw.measured.rule,
        "draw": draw.number,
        "outdated": found.is_outdated,
        "announced": found.is_announced,
        **_targets(draw.targets),
        "precision": found.precision,
        "floor": draw.measured.floor,
        "keep_from": found.keep_from,
        "ask_from": found.ask_from,
        "drawn_keep_from": draw.measured.present,
        "parts": _parts(found.standings),
        "thresholds": [msgspec.structs.asdict(one) for one in figures.thresholds],
        "certified": _plain(figures.certified),
        "losses": _plain(figures.losses),
        "next": _plain(figures.next),
        "advice": _advice_mapping(found),
        "advice_reason": figures.advice_reason,
    }


def _advice_mapping(found: RuleCalibration) -> dict[str, object] | None:
    if found.figures.advice is None:
        return None
    return {
        **msgspec.structs.asdict(found.figures.advice),
        "patch": [_change_mapping(change) for change in found.patch],
        "patch_problem": found.patch_problem,
        "set": list(found.settings),
    }


def _change_mapping(change: Change) -> dict[str, object]:
    numbers = {"from": _number(change.old), "to": _number(change.new)}
    return {"path": change.path, "line": change.line, **numbers}


def _number(text: str) -> object:
    """A scalar of the job file as a JSON number, exactly as it is written; as text where it is no number."""
    return msgspec.Raw(text.encode()) if _NUMBER.fullmatch(text) else text


def _plain(found: msgspec.Struct | None) -> dict[str, object] | None:
    return None if found is None else msgspec.structs.asdict(found)
