"""``audit``: what to ask people about, so that something can be said about the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from asyncfilter.answers import open_reader
from asyncfilter.answers.draws import freeze
from asyncfilter.checkpoint import count_outside, read_images
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.job.spec import Job
from asyncfilter.policy.audit_draw import PopulationCounts, new_draws
from asyncfilter.policy.audit_options import Announcement
from asyncfilter.policy.audit_rules import measured_rules
from asyncfilter.policy.calibrated import Audited
from asyncfilter.policy.rule_text import rule_text
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.draws import Draw, MeasuredRule, NewDraw
from asyncfilter.wiring.draws import answered, is_outdated, known_job


def audit(
    job: Job,
    announced: Announcement,
    *,
    numbers: Sequence[int] | None = None,
    is_new: bool = False,
    clock: Callable[[], float] = time.time,
) -> Audited:
    """The newest draw of each rule, made where there is none yet, with the answers of this moment.

    Args:
        job: The job.
        announced: What a new draw is announced with, and a frozen one must have been.
        numbers: Rules, from 0; None for every keep rule that has a score.
        is_new: Make another draw of each rule.
        clock: The time.

    Raises:
        UsageError: A frozen draw was announced with something else, or a rule cannot be measured so.
        NothingToWorkOnError: There is no checkpoint, or no rule has a population.
        AnswersError: The answers file cannot be used.
        CheckpointError: The checkpoint cannot be used.
    """
    job, known = known_job(job)
    wanted = [measured.rule for measured in measured_rules(job, known, numbers=numbers)]

    def make(before: Sequence[Draw], first: int) -> Sequence[NewDraw]:
        frozen = [draw for draw in before if draw.measured.rule in wanted]
        missing = wanted if is_new else sorted(set(wanted) - {draw.measured.rule for draw in frozen})
        if not is_new:
            announced.check(frozen)
        if not missing:
            return ()
        rules = measured_rules(job, known, numbers=missing, floor=announced.floor)
        made = _drawn(known, rules, announced, first, clock())
        if not made and (is_new or not frozen):
            raise _no_population(job, wanted)
        return made

    draws = [draw for draw in freeze(job.answers_path, job.name, make) if draw.measured.rule in wanted]
    return _audited(job, known, draws)


def _drawn(
    known: Job, rules: Sequence[MeasuredRule], announced: Announcement, first: int, at_unix_s: float
) -> tuple[NewDraw, ...]:
    """New draws of all rules that have a population; the seed of each is that announced, or its number."""
    while rules:
        seeds = [first + index if announced.seed is None else announced.seed for index in range(len(rules))]
        counted = _counted(known, zip(rules, seeds, strict=True), max(announced.targets().milestones))
        found = new_draws(counted, seeds, job=known.name, targets=announced.targets(), at_unix_s=at_unix_s)
        if len(found) == len(rules):
            return found
        rules = [draw.measured for draw in found]  # others get no number: those behind them move up
    return ()


def _counted(known: Job, rules: Iterable[tuple[MeasuredRule, int]], positions: int) -> PopulationCounts:
    counted = PopulationCounts(known, rules, positions)
    ruleset = compile_rules(known)
    # Decoding only some labels leaves out the boxes: rules that need these read whole rows.
    is_asked = None if ruleset.needs_boxes else ruleset.asks_for
    for image in read_images(known.checkpoint, is_asked=is_asked):
        counted.add(image)
    return counted


def _audited(job: Job, known: Job, draws: Sequence[Draw]) -> Audited:
    reader = open_reader(job.answers_path)
    if reader is None:
        raise NothingToWorkOnError(f"{job.answers_path}: the file has just been taken away", hint="Repeat the command.")
    with reader:
        found = answered(draws, job.checkpoint, reader)
    return Audited(
        draws=found.draws,
        texts=tuple(rule_text(job.rules[draw.measured.rule]) for draw in draws),
        outdated=frozenset(draw.number for draw in draws if is_outdated(draw, known)),
        counts=count_outside(
            job.checkpoint,
            skips_duplicates=job.source.skip_duplicates,
            after_seq=min(draw.last_seq for draw in draws),
        ),
    )


def _no_population(job: Job, wanted: Sequence[int]) -> NothingToWorkOnError:
    rules = ", ".join(f"rules[{number}]" for number in wanted)
    return NothingToWorkOnError(
        f"{job.checkpoint}: no image with labels is left for {rules}: earlier rules take all, or none was examined",
        hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
    )
