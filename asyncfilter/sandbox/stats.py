"""Counters of the sandbox, with which tests and benchmarks check rate, spending and repeated calls.

Times are monotonic seconds. The seconds of a series are counted from the first attempt of that operation.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

import msgspec

from asyncfilter.sandbox.accounts import Pair

MAX_SERIES_S: Final = 24 * 3600
MAX_REPEATED: Final = 10_000


class OperationStats(msgspec.Struct, kw_only=True):
    """Counters of one operation.

    Attributes:
        attempts: Requests that arrived.
        accepted: Attempts answered with 2xx or 3xx.
        throttled: Attempts refused by the quota.
        faulted: Attempts with an injected fault, by kind.
        errors: Error responses by code, including throttles and faults.
        billed: Examined images: successes, including those whose response was lost.
        billed_at_most: ``billed`` plus the attempts that ended in 5xx.
        in_flight_max: Largest number of requests in progress at the same time.
        attempts_per_1s_max: Most attempts in any window of one second, accepted or not.
        per_second: Attempts, accepted and throttled, for each second.
    """

    attempts: int = 0
    accepted: int = 0
    throttled: int = 0
    faulted: dict[str, int] = {}
    errors: dict[str, int] = {}
    billed: int = 0
    billed_at_most: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    attempts_per_1s_max: int = 0
    per_second: list[tuple[int, int, int]] = []


class PairStats(msgspec.Struct, kw_only=True):
    """Counters of the detections of one pair of access key and region; fields are those of ``OperationStats``."""

    attempts: int = 0
    throttled: int = 0
    billed: int = 0
    billed_at_most: int = 0
    attempts_per_1s_max: int = 0


class Stats(msgspec.Struct, kw_only=True):
    """Counters of all operations.

    Attributes:
        pairs: Counters of the detections of each pair of access key and region, by ``KEY@REGION``. The KEY of a role is
            the number of its account, or the access key of the sandbox's own account.
        keys_examined: Distinct images that passed the quota, if keys are counted.
        calls_per_key_max: Most times one image was examined.
        keys_examined_again: The images examined more than once, with their counts; at most 10,000 of them.
    """

    operations: dict[str, OperationStats]
    pairs: dict[str, PairStats] = {}
    keys_examined: int
    calls_per_key_max: int
    keys_examined_again: dict[str, int]


class Operation:
    """The counters of one operation, updated with each request."""

    def __init__(self) -> None:
        self.counts = OperationStats()
        self._recent: deque[float] = deque()
        self._began_s: float | None = None
        self._series: list[list[int]] = []

    def begin(self, at_s: float) -> None:
        """Count a request that arrived at ``at_s``."""
        counts, recent = self.counts, self._recent
        counts.attempts += 1
        counts.in_flight += 1
        counts.in_flight_max = max(counts.in_flight_max, counts.in_flight)
        while recent and recent[0] <= at_s - 1.0:
            recent.popleft()
        recent.append(at_s)
        counts.attempts_per_1s_max = max(counts.attempts_per_1s_max, len(recent))
        self._count(0, at_s)

    def throttled(self, at_s: float) -> None:
        """Count a request that arrived at ``at_s`` and was refused by the quota."""
        self.counts.throttled += 1
        self._count(2, at_s)

    def faulted(self, kind: str) -> None:
        """Count an injected fault."""
        self.counts.faulted[kind] = self.counts.faulted.get(kind, 0) + 1

    def end(self, at_s: float, status: int, code: str, *, lost: bool, detects: bool) -> None:
        """Count the end of the request that arrived at ``at_s``; ``lost`` if its response does not reach the client."""
        counts = self.counts
        counts.in_flight -= 1
        if code:
            counts.errors[code] = counts.errors.get(code, 0) + 1
        if status < 400 and not code:
            if not lost:
                counts.accepted += 1
                self._count(1, at_s)
            counts.billed += detects
        counts.billed_at_most += detects and (status < 400 or status >= 500)

    def _count(self, column: int, at_s: float) -> None:
        if self._began_s is None:
            self._began_s = at_s
        second = int(at_s - self._began_s)
        if not 0 <= second < MAX_SERIES_S:
            return
        while len(self._series) <= second:
            self._series.append([0, 0, 0])
        self._series[second][column] += 1

    def snapshot(self) -> OperationStats:
        """The counters at this moment."""
        series = [(row[0], row[1], row[2]) for row in self._series]
        return msgspec.structs.replace(self.counts, per_second=series)


class PairCounter:
    """The counters of one pair, updated with each detection."""

    __slots__ = ("_recent", "counts")

    def __init__(self) -> None:
        self.counts = PairStats()
        self._recent: deque[float] = deque()

    def begin(self, at_s: float) -> None:
        """Count a detection that arrived at ``at_s``."""
        counts, recent = self.counts, self._recent
        counts.attempts += 1
        while recent and recent[0] <= at_s - 1.0:
            recent.popleft()
        recent.append(at_s)
        counts.attempts_per_1s_max = max(counts.attempts_per_1s_max, len(recent))

    def end(self, status: int, code: str) -> None:
        """Count the end of a detection."""
        self.counts.billed += status < 400 and not code
        self.counts.billed_at_most += status < 400 or status >= 500


class Counters:
    """The counters of all operations, and how often each image was examined."""

    def __init__(self, *, count_keys: bool) -> None:
        self._count_keys = count_keys
        self._operations: dict[str, Operation] = {}
        self._pairs: dict[Pair, PairCounter] = {}
        self._examined: Counter[str] = Counter()

    def operation(self, name: str) -> Operation:
        """The counters of an operation."""
        held = self._operations.get(name)
        if held is None:
            held = self._operations[name] = Operation()
        return held

    def pair(self, pair: Pair) -> PairCounter:
        """The counters of the detections of a pair of access key and region."""
        held = self._pairs.get(pair)
        if held is None:
            held = self._pairs[pair] = PairCounter()
        return held

    def examined(self, uri: str) -> None:
        """Count an attempt on ``bucket/key`` that passed the quota."""
        if self._count_keys:
            self._examined[uri] += 1

    def snapshot(self) -> Stats:
        """All counters at this moment."""
        again = {uri: times for uri, times in self._examined.items() if times > 1}
        return Stats(
            operations={name: operation.snapshot() for name, operation in sorted(self._operations.items())},
            pairs={pair.name: msgspec.structs.replace(one.counts) for pair, one in sorted(self._pairs.items())},
            keys_examined=len(self._examined),
            calls_per_key_max=max(self._examined.values(), default=0),
            keys_examined_again=dict(list(again.items())[:MAX_REPEATED]),
        )

    def reset(self) -> None:
        """Set all counters to zero. Requests in progress are not counted afterwards: wait for their end first."""
        self._operations.clear()
        self._pairs.clear()
        self._examined.clear()
