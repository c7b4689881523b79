"""People's answers in runs: a person takes precedence, no answer moves a stop, and no moment of answering matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.records.answers import Subject, TakenOver
from asyncfilter.testing import BROKEN, MemoryAnswers, Stage
from tests.engine.test_same_answer import LABELS, STOPS, one_by_one
from tests.kit import jobs
from tests.kit.answers import new_answer

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FINAL = {"keep": "keep", "reject": "reject", "unsure": "review"}


def make_job(
    *, stop: Mapping[str, Any] | None = None, cap: int | None = None, concurrency: int = 50, **changes: Any
) -> Job:
    """A job that copies robins, and images to look at, to two places."""
    changes.setdefault("rules", [{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}])
    return jobs.make_job(
        actions={"keep": {"copy": "s3://clean/{key}"}, "review": {"copy": "s3://look/{key}"}},
        limits={"tps": 5000, "concurrency": concurrency, "max_images": cap},
        stop=dict(stop or {}),
        **changes,
    )


def subject_of(stage: Stage, key: str) -> Subject:
    """The image with this key, as an answer names it."""
    listed = stage.source.head(key)
    assert listed is not None
    return Subject(bucket="raw", key=key, etag=listed.etag, size_bytes=listed.size_bytes)


class Reviewers:
    """People who answer at certain times of the runs."""

    def __init__(self, stage: Stage, answers: MemoryAnswers, plan: Sequence[tuple[float, str, str | None]]) -> None:
        self.stage = stage
        self.answers = answers
        self.plan = sorted(plan, key=lambda one: one[0])
        self._past = 0

    def begin(self) -> None:
        """Say what is said before the first run."""
        while self._past < len(self.plan) and self.plan[self._past][0] < 0:
            self.say(*self.plan[self._past][1:])
            self._past += 1

    async def work(self) -> None:
        """Say everything at its time, in seconds from now."""
        started_s = 0.0
        for at_s, key, verdict in self.plan[self._past :]:
            await anyio.sleep(max(0.0, at_s - started_s))
            started_s = max(at_s, started_s)
            self.say(key, verdict)
            self._past += 1

    def finish(self) -> None:
        """Say the rest now."""
        for _, key, verdict in self.plan[self._past :]:
            self.say(key, verdict)
        self._past = len(self.plan)

    def say(self, key: str, verdict: str | None) -> None:
        """One answer; None takes the last one about the key back."""
        former = [row for row in self.answers.rows if row.subject.key == key and row.undoes is None]
        if verdict is not None:
            self.answers.add([new_answer(verdict, subject_of(self.stage, key))])
        elif former:
            self.answers.add([new_answer(None, former[-1].subject, undoes=former[-1].uid)])

    def words(self) -> dict[str, str]:
        """The word that counts in the end, by key."""
        words: dict[str, list[str]] = {}
        taken: dict[str, set[int]] = {}
        for _, key, verdict in self.plan:
            said = words.setdefault(key, [])
            if verdict is not None:
                said.append(verdict)
            elif said:
                taken.setdefault(key, set()).add(len(said) - 1)
        kept = {
            key: [word for number, word in enumerate(said) if number not in taken.get(key, set())]
            for key, said in words.items()
        }
        return {key: said[-1] for key, said in kept.items() if said}


async def live(stage: Stage, reviewers: Reviewers, job: Job) -> Any:
    """One run while people answer."""
    reviewers.begin()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reviewers.work)
        summary = await stage.live(job)
        tasks.cancel_scope.cancel()
    return summary


def run_and_answer(stage: Stage, reviewers: Reviewers, job: Job, life_s: float | None = None) -> Any:
    """One process; killed after ``life_s`` virtual seconds."""

    async def process() -> Any:
        with anyio.move_on_after(life_s if life_s is not None else 1e9):
            return await live(stage, reviewers, job)

    return stage._live(process)


def state_of(stage: Stage) -> Any:
    """Everything that must not depend on when people answered."""
    return (
        [
            (row.seq, row.key, row.decision, row.failure and row.failure.code, row.answer and row.answer.verdict)
            for row in sorted(stage.checkpoint.images, key=lambda row: (row.seq is None, row.seq or 0, row.key))
            if row.seq is not None
        ],
        stage.checkpoint.opened.watermark.tally,
        stage.checkpoint.opened.answers,
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, str], list[tuple[float, str, str | None]]]:
    """Images, and answers about some of them at any time."""
    labels = draw(LABELS)
    said = st.tuples(
        st.floats(-3, 3), st.sampled_from(sorted(labels)), st.sampled_from(["keep", "reject", "unsure", None])
    )
    return labels, draw(st.lists(said, max_size=25))


@QUICK
@given(
    situation=situations(),
    stop=STOPS,
    concurrency=st.sampled_from([1, 200]),
    seed=st.integers(0, 100),
    crash_times_s=st.lists(st.floats(0.01, 3.0), max_size=4),
    changes_rules=st.booleans(),
)
def test_the_moment_of_an_answer_does_not_matter(
    situation: tuple[dict[str, str], list[tuple[float, str, str | None]]],
    stop: dict[str, Any],
    concurrency: int,
    seed: int,
    crash_times_s: list[float],
    changes_rules: bool,
) -> None:
    """Whenever people answer, through kills, the end is that of a slow run that knew everything from the beginning."""
    labels, plan = situation
    job = make_job(stop=stop, concurrency=concurrency)
    stage, answers = Stage(labels, seed=seed), MemoryAnswers()
    stage.answers = answers
    reviewers = Reviewers(stage, answers, plan)
    other = make_job(stop=stop, concurrency=concurrency, rules=[{"keep": {"any": "Wing"}}, {"review": {"any": "Cat"}}])
    for number, life_s in enumerate(crash_times_s):
        run_and_answer(stage, reviewers, other if changes_rules and number % 2 else job, life_s)
    summary = run_and_answer(stage, reviewers, job)
    reviewers.finish()
    summary = stage.refilter(job)

    expected = one_by_one(list(labels), labels, stop, None)
    words = reviewers.words()
    final = {key: FINAL.get(words.get(key, ""), verdict) for key, verdict in expected.verdicts.items()}
    assert stage.verdicts() == final
    assert summary.counts.examined == len(expected.verdicts) + len(expected.failed)
    for verdict in ("keep", "review", "reject"):
        assert getattr(summary.counts, verdict) == sum(one == verdict for one in final.values())
    assert summary.answers is not None
    assert (summary.answers.serial, summary.answers.pending) == (len(answers.rows), 0)
    followed = TakenOver(id=answers.id, serial=len(answers.rows)) if answers.rows else None
    assert stage.checkpoint.opened.answers == followed
    told = {key: words[key] for key in final if key in words}
    assert summary.counts.reviewed.keep == sum(word == "keep" for word in told.values())
    assert summary.counts.reviewed.unsure == sum(word == "unsure" for word in told.values())
    assert summary.counts.reviewed.overruled == sum(
        {word, expected.verdicts[key]} == {"keep", "reject"} for key, word in told.items()
    )
    assert summary.counts.copied == sum(verdict != "reject" for verdict in final.values())
    places = {"keep": "s3://clean/", "review": "s3://look/"}
    for row in stage.checkpoint.images:
        if row.seq is not None and row.decision is not None and row.decision.verdict.value in places:
            wanted = places[row.decision.verdict.value] + row.key
            assert wanted in [effect.target for effect in row.effects]
    stale = sum(
        effect.target != places.get(final[row.key], "-") + row.key
        for row in stage.checkpoint.images
        if row.seq is not None and row.key in final
        for effect in row.effects
    )
    assert summary.counts.stale == stale

    again = Stage(labels, seed=seed + 1)
    again.answers = answers
    again.run(make_job(stop=stop, concurrency=1))
    again.refilter(job)
    assert state_of(again)[0] == state_of(stage)[0]
    assert state_of(again)[2] == state_of(stage)[2]


@QUICK
@given(
    situation=situations(),
    stop=STOPS,
    cap=st.none() | st.integers(1, 40),
    concurrency=st.sampled_from([1, 200]),
    seed=st.integers(0, 100),
)
def test_no_answer_moves_a_stop(
    situation: tuple[dict[str, str], list[tuple[float, str, str | None]]],
    stop: dict[str, Any],
    cap: int | None,
    concurrency: int,
    seed: int,
) -> None:
    """What is listed, examined, called, paid and stopped is the same with any answers and with none."""
    labels, plan = situation
    found = []
    for said in ([], plan):
        stage, answers = Stage(labels, seed=seed), MemoryAnswers()
        stage.answers = answers
        job = make_job(stop=stop, cap=cap, concurrency=concurrency)
        summary = run_and_answer(stage, Reviewers(stage, answers, said), job)
        tally = stage.checkpoint.opened.watermark.tally
        found.append(
            (
                summary.stop_reason,
                summary.counts.listed,
                summary.counts.examined,
                summary.counts.calls if concurrency == 1 else None,
                stage.checkpoint.opened.watermark.seq,
                (tally.judged, tally.matches, tally.misses_in_a_row),
                summary.counts.failed,
            )
        )
    assert found[0] == found[1]


def test_broken_images_stay_failed() -> None:
    """An image that could not be examined stays failed, whatever people say about it."""
    stage, answers = Stage({"a.jpg": BROKEN, "b.jpg": "Cat"}), MemoryAnswers()
    stage.answers = answers
    answers.add([new_answer("keep", subject_of(stage, "a.jpg"))])
    summary = stage.run(make_job())
    assert (summary.counts.failed, summary.counts.keep) == ({"invalid_image_format": 1}, 0)
    answers.add([new_answer("reject", subject_of(stage, "a.jpg"))])
    assert stage.refilter(make_job()).counts.failed == {"invalid_image_format": 1}
