"""The detector backends of a run: where images are examined, each at a rate and a price of its own.

Backends with names are the lanes of the job. Invariants: an attempt is made at the backend that gave its permit; a
throttle lowers the rate of the backend it came from and of no other; the price of an attempt is held at the most
expensive backend that is open, and settled at the one that was called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.core.limiter import LimiterStatistics, RateLimiter
from asyncfilter.engine.core.turnstile import Turnstile
from asyncfilter.events import LaneTerms
from asyncfilter.policy.billing_month import use_in
from asyncfilter.policy.lane_counts import LaneState
from asyncfilter.policy.price_position import PricePosition
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.rate import HIGHEST_TPS, START_TPS, RateController
from asyncfilter.ports.examine import Detector, HeldModel
from asyncfilter.records.progress import LaneTotals, MonthUse, Totals


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
        name: Of the lane; empty without lanes.
        account: Number of its account; None where STS may not be asked, and without lanes.
        by: ``reference`` or ``bytes``: how the lane gets its images; empty without lanes.
        used_this_month: Images that other programs had billed this month at the lane.
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
    name: str = ""
    account: str | None = None
    by: str = ""
    used_this_month: int = 0
    ramps: bool = True
    most_in_flight: int | None = None


class PacedBackend:
    """A backend with the rate at which it is called.

    Attributes:
        detector: Makes attempts.
        limiter: Gives the permit of every attempt.
        controller: Sets the limiter's rate.
        name: Of the lane; empty without lanes.
        position: Its place in the price tiers; None where there is one for the whole run.
        sums: What is counted for the lane; None without lanes.
        is_open: False once the lane was closed.
    """

    __slots__ = ("controller", "detector", "is_open", "limiter", "name", "position", "sums")

    def __init__(self, backend: DetectorBackend, clock: Clock) -> None:
        self.detector = backend.detector
        self.controller = RateController(backend.limit_tps, start_tps=START_TPS if backend.ramps else HIGHEST_TPS)
        self.limiter = RateLimiter(self.controller, clock)
        self.name = backend.name
        self.position: PricePosition | None = None
        self.sums: LaneTotals | None = None
        self.is_open = True


class Backends:
    """All backends of one run.

    Args:
        backends: At least one; either all have a name of their own or none has.
        clock: Time.

    Raises:
        ValueError: ``backends`` is empty.
    """

    def __init__(self, backends: Sequence[DetectorBackend], clock: Clock) -> None:
        if not backends:
            raise ValueError("a run needs a backend")
        self.specs = backends
        self._paced = [PacedBackend(backend, clock) for backend in backends]
        self._turnstile = Turnstile(self._paced, clock) if len(backends) > 1 else None
        self._clock = clock

    def __iter__(self) -> Iterator[PacedBackend]:
        return iter(self._paced)

    @property
    def are_lanes(self) -> bool:
        """True when the backends are lanes."""
        return bool(self.specs[0].name)

    @property
    def open_lanes(self) -> list[PacedBackend]:
        """The backends that are called."""
        return [backend for backend in self._paced if backend.is_open]

    @property
    def hourly_micros(self) -> int:
        """The price of all backends per hour."""
        return sum(backend.hourly_micros for backend in self.specs)

    @property
    def held_model(self) -> HeldModel | None:
        """The model that the run has started; there is at most one."""
        return next((backend.held_model for backend in self.specs if backend.held_model is not None), None)

    @property
    def limit_tps(self) -> float | None:
        """The sum of the rates that may be used; None when one of them is not known."""
        limits = [backend.limit_tps for backend in self.specs]
        return sum(limit for limit in limits if limit is not None) if None not in limits else None

    @property
    def tps_origin(self) -> str:
        """The origin of that figure, as text for people."""
        return "; ".join(dict.fromkeys(backend.tps_origin for backend in self.specs))

    def price_micros(self, nth: int) -> int:
        """The most that the ``nth`` image of a month can cost, from 1: the price at the most expensive backend."""
        return max(backend.price_micros(nth) for backend in self.specs)

    def positions(self, totals: Totals, month: str, used_this_month: int) -> list[PricePosition]:
        """The price positions, as the checkpoint has them: one for each lane, or one for all backends.

        From now on lanes are counted in ``totals``.

        Args:
            totals: The sums of the run.
            month: The present month, as in ``2026-11``.
            used_this_month: ``pricing.used_this_month``, for backends without names.
        """
        if not self.are_lanes:
            return [PricePosition(self.price_micros, use_in(month, totals.month_use, used_this_month))]
        for spec, backend in zip(self.specs, self._paced, strict=True):
            sums = totals.lanes.setdefault(spec.name, LaneTotals())
            # A lane that is elsewhere now is another one to AWS, which counts its images anew.
            is_same = (sums.region, sums.account) == (spec.region, spec.account)
            sums.region, sums.account, sums.by = spec.region, spec.account, spec.by
            sums.month_use = use_in(month, sums.month_use if is_same else MonthUse(), spec.used_this_month)
            backend.sums = sums
            backend.position = PricePosition(spec.price_micros, sums.month_use, sums=sums)
        return [backend.position for backend in self._paced if backend.position is not None]

    def old_used(self, positions: Sequence[PricePosition]) -> tuple[str, ...]:
        """The names of the backends whose ``used_this_month`` is of an earlier month, and not counted."""
        names = [spec.name for spec in self.specs] if self.are_lanes else [""]
        return tuple(name for name, one in zip(names, positions, strict=True) if one.month_use.has_old_used)

    def described(self) -> list[LaneTerms]:
        """The lanes, once ``positions`` was called; empty without lanes."""
        return [
            LaneTerms(
                name=spec.name,
                region=spec.region,
                account=spec.account,
                tps=spec.limit_tps,
                origin=spec.tps_origin,
                by=spec.by,
                price_micros=backend.position.next_micros,
            )
            for spec, backend in zip(self.specs, self._paced, strict=True)
            if backend.position is not None
        ]

    def states(self) -> dict[str, LaneState]:
        """The lanes as they are, by name."""
        return {
            backend.name: LaneState(tps_limit=backend.controller.limit_tps, is_closed=not backend.is_open)
            for backend in self._paced
        }

    def rate_tps(self) -> float:
        """The rate of attempts that is allowed now, summed over all open backends."""
        now_s = self._clock.monotonic()
        return sum(backend.controller.rate_tps(now_s) for backend in self._paced if backend.is_open)

    async def acquire(self, barred_s: Mapping[PacedBackend, float] | None = None) -> PacedBackend | None:
        """Wait for a permit of the backend that is due first.

        Args:
            barred_s: Backends that must not be used until a moment of the clock's ``monotonic``; with one backend alone
                the caller waits instead.

        Returns:
            The backend, at which one attempt must be made immediately; None once ``close`` was called. A cancelled
            caller uses no permit.
        """
        if self._turnstile is not None:
            return await self._turnstile.acquire(barred_s)
        # With one backend there is nothing to choose, and nothing is computed for each attempt.
        backend = self._paced[0]
        return backend if await backend.limiter.acquire() else None

    def remove(self, backend: PacedBackend) -> bool:
        """Call a backend no more; its attempts in flight finish. False for the last open one, which stays."""
        if self._turnstile is None or len(self.open_lanes) == 1:
            return False
        backend.is_open = False
        self._turnstile.remove(backend)
        return True

    def close(self) -> None:
        """Give no more permits: ``acquire`` returns None to all waiting and all later callers."""
        if self._turnstile is not None:
            self._turnstile.close()
        for backend in self._paced:
            backend.limiter.close()

    def statistics(self) -> LimiterStatistics:
        """The statistics of all limiters, summed."""
        each = [backend.limiter.statistics() for backend in self.open_lanes]
        limits = [one.limit_tps for one in each]
        waiting = 0 if self._turnstile is None else self._turnstile.waiting
        return LimiterStatistics(
            waiting=waiting + sum(one.waiting for one in each),
            attempts_last_s=sum(one.attempts_last_s for one in each),
            rate_tps=sum(one.rate_tps for one in each),
            limit_tps=sum(limit for limit in limits if limit is not None) if None not in limits else None,
            closed=all(one.closed for one in each),
        )
