"""What ``calibrate`` says in words and draws in lines, from one calibration to the next."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncfilter.policy.audit_progress import Standing, with_standings
from asyncfilter.policy.calibrated import Calibration, RuleCalibration
from asyncfilter.policy.calibration import (
    Announced,
    Candidate,
    Cost,
    RuleDraw,
    agreement,
    calibrate,
    candidates,
)
from asyncfilter.records.answers import CurrentVerdict
from asyncfilter.records.draws import Draw, DrawnImage, DrawnPart, MeasuredRule, PartName, Targets
from asyncfilter.report.terminal.calibration import draw_calibration
from asyncfilter.report.terminal.interval_plot import IntervalPlot, IntervalRow
from asyncfilter.report.terminal.text import PlainConsole

FLOOR, PRESENT = 70.0, 85.0


def calibrated(
    *, good: float, answered: int, images: int = 4_000, precision: float = 0.9, recall: float | None = None
) -> RuleCalibration:
    """A rule of which the share ``good`` of the answered images is good at every threshold, none of the rest."""
    rng = random.Random(1)
    scores = [FLOOR + rng.randrange(30) for _ in range(400)]
    words = [CurrentVerdict.KEEP if number * good % 1 < good else CurrentVerdict.REJECT for number in range(400)]
    taken, rest = drawn("taken", scores, images), drawn("rest", [1.0] * 400, images)
    thresholds = candidates(floor=FLOOR, present=PRESENT)
    counts = tuple((one, round(images * (100 - one) / 30)) for one in thresholds)
    draw = Draw(
        number=1,
        job="robins",
        measured=MeasuredRule(rule=0, population="p", present=PRESENT, floor=FLOOR, has_score=True),
        targets=Targets(precision=precision, recall=recall, confidence=0.95, milestones=(100, 200, 400)),
        seed=1,
        created_at_unix_s=0.0,
        images=2 * images,
        last_seq=2 * images,
        counts=counts,
        taken=taken,
        rest=rest,
    )
    nothing = [CurrentVerdict.REJECT] * 400
    standings = {
        image: Standing(answer=word if number < answered else None)
        for part, said in ((taken, words), (rest, nothing))
        for number, (image, word) in enumerate(zip(part.positions, said, strict=True))
    }
    found = with_standings(draw, standings)
    figures = calibrate(
        RuleDraw(
            announced=Announced(precision=precision, recall=recall, confidence=0.95),
            present=PRESENT,
            floor=FLOOR,
            candidates=tuple(Candidate(*one) for one in counts),
            taken=found.parts[PartName.TAKEN].counted(),
            rest=found.parts[PartName.REST].counted(),
        ),
        cost=Cost(),
    )
    return RuleCalibration(
        standings=found,
        figures=figures,
        text="Robin",
        is_outdated=False,
        is_announced=True,
        precision=precision,
        keep_from=PRESENT,
        ask_from=FLOOR,
    )


def drawn(name: str, scores: Sequence[float], images: int) -> DrawnPart:
    """The first positions of a part."""
    positions = tuple(
        DrawnImage(bucket="raw", key=f"{name}/{number}.jpg", etag="e", size_bytes=1, score=score)
        for number, score in enumerate(scores)
    )
    return DrawnPart(images=images, positions=positions)


def shown(rule: RuleCalibration, *, columns: int = 100, encoding: str = "utf-8") -> list[str]:
    """The lines on a terminal of this width."""
    found = Calibration(file="a.db", serial=1, rules=(rule,), agreement=agreement([]), reviewers=(), seconds=3.0)
    console = PlainConsole(file=io.TextIOWrapper(raw := io.BytesIO(), encoding=encoding), width=columns)
    console.print(draw_calibration(found, Path("job.yaml")))
    console.file.flush()
    return raw.getvalue().decode(encoding).splitlines()


def words(lines: Sequence[str]) -> str:
    """All of it as one line."""
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("rule", "said", "unsaid"),
    [
        ({"good": 1.0, "answered": 10}, ["no threshold is certified yet", "known after 25"], ["about"]),
        ({"good": 0.97, "answered": 60}, ["more answers will show 90 % from 85", "(at 400)"], ["--new"]),
        (
            {"good": 0.92, "answered": 300},
            ["answers would show 90 % from 85", "takes a new draw: asyncfilter audit job.yaml --new --milestones 100,"],
            ["more answers"],
        ),
        (
            {"good": 0.9, "answered": 400, "images": 90_000},
            ["is too near 90 % for 5,000 answers to show it"],
            ["cannot be shown"],
        ),
        ({"good": 0.8, "answered": 400}, ["are good: 90 % cannot be shown", "--precision 0."], ["too near"]),
        ({"good": 1.0, "answered": 400}, ["certified: of all images with a score from 7", "keep from 7"], ["yet"]),
        (
            {"good": 1.0, "answered": 400, "recall": 0.9999},
            ["99.99 % was announced: not shown", "the answers do not show the announced recall"],
            ["keep from"],
        ),
    ],
)
def test_what_is_missing_is_said_in_words(rule: dict[str, float], said: list[str], unsaid: list[str]) -> None:
    """Each state of an audit has its sentence, and none of another's."""
    text = words(shown(calibrated(**rule)))  # type: ignore[arg-type]  # counts are whole numbers
    assert all(one in text for one in said), text
    assert not any(one in text.split("What a certificate")[0] for one in unsaid), text


@pytest.mark.parametrize("columns", [30, 40, 64, 80, 120])
@pytest.mark.parametrize("answered", [0, 60, 400])
def test_no_line_is_wider_than_the_terminal(columns: int, answered: int) -> None:
    """From 30 columns on nothing is cut off, and every threshold that is shown has its plot, once there are answers."""
    lines = shown(calibrated(good=0.97, answered=answered), columns=columns)
    assert max(map(len, lines)) <= columns
    assert (sum("┊" in line or "┼" in line for line in lines) >= 3) is (answered > 0)


def test_a_terminal_without_unicode_has_the_same_plot() -> None:
    """Other characters, in the same columns."""
    rows = [IntervalRow(name="85", images="1", hits="1/1", share=0.95, low=0.86, high=1.0)]
    drawings = []
    for encoding in ("utf-8", "ascii"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        console = PlainConsole(file=file, width=80)
        with console.capture() as captured:
            console.print(IntervalPlot(rows, target=0.9, heads=("from", "images", "good")))
        drawings.append(captured.get())
    assert drawings[1].isascii()
    assert drawings[0].translate(str.maketrans("├─┤●┊┼·", "|-|o:+.")) == drawings[1]
