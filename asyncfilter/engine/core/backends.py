"""The detector backends of a run: where images are examined, each at a rate and a price of its own.

Invariants: an attempt is made at the backend that gave its permit; a throttle lowers the rate of the backend it came
from and of no other; no attempt costs more than ``Backends.price_micros`` says for its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.limiter import LimiterStatistics, RateLimiter
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.rate import RateController
from asyncfilter.ports import Detector


class DetectorBackend(msgspec.Struct, frozen=True, kw_only=True):
    """One place where images can be examined.

    Attributes:
        detector: Looks at them.
        limit_tps: The rate that may be used, quota times share; None when nothing is known of it.
        tps_origin: Where that figure comes from, for people.
        price_micros: Price of the n-th billed call of this checkpoint, n from 1; it never rises with n.
        hourly_micros: What the detector costs an hour while the run lasts, whatever it does.
        prices: What ``price_micros`` follows; None where nothing is paid.
        region: Where the detector is; empty for one of your own.
        quota: What is known of the quota; None where it was not looked up.
        is_local: True when the detector responds on this machine, where it costs nothing.
    """

    detector: Detector
    limit_tps: float | None
    tps_origin: str
    price_micros: Callable[[int], int]
    hourly_micros: int = 0
    prices: PriceList | None = None
    region: str = ""
    quota: QuotaAnswer | None = None
    is_local: bool = False


class PacedBackend:
    """A backend with the rate at which it is called.

    Attributes:
        detector: Makes attempts.
        limiter: Every attempt passes it.
        controller: Decides its rate.
    """

    __slots__ = ("controller", "detector", "limiter")

    def __init__(self, backend: DetectorBackend, clock: Clock) -> None:
        self.detector = backend.detector
        self.controller = RateController(backend.limit_tps)
        self.limiter = RateLimiter(self.controller, clock)


class Backends:
    """All backends of one run.

    Args:
        backends: At least one.
        clock: Time.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, backends: Sequence[DetectorBackend], clock: Clock) -> None:
        if not backends:
            raise ValueError("a run needs a backend")
        self._specs = backends
        self._paced = [PacedBackend(backend, clock) for backend in backends]
        self._clock = clock

    def __iter__(self) -> Iterator[PacedBackend]:
        return iter(self._paced)

    @property
    def hourly_micros(self) -> int:
        """What all of them cost an hour."""
        return sum(backend.hourly_micros for backend in self._specs)

    @property
    def limit_tps(self) -> float | None:
        """The rate that may be used in all; None when it is not known of one."""
        limits = [backend.limit_tps for backend in self._specs]
        return sum(limit for limit in limits if limit is not None) if None not in limits else None

    @property
    def tps_origin(self) -> str:
        """Where that figure comes from, for people."""
        return "; ".join(dict.fromkeys(backend.tps_origin for backend in self._specs))

    def price_micros(self, nth: int) -> int:
        """What the ``nth`` billed call costs at the most, from 1: the price of the dearest backend."""
        return max(backend.price_micros(nth) for backend in self._specs)

    def rate_tps(self) -> float:
        """The rate of attempts that is allowed now, in all."""
        now_s = self._clock.monotonic()
        return sum(backend.controller.rate_tps(now_s) for backend in self._paced)

    async def acquire(self) -> PacedBackend | None:
        """Wait for a permit of the backend that is free first.

        Returns:
            The backend, at which one attempt must be made at once; None once ``close`` was called. A cancelled caller
            has used no permit.
        """
        backend = self._paced[0] if len(self._paced) == 1 else self._free_first()
        return backend if await backend.limiter.acquire() else None

    def close(self) -> None:
        """Give no more permits: every task that waits, and every later one, is refused."""
        for backend in self._paced:
            backend.limiter.close()

    def statistics(self) -> LimiterStatistics:
        """What the limiters are doing, in all."""
        each = [backend.limiter.statistics() for backend in self._paced]
        limits = [one.limit_tps for one in each]
        return LimiterStatistics(
            waiting=sum(one.waiting for one in each),
            attempts_last_s=sum(one.attempts_last_s for one in each),
            rate_tps=sum(one.rate_tps for one in each),
            limit_tps=sum(limit for limit in limits if limit is not None) if None not in limits else None,
            closed=all(one.closed for one in each),
        )

    def _free_first(self) -> PacedBackend:
        return min(self._paced, key=lambda backend: backend.limiter.expected_wait_s())
