"""``audit``: what to ask people about, so that something can be said about the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

from asyncfilter.answers import open_reader
from asyncfilter.answers.draws import freeze
from asyncfilter.checkpoint import count_outside, read_images
from asyncfilter.datasets.answers.predictions import Predictions
from asyncfilter.datasets.answers.questions import AskedImage, question_writer
from asyncfilter.datasets.manifests.source_ref import join_path
from asyncfilter.errors import NothingToWorkOnError, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, uri_of
from asyncfilter.policy.audit_draw import PopulationCounts, new_draws
from asyncfilter.policy.audit_options import Announcement
from asyncfilter.policy.audit_questions import Question, QuestionFormat, questions
from asyncfilter.policy.audit_rules import measured_rules
from asyncfilter.policy.calibrated import Audited
from asyncfilter.policy.rule_text import rule_text
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.draws import Draw, MeasuredRule, NewDraw
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.answers import job_place
from asyncfilter.wiring.draws import answered, cautions_about, images_there, is_outdated, known_job

_QUESTIONS_AT_ONCE = 1000


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
    lost = job_place(job).caution()
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

    frozen = freeze(job.answers_path, job.name, make, source=job.source.described)
    draws = [draw for draw in frozen if draw.measured.rule in wanted]
    found = _audited(job, known, draws)
    return found if lost is None else msgspec.structs.replace(found, cautions=(lost, *found.cautions))


def _drawn(
    known: Job, rules: Sequence[MeasuredRule], announced: Announcement, first: int, at_unix_s: float
) -> tuple[NewDraw, ...]:
    """New draws of all rules that have a population; the seed of each is that announced, or its number."""
    while rules:
        seeds = [first + index if announced.seed is None else announced.seed for index in range(len(rules))]
        counted = _counted(known, zip(rules, seeds, strict=True), max(announced.targets().milestones))
        found = new_draws(counted, seeds, job=known, targets=announced.targets(), at_unix_s=at_unix_s)
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
        cautions=cautions_about(job, found),
    )


def _no_population(job: Job, wanted: Sequence[int]) -> NothingToWorkOnError:
    rules = ", ".join(f"rules[{number}]" for number in wanted)
    return NothingToWorkOnError(
        f"{job.checkpoint}: no image with labels is left for {rules}: earlier rules take all, or none was examined",
        hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
    )


# -- Questions ---------------------------------------------------------------------------------------------------------


class QuestionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How questions are written.

    Attributes:
        is_all: All positions that can be asked, answered or not.
        shows_machine: With what the machine says.
        s3_path: Stands for the source's folder in the lines of a manifest.
    """

    format_: QuestionFormat = QuestionFormat.LABEL_STUDIO
    is_all: bool = False
    shows_machine: bool = False
    s3_path: str | None = None


def write_questions(job: Job, found: Audited, out: BinaryIO, options: QuestionOptions) -> int:
    """Write what is to be asked, and return how many questions that are.

    Raises:
        UsageError: A manifest names images in S3, and these are not there; or the format cannot show the machine.
        CheckpointError: The checkpoint cannot be used.
    """
    job, known = known_job(job)
    check_options(job, options)
    predictions = Predictions(known) if options.shows_machine else None
    writer, written = question_writer(options.format_, out), 0
    asked = questions(found.draws, options.format_, is_all=options.is_all)
    while some := list(islice(asked, _QUESTIONS_AT_ONCE)):
        rows = images_there([one.image for one in some], job.checkpoint, labels=options.shows_machine)
        for one in some:
            writer.write(_asked(one, rows.get(one.image), options, predictions))
        written += len(some)
    writer.finish()
    return written


def check_options(job: Job, options: QuestionOptions) -> None:
    """Check how questions are to be written.

    Raises:
        UsageError: They cannot be written so.
    """
    if options.shows_machine and options.format_ not in {QuestionFormat.LABEL_STUDIO, QuestionFormat.JSONL}:
        raise UsageError(
            f"--show-machine: {options.format_} has no place for what the machine says",
            hint="Use --format label-studio or jsonl.",
        )
    is_manifest = options.format_ is QuestionFormat.GROUND_TRUTH
    if is_manifest and options.s3_path is None and job.source.store is not StoreKind.S3:
        raise UsageError(
            f"{job.source.described} is not in S3, and a manifest names images in S3",
            hint="Say where they will be: --s3-path s3://BUCKET/PREFIX.",
        )


def _asked(
    question: Question, row: StoredImage | None, options: QuestionOptions, predictions: Predictions | None
) -> AskedImage:
    image, prediction, rule = question.image, None, None
    if predictions is not None and row is not None and row.detection is not None:
        prediction, rule = predictions.of(row.detection)
    own = uri_of(image.bucket, image.key)
    return AskedImage(
        question=question,
        seq=None if row is None else row.seq,
        address=own if options.s3_path is None else join_path(options.s3_path, image.key),
        prediction=prediction,
        rule=rule,
    )
