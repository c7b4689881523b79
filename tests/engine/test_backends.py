"""Several detector backends in one run: each at its own rate, one ceiling over all."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from asyncfilter import Job
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.backends import Backends, DetectorBackend
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import ThrottleCause, ThrottledError
from asyncfilter.events import ignore
from asyncfilter.model import Detection, Label, ObjectRef, StopReason, Summary
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemorySource, RecordingSink, run_virtually
from tests.kit.jobs import make_bare_job


class TimedDetector:
    """A detector that finds a robin in every image and records the time of each attempt; ``refuses`` throttles it."""

    def __init__(self, refuses: Callable[[float], bool] = lambda _now_s: False) -> None:
        self.times_s: list[float] = []
        self.refused = 0
        self._refuses = refuses

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        now_s = anyio.current_time()
        self.times_s.append(now_s)
        await anyio.sleep(0.1)
        if self._refuses(now_s):
            self.refused += 1
            raise ThrottledError("too fast", cause=ThrottleCause.RATE)
        return Detection(labels=(Label(name="Robin", confidence_pct=99.0),))


def backend(detector: TimedDetector, *, tps: float | None = 10.0, price_micros: int = 1000) -> DetectorBackend:
    """A backend at a fixed price, 10 a second by default."""
    return DetectorBackend(
        detector=detector, limit_tps=tps, tps_origin="the test", price_micros=lambda _nth: price_micros
    )


def run(job: Job, images: int, *backends: DetectorBackend) -> Summary:
    """Run ``job`` over so many images, in virtual time."""
    inputs = RunInputs(
        source=MemorySource.of_keys(f"{index:05d}.jpg" for index in range(images)),
        check=lambda _listed: None,
        backends=backends,
        concurrency=200,
    )

    async def main() -> Summary:
        context = RunContext(run_id="r", emit=ignore, clock=LoopClock())
        pipeline = assemble(job, context=context, checkpoint=MemoryCheckpoint(), sink=RecordingSink(), inputs=inputs)
        return await pipeline.run()

    return run_virtually(main)


def busiest_second(times_s: list[float]) -> int:
    """Attempts in the busiest second."""
    return max(sum(start <= time_s < start + 1.0 for time_s in times_s) for start in times_s)


def test_each_backend_keeps_its_own_rate_and_is_used_to_it() -> None:
    """Backends of 20 and 5 a second reach nearly 25 together, and neither rate is exceeded in any second."""
    fast, slow = TimedDetector(), TimedDetector()
    summary = run(make_bare_job(), 1500, backend(fast, tps=20.0), backend(slow, tps=5.0))
    assert summary.counts.keep == len(fast.times_s) + len(slow.times_s) == 1500
    assert busiest_second(fast.times_s) <= 20 * 1.05 + 1
    assert busiest_second(slow.times_s) <= 5 * 1.05 + 1
    assert 3.5 < len(fast.times_s) / len(slow.times_s) < 4.5
    assert summary.tps_limit == pytest.approx(25.0)
    assert summary.wall_s < 1500 / 25 * 1.1


def test_a_throttle_lowers_the_rate_of_its_own_backend_only() -> None:
    """One backend refuses more than 2 a second; the other continues at its 10, and no image is lost."""
    strict = TimedDetector()
    strict._refuses = lambda now_s: sum(now_s - 1.0 < time_s <= now_s for time_s in strict.times_s) > 2
    free = TimedDetector()
    summary = run(make_bare_job(), 600, backend(strict), backend(free))
    assert strict.refused > 0
    assert summary.counts.keep == 600
    assert len(free.times_s) > 600 * 0.75
    assert busiest_second(free.times_s) >= 9


def test_the_budget_is_a_ceiling_over_all_backends() -> None:
    """Every call is reserved at the dearest price, so that the ceiling holds whichever backend takes it."""
    cheap, dear = TimedDetector(), TimedDetector()
    job = make_bare_job(limits={"budget_usd": 0.1})
    summary = run(job, 500, backend(cheap, price_micros=500), backend(dear, price_micros=1000))
    assert summary.stop_reason is StopReason.BUDGET
    actual_micros = 500 * len(cheap.times_s) + 1000 * len(dear.times_s)
    assert actual_micros <= summary.counts.spent_micros <= 100_000
    assert cheap.times_s
    assert dear.times_s


def test_a_run_without_a_backend_is_refused() -> None:
    """A run without any backend is refused."""
    with pytest.raises(ValueError, match="needs a backend"):
        Backends([], SystemClock())


def test_the_rate_of_all_is_unknown_where_one_is() -> None:
    """The sum of the rates is unknown if one of them is."""
    backends = Backends([backend(TimedDetector()), backend(TimedDetector(), tps=None)], SystemClock())
    assert backends.limit_tps is None
    assert backends.statistics().limit_tps is None
