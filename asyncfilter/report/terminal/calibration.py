"""Output of ``calibrate``: precision by threshold with its intervals, and in plain words what is shown and missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType

from asyncfilter.policy.calibrated import Calibration, RuleCalibration
from asyncfilter.policy.calibration import Advice, AdviceReason, Next, ThresholdFigures
from asyncfilter.records.draws import PartName
from asyncfilter.report.formatting import count, duration
from asyncfilter.report.program import program
from asyncfilter.report.terminal.audit import (
    OUTDATED,
    announced_text,
    minute_text,
    missing_text,
    part_rows,
    percent,
)
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.interval_plot import IntervalPlot, IntervalRow
from asyncfilter.report.terminal.text import Text

_ROWS = 12
"""Thresholds that are shown; ``--json`` has all."""

_LEAST_POSITIONS = 25
"""With fewer answers nothing is estimated."""


def draw_calibration(found: Calibration, job: Path) -> RenderableType:
    """All rules, for people."""
    parts: list[RenderableType] = []
    for rule in found.rules:
        parts += [*_rule(rule, job), Text()]
    parts += [Text(line) for line in _people(found)]
    if any(rule.figures.certified for rule in found.rules):
        parts += [Text(), Text("What a certificate means", "bold"), *map(Text, _meaning(found))]
    return Group(*parts)


# -- One rule ----------------------------------------------------------------------------------------------------------


def _rule(found: RuleCalibration, job: Path) -> Iterator[RenderableType]:
    draw = found.standings.draw
    asked = "" if found.ask_from is None else f", asked from {found.ask_from:g}"
    yield Text(f"rules[{draw.measured.rule}] keep {found.text}, from {found.keep_from:g}{asked}", "bold")
    rows: list[tuple[str, str | Text]] = [
        ("draw", f"{draw.number} of {minute_text(draw.created_at_unix_s)}"),
        ("announced", announced_text(draw)),
    ]
    for part in found.standings.parts.values():
        rows += part_rows(part.name, part.progress, draw)
    yield Facts(rows)
    yield Text()
    if any(one.n for one in found.figures.thresholds):
        yield _plot(found)
        yield Text()
    yield Facts(list(_statements(found, job)))


def _plot(found: RuleCalibration) -> RenderableType:
    shown = _shown(found)
    rows = [_plot_row(found, one) for one in found.figures.thresholds if one.threshold in shown]
    return IntervalPlot(rows, target=found.precision, heads=("from", "images", "good"))


def _plot_row(found: RuleCalibration, one: ThresholdFigures) -> IntervalRow:
    notes = []
    if one.threshold == found.keep_from:
        notes.append("now")
    if one.certified:
        notes.append("certified")
    if found.figures.advice is not None and one.threshold == found.figures.advice.keep_from:
        notes.append("advised")
    return IntervalRow(
        name=f"{one.threshold:g}",
        images=count(one.images),
        hits=f"{count(one.good)}/{count(one.n)}",
        share=one.share,
        low=one.low,
        high=one.high,
        note=", ".join(notes),
        style="bold" if notes else "",
    )


def _shown(found: RuleCalibration) -> set[float]:
    """The thresholds that are shown: those that matter, and round ones between them."""
    thresholds = [one.threshold for one in found.figures.thresholds]
    advice, certified = found.figures.advice, found.figures.certified
    wanted = {thresholds[0], found.keep_from, found.standings.draw.measured.present}
    wanted |= set() if certified is None else {certified.keep_from}
    wanted |= set() if advice is None else {advice.keep_from, advice.ask_from}
    wanted &= set(thresholds)
    for step in (5, 10, 20):
        round_ones = {threshold for threshold in thresholds if threshold % step == 0}
        if len(wanted | round_ones) <= _ROWS:
            return wanted | round_ones
    return wanted


# -- In words ----------------------------------------------------------------------------------------------------------


def _statements(found: RuleCalibration, job: Path) -> Iterator[tuple[str, str | Text]]:
    yield "precision", _precision(found)
    if (text := _next(found, job)) is not None:
        yield "next", text
    yield "losses", _losses(found)
    if found.figures.advice is not None:
        yield from _advice(found, found.figures.advice, job)
    elif found.figures.advice_reason in _NO_ADVICE:
        yield "advice", _NO_ADVICE[found.figures.advice_reason]


_NO_ADVICE = {
    AdviceReason.OUTDATED: f"none: {OUTDATED}",
    AdviceReason.NO_SCORE: "none: the rule has no threshold that could be moved, so it is measured as it stands",
    AdviceReason.NOT_ANNOUNCED: "none: this precision was not announced, so nothing is certified for it",
    AdviceReason.RECALL_NOT_SHOWN: "none: the answers do not show the announced recall, however many images are asked",
}


def _precision(found: RuleCalibration) -> Text:
    certified = found.figures.certified
    if certified is None:
        looked = "" if found.is_announced else f" for {percent(found.precision)}, which was not announced"
        return Text(f"no threshold is certified{looked}{'' if looked else ' yet'}", "yellow")
    part = next((one for one in found.figures.thresholds if one.threshold == certified.keep_from), None)
    images = "" if part is None else f" ({count(part.images)} images)"
    return Text(
        f"certified: of all images with a score from {certified.keep_from:g}{images}, at least "
        f"{percent(certified.precision)} are good (at {count(certified.milestone)} answers)",
        "green",
    )


def _next(found: RuleCalibration, job: Path) -> str | None:
    """How many answers are missing for the rule as it stands."""
    progress = found.standings.parts[PartName.TAKEN].progress
    following = found.figures.next
    if not progress.images or (following is None and progress.prefix >= _LEAST_POSITIONS):
        return None
    if following is None:
        return f"{missing_text(progress)}; what it takes beyond that is known after {_LEAST_POSITIONS}"
    present = f"from {found.standings.draw.measured.present:g}"
    target = percent(found.precision)
    if following.too_near:
        return _too_near(found, following, job, present=present, target=target)
    more, at = count(following.more or 0), count(following.milestone or 0)
    if not following.beyond_plan:
        return f"about {more} more answers will show {target} {present}, if they are like those so far (at {at})"
    # Its positions are others: of the answers so far only those count that it happens to ask for, too.
    milestones = ",".join(map(str, (*found.standings.draw.targets.milestones, following.milestone)))
    again = f"{program()} audit {shlex.quote(str(job))} --new --milestones {milestones}"
    return (
        f"about {at} answers would show {target} {present}, if they are like those so far; that is beyond the "
        f"announced milestones, and takes a new draw: {again}"
    )


def _too_near(found: RuleCalibration, following: Next, job: Path, *, present: str, target: str) -> str:
    drawn = found.standings.draw.measured.present
    share = next((one.share for one in found.figures.thresholds if one.threshold == drawn), None)
    if share is not None and share < found.precision:
        text = f"of the answered images {present}, {_floored(share)} are good: {target} cannot be shown"
    else:
        text = f"the share of good images {present} is too near {target} for 5,000 answers to show it"
    if following.instead is None:
        return text
    again = f"{program()} audit {shlex.quote(str(job))} --new --precision {following.instead:g}"
    return f"{text}; {percent(following.instead)} could be shown: {again}"


def _losses(found: RuleCalibration) -> str:
    losses = found.figures.losses
    if losses is None:
        answers = sum(
            part.progress.missing or 0 for part in found.standings.parts.values() if not part.counted().reached
        )
        return f"known when both parts have reached a milestone: {count(answers)} answers missing"
    confidence = percent(found.standings.draw.targets.confidence)
    text = (
        f"at most {count(losses.lost_high)} of the {count(losses.images)} images left out are good; at least "
        f"{_floored(losses.recall_low)} of all good images are kept or asked ({confidence} confidence)"
    )
    target = found.standings.draw.targets.recall
    if target is None:
        return text
    return f"{text}; {percent(target)} was announced: {'certified' if losses.certified else 'not shown'}"


def _floored(share: float) -> str:
    """A share that is shown for certain: never rounded up."""
    return f"{int(1000 * share) / 10:g} %"


def _advice(found: RuleCalibration, advice: Advice, job: Path) -> Iterator[tuple[str, str | Text]]:
    ask = f", ask from {advice.ask_from:g} ({_now(found.ask_from)})" if advice.asked else ""
    yield "advice", Text(f"keep from {advice.keep_from:g} ({_now(found.keep_from)}){ask}", "bold")
    asked = f"{count(advice.kept)} images are kept unseen, {count(advice.asked)} are asked"
    if advice.asked:
        asked += f": {duration(3600 * advice.hours)} for one person, ${advice.usd_people:,.2f}"
    yield "", asked
    if not found.settings:
        yield "", "the job says so already"
        return
    for change in found.patch:
        yield "", f"{change.path}, line {change.line}: {change.old} becomes {change.new}"
    command = f"{program()} calibrate {shlex.quote(str(job))} --write"
    options = " ".join(f"--set {shlex.quote(setting)}" for setting in found.settings)
    yield "", f"not in the file: {found.patch_problem}" if found.patch_problem else f"write it: {command}"
    yield "", f"or try it: {program()} refilter {shlex.quote(str(job))} --dry-run {options}"


def _now(threshold: float | None) -> str:
    return "nothing asked now" if threshold is None else f"{threshold:g} now"


# -- All rules ---------------------------------------------------------------------------------------------------------


def _people(found: Calibration) -> Iterator[str]:
    agreement = found.agreement
    if agreement.share is not None and agreement.low is not None and agreement.high is not None:
        ac1 = "" if agreement.ac1 is None else f", AC1 {agreement.ac1:.2f}"
        yield (
            f"asked twice: {count(agreement.pairs)} images, {percent(round(agreement.share, 3))} with the same word "
            f"({percent(round(agreement.low, 3))} to {percent(round(agreement.high, 3))}){ac1}"
        )
    elif agreement.pairs:
        yield f"asked twice: {count(agreement.pairs)} images; their agreement is shown from 50 on"
    for one in found.reviewers:
        pace = "" if one.seconds is None else f", {one.seconds:.1f} s each"
        yield f"{one.name}: {count(one.answers)} answer{'' if one.answers == 1 else 's'}{pace}"


def _meaning(found: Calibration) -> Iterator[str]:
    confidence = next(rule.standings.draw.targets.confidence for rule in found.rules if rule.figures.certified)
    yield (
        "The images that were asked about were drawn by lot. For each rule, in at most "
        f"{percent(round(1 - confidence, 9))} of all such draws would any of its certificates be false, however many "
        "thresholds are compared at the announced milestones, and however often anybody looks meanwhile."
    )
    yield (
        "A certificate is about the images of the draw, not about images that are examined later, and about what these "
        "people call good: unsure and unresolved images count as not good."
    )
