"""An estimate of the time that a run still takes: what is left to each limit, at the speed of the last 30 seconds."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, StopReason

WINDOW_S = 30.0
"""Seconds over which the speed is measured."""

LEAST_S = 2.0
"""Seconds of progress that are needed before there is an estimate."""


class Eta(NamedTuple):
    """The run is expected to end for ``reason`` in ``left_s`` seconds, unless something else ends it earlier."""

    left_s: float
    reason: StopReason


class _Sample(NamedTuple):
    at_s: float
    examined: int
    keep: int
    spent_micros: int


class EtaEstimator:
    """Estimates the end of one run from its progress; the end of the listing counts once its size is known."""

    def __init__(self, job: Job) -> None:
        self._goals = {
            StopReason.MATCHES: ("keep", job.stop.matches),
            StopReason.MAX_IMAGES: ("examined", job.limits.max_images),
            StopReason.BUDGET: ("spent_micros", job.limits.budget_micros),
        }
        self._seen: deque[_Sample] = deque()

    def see(self, progress: Progress) -> Eta | None:
        """The earliest end that can be estimated, None without one; to be called a few times a second."""
        counts = progress.counts
        now = _Sample(progress.elapsed_s, counts.examined, counts.keep, counts.spent_micros)
        self._seen.append(now)
        while now.at_s - self._seen[0].at_s > WINDOW_S:
            self._seen.popleft()
        then = self._seen[0]
        if now.at_s - then.at_s < LEAST_S or progress.ending is not None:
            return None
        goals = {**self._goals, StopReason.COMPLETED: ("examined", progress.expected)}
        ends = [
            Eta((goal - getattr(now, what)) * (now.at_s - then.at_s) / gained, reason)
            for reason, (what, goal) in goals.items()
            if goal is not None and (gained := getattr(now, what) - getattr(then, what)) > 0
        ]
        return min((end for end in ends if end.left_s >= 0), default=None)
