"""Work on many images at once lets the event loop go on in between, so that permits are used when they are due."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from asyncfilter.policy.matching import match
from asyncfilter.testing import Stage
from tests.kit.jobs import make_job
from tests.kit.labels import birds, cycled


class Iterations:
    """Counts the iterations of event loops, and what happens in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 0
        self.seen: Counter[int] = Counter()
        run_once = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]

        def counted(running: asyncio.BaseEventLoop) -> None:
            self._now += 1
            run_once(running)

        monkeypatch.setattr(asyncio.BaseEventLoop, "_run_once", counted)

    def note(self) -> None:
        """One more in this iteration."""
        self.seen[self._now] += 1

    @property
    def most(self) -> int:
        """The most in one iteration."""
        return max(self.seen.values())


def test_the_actions_of_many_images_begin_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image is answered last, and releases all others at the same time."""
    iterations = Iterations(monkeypatch)
    labels = cycled(60, "Robin")
    stage = Stage(labels, sink_fault=lambda _key, _attempt: iterations.note())
    stage.latency_s = dict.fromkeys(labels, 0.1) | {min(labels): 30.0}
    stage.run(make_job())
    assert iterations.seen.total() == len(labels)
    assert 1 < iterations.most <= 30


def test_the_objects_of_a_page_are_looked_at_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has as many objects as S3 lists at once."""
    iterations = Iterations(monkeypatch)

    def noted(*rows: object, **options: object) -> object:
        iterations.note()
        return match(*rows, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("asyncfilter.engine.examine.producer.match", noted)
    labels = birds(1000)
    Stage(labels, page_objects=1000).run(make_job())
    assert iterations.seen.total() == len(labels)
    assert iterations.most <= 200
