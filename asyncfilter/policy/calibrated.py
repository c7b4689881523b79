"""What ``audit`` and ``calibrate`` find out: draws with their answers, the figures made of them, and a changed job."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.policy.audit_progress import DrawStandings
from asyncfilter.policy.calibration import Agreement, RuleFigures
from asyncfilter.records.draws import ImageCounts


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """The draws of a job's rules, and how far they are answered.

    Attributes:
        draws: By number of the rule.
        texts: Each rule in a few words.
        outdated: Numbers of the draws whose rule has changed since.
        counts: Images of the checkpoint that are in no population, and those examined after the oldest of these draws.
        cautions: What lessens the worth of a draw.
    """

    draws: tuple[DrawStandings, ...]
    texts: tuple[str, ...]
    outdated: frozenset[int]
    counts: ImageCounts
    cautions: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the job file that the advice changes.

    Attributes:
        path: Its key, such as ``rules[0].keep.confidence``.
        line: In the job file, from 1.
        old: As it is written; ``new`` as it would be.
    """

    path: str
    line: int
    old: str
    new: str


class RuleCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """One rule with its draw and figures.

    Attributes:
        text: The rule in a few words.
        is_announced: False where another precision is looked at than the announced one.
        precision: What is looked at.
        keep_from: The rule's threshold as the job has it now; ``ask_from`` that of the review rule with the same
            condition, None without one.
        patch: The changes of the job file that make the advice true; empty where it is true already.
        settings: The same for ``--set``.
        patch_problem: Why the job file cannot be changed so; None where it can.
    """

    standings: DrawStandings
    figures: RuleFigures
    text: str
    is_outdated: bool
    is_announced: bool
    precision: float
    keep_from: float
    ask_from: float | None
    patch: tuple[Change, ...] = ()
    settings: tuple[str, ...] = ()
    patch_problem: str | None = None


class ReviewerPace(msgspec.Struct, frozen=True, kw_only=True):
    """One person.

    Attributes:
        answers: Rows with a verdict that count.
        seconds: Median time that an image was shown; None where no row says it.
    """

    name: str
    answers: int
    seconds: float | None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``calibrate`` says.

    Attributes:
        file: The answers file; ``serial`` is that of its newest row.
        seconds: Median time that an answer takes.
        is_written: Whether the job file was changed.
        cautions: What lessens the worth of a certificate.
    """

    file: str
    serial: int
    rules: tuple[RuleCalibration, ...]
    agreement: Agreement
    reviewers: Sequence[ReviewerPace]
    seconds: float
    is_written: bool = False
    cautions: tuple[str, ...] = ()
