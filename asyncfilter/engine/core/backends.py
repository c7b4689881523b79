"""The detector backends of a run: where images are examined, each at a rate and a price of its own.

Invariants: an attempt is made at the backend that gave its permit; a throttle lowers the rate of the backend it came
from and of no other; no attempt costs more than ``Backends.price_micros`` of its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.core.limiter import LimiterStatistics, RateLimiter
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.rate import HIGHEST_TPS, START_TPS, RateController
from asyncfilter.ports.examine import Detector, HeldModel


class DetectorBackend(msgspec.Struct, frozen=True, kw_only=True):
    """One place where images can be examined.

    Attributes:
        detector: Examines the images.
        limit_tps: The rate that may be used, quota times share; None when it is not known.
        tps_origin: The origin of that figure, as text for people.
        price_micros: Price of the n-th image billed in a UTC month, n from 1; it never rises with n.
        hourly_micros: The price of the detector per hour of the run, with or without calls.
        units: Inference units with which a model runs; 0 where that is not known, and for a detector without a model.
        held_model: The model that this run has started and must stop; None without one.
        prices: The price list behind ``price_micros``; None where nothing is paid.
        region: The AWS region of the detector; empty for a detector of the calling program.
        quota: The result of the quota lookup; None where it was not looked up.
        is_local: True when the detector runs on this machine, where it costs nothing.
        ramps: False when it may be called at its full rate at once, since no service has to get used to it.
        most_in_flight: Most images under way that it has a use for; None where the rate decides.
    """

    detector: Detector
    limit_tps: float | None
    tps_origin: str
    price_micros: Callable[[int], int]
    hourly_micros: int = 0
    units: int = 0
    held_model: HeldModel | None = None
    prices: PriceList | None = None
    region: str = ""
    quota: QuotaAnswer | None = None
    is_local: bool = False
    ramps: bool = True
    most_in_flight: int | None = None


class PacedBackend:
    """A backend with the rate at which it is called.

    Attributes:
        detector: Makes attempts.
        limiter: Gives the permit of every attempt.
        controller: Sets the limiter's rate.
    """

    __slots__ = ("controller", "detector", "limiter")

    def __init__(self, backend: DetectorBackend, clock: Clock) -> None:
        self.detector = backend.detector
        self.controller = RateController(backend.limit_tps, start_tps=START_TPS if backend.ramps else HIGHEST_TPS)
        self.limiter = RateLimiter(self.controller, clock)


class Backends:
    """All backends of one run.

    Args:
        backends: At least one.
        clock: Time.

    Raises:
        ValueError: ``backends`` is empty.
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
        """The price of all backends per hour."""
        return sum(backend.hourly_micros for backend in self._specs)

    @property
    def held_model(self) -> HeldModel | None:
        """The model that the run has started; there is at most one."""
        return next((backend.held_model for backend in self._specs if backend.held_model is not None), None)

    @property
    def limit_tps(self) -> float | None:
        """The sum of the rates that may be used; None when one of them is not known."""
        limits = [backend.limit_tps for backend in self._specs]
        return sum(limit for limit in limits if limit is not None) if None not in limits else None

    @property
    def tps_origin(self) -> str:
        """The origin of that figure, as text for people."""
        return "; ".join(dict.fromkeys(backend.tps_origin for backend in self._specs))

    def price_micros(self, nth: int) -> int:
        """The most that the ``nth`` image of a month can cost, from 1: the price at the most expensive backend."""
        return max(backend.price_micros(nth) for backend in self._specs)

    def rate_tps(self) -> float:
        """The rate of attempts that is allowed now, summed over all backends."""
        now_s = self._clock.monotonic()
        return sum(backend.controller.rate_tps(now_s) for backend in self._paced)

    async def acquire(self) -> PacedBackend | None:
        """Wait for a permit of the backend with the shortest expected wait.

        Returns:
            The backend, at which one attempt must be made immediately; None once ``close`` was called. A cancelled
            caller uses no permit.
        """
        # With one backend there is nothing to compare, and nothing is computed for each attempt.
        backend = self._paced[0] if len(self._paced) == 1 else self._free_first()
        return backend if await backend.limiter.acquire() else None

    def close(self) -> None:
        """Give no more permits: ``acquire`` returns None to all waiting and all later callers."""
        for backend in self._paced:
            backend.limiter.close()

    def statistics(self) -> LimiterStatistics:
        """The statistics of all limiters, summed."""
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
