"""``calibrate``: what the answers to a draw show, and the thresholds that they certify. Nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from asyncfilter.answers import open_reader
from asyncfilter.answers.draws import stored_draw, stored_draws
from asyncfilter.errors import NothingToWorkOnError, UsageError
from asyncfilter.job import yaml_positions
from asyncfilter.job.patching import Patched, confidence_paths, number_text, patched
from asyncfilter.job.spec import Job
from asyncfilter.job.yaml_positions import Document, Path, dotted
from asyncfilter.model import Verdict
from asyncfilter.policy.audit_progress import DrawStandings
from asyncfilter.policy.audit_words import ASKED_TWICE_EVERY, Paces, word_pair
from asyncfilter.policy.calibrated import Calibration, Change, RuleCalibration
from asyncfilter.policy.calibration import (
    Advice,
    Announced,
    Candidate,
    Cost,
    RuleDraw,
    agreement,
)
from asyncfilter.policy.calibration import calibrate as figures_of
from asyncfilter.policy.rule_text import rule_text
from asyncfilter.policy.scores import one_threshold
from asyncfilter.records.answers import Answer
from asyncfilter.records.draws import Draw, DrawnImage, PartName
from asyncfilter.wiring.draws import AnsweredDraws, answered, cautions_about, is_outdated, known_job


class CalibrationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a calibration.

    Attributes:
        numbers: Rules, from 0; None for all with a draw.
        draw: Number of a draw; None for the newest of each rule.
        precision: A target to look at in place of the announced one.
        hourly_usd: What an hour of a person costs; None for ``pricing.by_hand`` of the job.
    """

    numbers: tuple[int, ...] | None = None
    draw: int | None = None
    precision: float | None = None
    hourly_usd: float | None = None


def calibrate(job: Job, query: CalibrationQuery | None = None) -> Calibration:
    """The figures of each rule with a draw, by the answers of this moment.

    Raises:
        NothingToWorkOnError: There is no checkpoint, or no such draw.
        UsageError: The draw is of another rule than the one asked for.
        AnswersError: The answers file cannot be used.
        CheckpointError: The checkpoint cannot be used.
    """
    query = query or CalibrationQuery()
    job, known = known_job(job)
    draws = _draws(job, query)
    reader = open_reader(job.answers_path)
    if reader is None:
        raise _no_draw(job, "there is no draw yet")
    with reader:
        found = answered(draws, job.checkpoint, reader)
        file = str(reader.path)
    paces = Paces(found.rows.values())
    cost = _cost(job, query, paces)
    return Calibration(
        file=file,
        serial=found.serial,
        rules=tuple(
            _rule(job, one, cost, query.precision, outdated=is_outdated(one.draw, known)) for one in found.draws
        ),
        agreement=agreement(_pairs(found)),
        reviewers=paces.reviewers(),
        seconds=cost.seconds,
        cautions=cautions_about(job, found),
    )


def _cost(job: Job, query: CalibrationQuery, paces: Paces) -> Cost:
    """What an answer costs: at the pace that was measured, else at that of the job, as ``plan`` counts."""
    by_hand = job.pricing.by_hand
    hourly_usd = by_hand.hour_micros / 1e6 if query.hourly_usd is None else query.hourly_usd
    return Cost(hourly_usd=hourly_usd, seconds=paces.seconds() or 3600 / by_hand.images_per_hour)


# -- Draws -------------------------------------------------------------------------------------------------------------


def _draws(job: Job, query: CalibrationQuery) -> list[Draw]:
    if query.draw is not None:
        return [_one_draw(job, query.draw, query.numbers)]
    draws = stored_draws(job.answers_path, job.name, source=job.source.described)
    if query.numbers is None:
        if not draws:
            raise _no_draw(job, "there is no draw yet, so nothing was asked")
        return draws
    by_rule = {draw.measured.rule: draw for draw in draws}
    for number in query.numbers:
        if number not in by_rule:
            raise _no_draw(job, f"there is no draw of rules[{number}] yet")
    return [by_rule[number] for number in sorted(set(query.numbers))]


def _one_draw(job: Job, number: int, rules: Sequence[int] | None) -> Draw:
    draw = stored_draw(job.answers_path, number)
    if draw is None or draw.job != job.name or draw.source not in {"", job.source.described}:
        raise _no_draw(job, f"there is no draw {number} of this job")
    if rules is not None and draw.measured.rule not in rules:
        raise UsageError(
            f"--draw {number}: that draw is of rules[{draw.measured.rule}]", hint="Leave out --rule, or name that rule."
        )
    return draw


def _no_draw(job: Job, what: str) -> NothingToWorkOnError:
    return NothingToWorkOnError(
        f"{job.answers_path}: {what}", hint=f"Make one: asyncfilter audit {job.path or 'JOB'} -o tasks.json"
    )


def _pairs(found: AnsweredDraws) -> list[tuple[str, str]]:
    """The first and the second word about each image that is asked twice."""
    rows: dict[str, Sequence[Answer]] = {}
    for one in found.draws:
        for name in PartName:
            for image in one.draw.part(name).positions[ASKED_TWICE_EVERY - 1 :: ASKED_TWICE_EVERY]:
                _add(rows, found.rows, image)
    return [pair for of in rows.values() if (pair := word_pair(of)) is not None]


def _add(rows: dict[str, Sequence[Answer]], known: Mapping[DrawnImage, Sequence[Answer]], image: DrawnImage) -> None:
    """Add the rows of an image once, also where several draws have it."""
    if image in known:
        rows.setdefault(known[image][0].uid, known[image])


# -- Rules -------------------------------------------------------------------------------------------------------------


def _rule(job: Job, found: DrawStandings, cost: Cost, precision: float | None, *, outdated: bool) -> RuleCalibration:
    draw = found.draw
    figures = figures_of(_counted(found, outdated=outdated), cost=cost, precision=precision)
    announced = draw.targets.precision
    calibration = RuleCalibration(
        standings=found,
        figures=figures,
        text=_text(job, draw),
        is_outdated=outdated,
        is_announced=precision is None or precision == announced,
        precision=announced if precision is None else precision,
        keep_from=_threshold(job, draw.measured.rule, draw.measured.present),
        ask_from=None if draw.measured.asks is None else _threshold(job, draw.measured.asks, draw.measured.floor),
    )
    return calibration if figures.advice is None else _with_patch(calibration, job, figures.advice)


def _counted(found: DrawStandings, *, outdated: bool) -> RuleDraw:
    draw, targets = found.draw, found.draw.targets
    return RuleDraw(
        announced=Announced(precision=targets.precision, recall=targets.recall, confidence=targets.confidence),
        present=draw.measured.present,
        floor=draw.measured.floor,
        candidates=tuple(Candidate(threshold, images) for threshold, images in draw.counts),
        taken=found.parts[PartName.TAKEN].counted(),
        rest=found.parts[PartName.REST].counted(),
        has_score=draw.measured.has_score,
        is_outdated=outdated,
    )


def _text(job: Job, draw: Draw) -> str:
    number = draw.measured.rule
    return rule_text(job.rules[number]) if number < len(job.rules) else "a rule that the job has no more"


def _threshold(job: Job, number: int, otherwise: float) -> float:
    """The threshold of a rule as the job has it now."""
    found = one_threshold(job.rules[number]) if number < len(job.rules) else None
    return otherwise if found is None else found


# -- The job file ------------------------------------------------------------------------------------------------------


def _with_patch(found: RuleCalibration, job: Job, advice: Advice) -> RuleCalibration:
    """The calibration with what makes its advice true."""
    document, patch, problem = None, Patched((), b""), None
    try:
        content, file = read_job_file(job)
        document = _document(content, file)
        patch = patch_of(job, [found], content, file)
    except UsageError as error:
        problem = f"{error.message}. {error.hint or ''}".strip()
    return msgspec.structs.replace(
        found,
        settings=tuple(_settings(job, document, found, advice)),
        patch=tuple(Change(path=one.path, line=one.line, old=one.old, new=one.new) for one in patch.changes),
        patch_problem=problem,
    )


def read_job_file(job: Job) -> tuple[bytes, str]:
    """The bytes of the job file, and its name.

    Raises:
        UsageError: There is none, it cannot be read, or it is no regular file.
    """
    if job.path is None or not job.path.is_file():
        raise UsageError(f"{job.path or 'the job'}: not a file that can be changed", hint="Use --set instead.")
    try:
        return job.path.read_bytes(), str(job.path)
    except OSError as error:
        raise UsageError(f"{job.path}: {error.strerror or error}", hint="Allow reading of the job file.") from error


def patch_of(job: Job, rules: Iterable[RuleCalibration], content: bytes, file: str) -> Patched:
    """The job file with the advice of all rules that have some.

    Args:
        job: As the file has it.
        rules: The rules.
        content: Of the file.
        file: Its name.

    Raises:
        UsageError: A number is not written in the file, or cannot be changed alone.
    """
    document = _document(content, file)
    wanted: dict[Path, float] = {}
    for found in rules:
        if found.figures.advice is not None:
            for rule, verdict, number in _advised(job, found, found.figures.advice):
                wanted |= dict.fromkeys(confidence_paths(document, rule, verdict), number)
    return patched(content, file, wanted)


def _document(content: bytes, file: str) -> Document:
    return yaml_positions.read(yaml_positions.decode(content, file), file)


def _advised(job: Job, found: RuleCalibration, advice: Advice) -> Iterator[tuple[int, Verdict, float]]:
    """Rules with their verdicts, and the confidence that each should have, where it has another one."""
    measured = found.standings.draw.measured
    if _threshold(job, measured.rule, advice.keep_from) != advice.keep_from:
        yield measured.rule, Verdict.KEEP, advice.keep_from
    if measured.asks is not None and _threshold(job, measured.asks, advice.ask_from) != advice.ask_from:
        yield measured.asks, Verdict.REVIEW, advice.ask_from


def _settings(job: Job, document: Document | None, found: RuleCalibration, advice: Advice) -> Iterator[str]:
    """Arguments for ``--set``, of the numbers that are others now."""
    for rule, verdict, number in _advised(job, found, advice):
        only: Path = ("rules", rule, verdict.value, "confidence")
        for path in (only,) if document is None else confidence_paths(document, rule, verdict):
            yield f"{dotted(path)}={number_text(number)}"
