"""Lanes: several regions and accounts in one run, each with its own rate, back-off, price position and sums."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.engine.examine.pipeline import Pipeline
from asyncfilter.errors import (
    ExitCode,
    ImageError,
    PermissionDeniedError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.events import (
    AttemptFailed,
    Event,
    ImageExamined,
    JobWarning,
    LaneClosed,
    ModelVersionsDiffer,
    RateChanged,
    RunStarted,
)
from asyncfilter.model import Detection, Label, LaneCounts, ObjectRef, StopReason, Summary
from asyncfilter.policy.lane_counts import OTHER
from asyncfilter.records.progress import Batch, MonthUse, Totals
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemorySource, RecordingSink, run_virtually
from tests.kit.jobs import make_bare_job

SUMS = ("calls", "attempts", "throttled", "retried", "billed_calls", "spent_micros")
Fault = Callable[[ObjectRef, float], Exception | None]


def no_fault(_image: ObjectRef, _now_s: float) -> None:
    """Every attempt succeeds."""


class LaneDetector:
    """The detector of one lane: notes the time and the key of each attempt, then fails by ``fault`` or answers."""

    def __init__(self, fault: Fault = no_fault, *, version: str = "3.0", latency_s: float = 0.1) -> None:
        self.asked: list[tuple[float, str]] = []
        self.answered = 0
        self._fault = fault
        self._version = version
        self._latency_s = latency_s

    @property
    def times_s(self) -> list[float]:
        """The times of all attempts."""
        return [time_s for time_s, _ in self.asked]

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        now_s = anyio.current_time()
        self.asked.append((now_s, image.key))
        await anyio.sleep(self._latency_s)
        if error := self._fault(image, now_s):
            raise error
        self.answered += 1
        return Detection((Label(name="Robin", confidence_pct=99.0),), model_version=self._version)


class Lanes:
    """Runs of one checkpoint, in virtual time, each with the lanes that it is given."""

    def __init__(self, images: int = 100) -> None:
        self.checkpoint = MemoryCheckpoint()
        self.keys = [f"{index:06d}.jpg" for index in range(images)]
        self.events: list[Event] = []
        self.runs = 0

    def run(self, job: Job | None = None, *backends: DetectorBackend) -> Summary:
        """Run to the end, and return the summary."""

        async def main() -> Summary:
            return await self._pipeline(job, backends).run()

        summary = run_virtually(main)
        if summary.counts.lanes is not None:
            check_sums(summary)
        return summary

    def run_for(self, seconds: float, *backends: DetectorBackend) -> Totals:
        """Run, and kill the run after some seconds; the sums that the next process finds."""

        async def main() -> None:
            pipeline = self._pipeline(None, backends)
            with anyio.move_on_after(seconds):
                await pipeline.run()

        run_virtually(main)
        self.checkpoint = self.checkpoint.reopen()
        return self.checkpoint.opened.totals

    def _pipeline(self, job: Job | None, backends: Sequence[DetectorBackend]) -> Pipeline:
        self.checkpoint = self.checkpoint.reopen()
        self.runs += 1
        inputs = RunInputs(
            source=MemorySource.of_keys(self.keys),
            check=lambda _listed: None,
            backends=tuple(backends),
            concurrency=500,
        )
        context = RunContext(run_id=f"r{self.runs}", emit=self.events.append, clock=LoopClock())
        return assemble(
            job or make_bare_job(), context=context, checkpoint=self.checkpoint, sink=RecordingSink(), inputs=inputs
        )


def check_sums(summary: Summary) -> None:
    """The lanes add up to the run's own figures, over its life and in this run."""
    for counts in (summary.counts, summary.this_run):
        assert counts.lanes is not None
        for key in SUMS:
            assert sum(getattr(lane, key) for lane in counts.lanes.values()) == getattr(counts, key), key


def lane(
    name: str,
    detector: LaneDetector,
    *,
    tps: float | None = 50.0,
    price_micros: Callable[[int], int] = lambda _nth: 1000,
    used: int = 0,
) -> DetectorBackend:
    """A lane with its detector."""
    return DetectorBackend(
        detector=detector,
        limit_tps=tps,
        tps_origin="the test",
        price_micros=price_micros,
        name=name,
        region=name,
        account="111122223333",
        by="reference",
        used_this_month=used,
    )


def lanes_of(summary: Summary) -> Mapping[str, LaneCounts]:
    """The lanes of a summary."""
    assert summary.counts.lanes is not None
    return summary.counts.lanes


def throttled(_image: ObjectRef, _now_s: float) -> Exception:
    """Every attempt is throttled."""
    return ThrottledError("too fast", cause=ThrottleCause.RATE)


def busiest_second(times_s: Sequence[float]) -> int:
    """Attempts in the busiest second."""
    most, first = 0, 0
    for index, time_s in enumerate(times_s):
        while times_s[first] <= time_s - 1.0:
            first += 1
        most = max(most, index - first + 1)
    return most


def rate_between(detector: LaneDetector, begin_s: float, end_s: float) -> float:
    """Attempts a second in a stretch of time."""
    return sum(begin_s <= time_s < end_s for time_s in detector.times_s) / (end_s - begin_s)


# -- Rates -------------------------------------------------------------------------------------------------------------


def test_each_lane_reaches_its_own_rate_and_exceeds_it_in_no_second() -> None:
    """Lanes of 50, 20 and 5 a second: at least .95 of each while there is work, and 105 % + 1 in any second."""
    detectors = {50.0: LaneDetector(), 20.0: LaneDetector(), 5.0: LaneDetector()}
    stage = Lanes(images=2900)
    summary = stage.run(None, *(lane(f"r{tps:g}", found, tps=tps) for tps, found in detectors.items()))
    assert summary.counts.keep == 2900
    assert summary.tps_limit == 75.0
    start_s = detectors[50.0].times_s[0]
    for tps, found in detectors.items():
        assert busiest_second(found.times_s) <= 1.05 * tps + 1
        # Behind the ramp, and before the work ends.
        assert rate_between(found, start_s + 8, start_s + 36) >= 0.95 * tps
        assert lanes_of(summary)[f"r{tps:g}"].attempts == len(found.asked)
        assert lanes_of(summary)[f"r{tps:g}"].tps_limit == tps
    assert summary.wall_s < 2900 / 75 * 1.1


def test_throttles_of_one_lane_leave_the_others_alone() -> None:
    """One lane refuses all above 2 a second: the rates of the others do not change, and they stay at .95 and more."""
    strict = LaneDetector()
    strict._fault = lambda image, now_s: (
        throttled(image, now_s) if sum(now_s - 1.0 < time_s <= now_s for time_s in strict.times_s) > 2 else None
    )
    fast, slow = LaneDetector(), LaneDetector()
    stage = Lanes(images=3000)
    summary = stage.run(
        None, lane("fast", fast, tps=50.0), lane("strict", strict, tps=20.0), lane("slow", slow, tps=5.0)
    )
    assert summary.counts.keep == 3000
    assert {name for name, found in lanes_of(summary).items() if found.throttled} == {"strict"}
    start_s = fast.times_s[0]
    assert rate_between(fast, start_s + 10, start_s + 45) >= 0.95 * 50
    assert rate_between(slow, start_s + 10, start_s + 45) >= 0.95 * 5
    lowered = {event.lane for event in stage.events if isinstance(event, RateChanged) and event.new_tps < event.old_tps}
    assert lowered == {"strict"}


def test_a_throttled_image_goes_to_another_lane_at_once_and_back_only_after_its_wait() -> None:
    """The wait that a lane asks for is that lane's: another one takes the image before it is over."""
    busy = LaneDetector(lambda _image, _now_s: ThrottledError("later", cause=ThrottleCause.RATE, retry_after_s=15.0))
    free = LaneDetector()
    stage = Lanes(images=200)
    summary = stage.run(None, lane("busy", busy, tps=20.0), lane("free", free, tps=20.0))
    assert summary.counts.keep == 200
    refused = {key: time_s for time_s, key in busy.asked}
    assert refused
    assert len(busy.asked) == len(refused)  # none twice
    answered = {key: time_s for time_s, key in free.asked}
    assert max(answered[key] - refused[key] for key in refused) < 5.0
    assert lanes_of(summary)["free"].retried == summary.counts.retried == len(refused)
    failed = [event for event in stage.events if isinstance(event, AttemptFailed)]
    assert {event.lane for event in failed} == {"busy"}
    assert max(event.delay_s for event in failed) == 0.0


def test_an_image_that_every_lane_throttled_waits_for_the_first_of_them() -> None:
    """While all lanes are barred for it, an image waits; then the lane whose wait is over first takes it."""
    one, two = LaneDetector(), LaneDetector()

    def fault(retry_after_s: float) -> Fault:
        def throttle(_image: ObjectRef, now_s: float) -> Exception | None:
            begun_s = min(one.times_s + two.times_s)
            later = ThrottledError("later", cause=ThrottleCause.RATE, retry_after_s=retry_after_s)
            return later if now_s < begun_s + 3.0 else None

        return throttle

    one._fault, two._fault = fault(18.0), fault(6.0)
    summary = Lanes(images=1).run(None, lane("one", one), lane("two", two))
    assert summary.counts.keep == 1
    assert len(one.asked) == 1
    assert len(two.asked) == 2
    assert 6.0 <= two.asked[1][0] - two.asked[0][0] < 7.0


def test_a_transient_fault_costs_attempts_over_all_lanes() -> None:
    """``max_attempts`` counts at whatever lane an attempt is made; the wait after a fault is the image's."""
    broken = [LaneDetector(lambda _i, _n: TransientError("reset", may_be_billed=False)) for _ in range(3)]
    stage = Lanes(images=1)
    job = make_bare_job(limits={"max_attempts": 4})
    summary = stage.run(job, *(lane(f"r{index}", found) for index, found in enumerate(broken)))
    assert summary.counts.failed == {"unavailable": 1}
    assert sum(len(found.asked) for found in broken) == 4 == summary.counts.attempts
    assert any(event.delay_s > 0 for event in stage.events if isinstance(event, AttemptFailed))


# -- Money -------------------------------------------------------------------------------------------------------------

TIERS = st.lists(st.integers(0, 2000), min_size=1, max_size=4).map(lambda found: sorted(found, reverse=True))


def priced(tiers: Sequence[int], width: int = 7) -> Callable[[int], int]:
    """A price that falls after each ``width`` images."""
    return lambda nth: tiers[min((nth - 1) // width, len(tiers) - 1)]


class Bill:
    """What a lane really costs: each billed attempt at the price of its number."""

    def __init__(self, price_micros: Callable[[int], int], outcomes: Sequence[int]) -> None:
        self.micros = self.images = 0
        self._price_micros = price_micros
        self._outcomes = list(outcomes)

    def fault(self, _image: ObjectRef, _now_s: float) -> Exception | None:
        """Bill an attempt, or refuse it."""
        outcome = self._outcomes.pop() if self._outcomes else 0
        if outcome == 1:
            return ThrottledError("too fast", cause=ThrottleCause.RATE)
        if outcome == 2:
            return TransientError("refused", may_be_billed=False)
        self.images += 1
        self.micros += self._price_micros(self.images)
        return TransientError("reset", may_be_billed=True) if outcome == 3 else None


@settings(max_examples=40, deadline=None)
@given(
    tiers=st.lists(TIERS, min_size=1, max_size=4),
    outcomes=st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=4, max_size=4),
    budget_micros=st.integers(0, 60_000),
    images=st.integers(1, 60),
)
def test_one_ceiling_over_all_lanes(
    tiers: list[list[int]], outcomes: list[list[int]], budget_micros: int, images: int
) -> None:
    """Whatever the prices and faults of the lanes: nothing above the ceiling, nothing told too low."""
    prices = [priced(found) for found in tiers]
    bills = [Bill(price, outcomes[index]) for index, price in enumerate(prices)]
    lanes = [
        lane(f"r{index}", LaneDetector(bill.fault), tps=20.0 + index, price_micros=prices[index])
        for index, bill in enumerate(bills)
    ]
    job = make_bare_job(limits={"budget_usd": budget_micros / 1_000_000})
    summary = Lanes(images=images).run(job, *lanes)
    assert sum(bill.micros for bill in bills) <= summary.counts.spent_micros <= budget_micros
    for index, bill in enumerate(bills):
        told = lanes_of(summary)[f"r{index}"]
        assert told.spent_micros >= bill.micros
        if told.attempts == 1 or len(tiers[index]) == 1:
            assert told.spent_micros == bill.micros


def test_each_lane_is_settled_at_its_own_price() -> None:
    """Held is the dearest price, settled that of the lane that was asked."""
    cheap, dear = LaneDetector(), LaneDetector()
    summary = Lanes(images=300).run(
        None, lane("cheap", cheap, price_micros=lambda _n: 250), lane("dear", dear, price_micros=lambda _n: 1000)
    )
    found = lanes_of(summary)
    assert found["cheap"].spent_micros == 250 * len(cheap.asked)
    assert found["dear"].spent_micros == 1000 * len(dear.asked)


# -- The same answer ---------------------------------------------------------------------------------------------------


class ByKey(LaneDetector):
    """Answers by the key alone, as equal models do."""

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        await super().detect(image)
        label = "Robin" if zlib.crc32(image.key.encode()) % 3 == 0 else "Cat"
        return Detection((Label(name=label, confidence_pct=99.0),), model_version="3.0")


def flaky(seed: int) -> Fault:
    """Throttles and resets at random moments."""
    rng = Random(seed)

    def fault(_image: ObjectRef, _now_s: float) -> Exception | None:
        share = rng.random()
        if share < 0.05:
            return ThrottledError("too fast", cause=ThrottleCause.RATE, retry_after_s=rng.choice((None, 3.0)))
        return TransientError("reset", may_be_billed=True) if share < 0.1 else None

    return fault


@pytest.mark.parametrize("stop", [{"matches": 60}, {"misses_in_a_row": 8}, {}], ids=["matches", "misses", "whole"])
def test_lanes_with_equal_responses_give_the_answer_of_one_backend(stop: Mapping[str, int]) -> None:
    """Verdicts, order and stop are those of a run without lanes, whatever lane took an image or failed it."""
    job = make_bare_job(stop=stop)

    def answer(*backends: DetectorBackend) -> tuple[object, ...]:
        stage = Lanes(images=400)
        summary = stage.run(job, *backends)
        seen = [(one.seq, one.key, one.verdict) for one in stage.events if isinstance(one, ImageExamined)]
        return summary.stop_reason, summary.counts.examined, summary.counts.failed, seen

    alone = answer(msgspec.structs.replace(lane("", ByKey()), by=""))
    for seed in range(3):
        lanes = [lane(f"r{tps}", ByKey(flaky(seed + tps)), tps=float(tps)) for tps in (50, 20, 5)]
        assert answer(*lanes) == alone


# -- Positions over the runs of one checkpoint -------------------------------------------------------------------------


def test_positions_are_durable_by_name() -> None:
    """The tiers go on where a lane was; a renamed lane begins anew; a removed one keeps its sums."""
    price = priced([1000, 100], width=50)
    stage = Lanes(images=60)
    stage.run(None, lane("a", LaneDetector(), price_micros=price))
    stage.checkpoint = stage.checkpoint.reopen()
    assert stage.checkpoint.opened.totals.lanes["a"].spent_micros == 50 * 1000 + 10 * 100
    stage.keys += [f"b{index:06d}.jpg" for index in range(10)]
    same = stage.run(None, lane("a", LaneDetector(), price_micros=price))
    assert same.this_run.spent_micros == 10 * 100
    stage.keys += [f"c{index:06d}.jpg" for index in range(10)]
    renamed = stage.run(None, lane("b", LaneDetector(), price_micros=price))
    assert renamed.this_run.spent_micros == 10 * 1000
    assert list(lanes_of(renamed)) == ["a", "b"]
    assert renamed.this_run.lanes is not None
    assert renamed.this_run.lanes["a"].calls == 0
    stage.keys += [f"d{index:06d}.jpg" for index in range(10)]
    added = stage.run(
        None, lane("b", LaneDetector(), price_micros=price), lane("c", LaneDetector(), price_micros=price)
    )
    assert lanes_of(added).keys() == {"a", "b", "c"}


def test_a_lane_that_is_elsewhere_now_begins_its_tiers_anew() -> None:
    """The name alone is not enough: AWS counts by account and region."""
    price = priced([1000, 100], width=50)
    stage = Lanes(images=60)
    stage.run(None, lane("a", LaneDetector(), price_micros=price))
    stage.keys += [f"b{index:06d}.jpg" for index in range(10)]
    moved = msgspec.structs.replace(lane("a", LaneDetector(), price_micros=price), region="elsewhere")
    assert stage.run(None, moved).this_run.spent_micros == 10 * 1000


def test_sums_add_up_after_a_kill() -> None:
    """What was in flight when a process was killed is of no known lane."""
    stage = Lanes(images=400)
    killed = stage.run_for(3.0, lane("a", LaneDetector()), lane("b", LaneDetector()))
    assert killed.spent_micros > sum(found.spent_micros for found in killed.lanes.values()) > 0
    summary = stage.run(None, lane("a", LaneDetector()), lane("b", LaneDetector()))
    assert summary.counts.keep == 400
    assert lanes_of(summary)[OTHER].spent_micros > 0


def test_what_others_used_is_the_lanes_own() -> None:
    """``used_this_month`` of a lane moves that lane alone to its tier."""
    price = priced([1000, 100], width=50)
    used, fresh = LaneDetector(), LaneDetector()
    summary = Lanes(images=40).run(
        None, lane("used", used, price_micros=price, used=50), lane("fresh", fresh, price_micros=price)
    )
    assert lanes_of(summary)["used"].spent_micros == 100 * len(used.asked)
    assert lanes_of(summary)["fresh"].spent_micros == 1000 * len(fresh.asked)


def test_what_others_used_in_another_month_is_told_with_its_lane() -> None:
    """The same figure as in an earlier month does not count, and a caution says at which lanes."""
    job = make_bare_job(detector={"lanes": [{"region": "us-east-1", "used_this_month": 50}, {"region": "us-west-2"}]})
    backends = [lane("us-east-1", LaneDetector(), used=50), lane("us-west-2", LaneDetector())]
    stage = Lanes(images=10)
    assert not stage.run(job, *backends).cautions
    stage.keys += ["later.jpg"]
    stage.checkpoint = stage.checkpoint.reopen()
    sums = stage.checkpoint.opened.totals
    sums.lanes["us-east-1"].month_use = MonthUse(month="2020-01", used=50)

    async def turn_back() -> None:
        await stage.checkpoint.commit(Batch(totals=sums))

    run_virtually(turn_back)
    (caution,) = stage.run(job, *backends).cautions
    assert caution.startswith("detector.lanes[0].used_this_month (lane us-east-1) was set in an earlier month")


def test_lanes_come_and_go_between_runs_of_one_checkpoint() -> None:
    """What was called without lanes stands apart, so that the sums add up; a run without lanes tells none."""
    plain = DetectorBackend(
        detector=LaneDetector(), limit_tps=50.0, tps_origin="the test", price_micros=lambda _nth: 1000
    )
    stage = Lanes(images=10)
    assert stage.run(None, plain).counts.lanes is None
    stage.keys += [f"b{index}.jpg" for index in range(5)]
    laned = stage.run(None, lane("a", LaneDetector()), lane("b", LaneDetector()))
    assert lanes_of(laned)[OTHER].calls == 10
    assert lanes_of(laned)[OTHER].region is None
    assert laned.this_run.lanes is not None
    assert OTHER not in laned.this_run.lanes
    stage.keys += [f"c{index}.jpg" for index in range(5)]
    assert stage.run(None, plain).counts.lanes is None
    again = stage.run(None, lane("b", LaneDetector()), lane("c", LaneDetector()))
    assert lanes_of(again)[OTHER].calls == 15
    assert lanes_of(again)["a"].calls + lanes_of(again)["b"].calls == 5


# -- Ends --------------------------------------------------------------------------------------------------------------


def test_a_lane_that_is_throttled_without_a_break_is_closed_after_ten_minutes() -> None:
    """The others finish the work; the summary has a caution, the events say which lane."""
    dead, slow = LaneDetector(throttled), LaneDetector()
    stage = Lanes(images=800)
    summary = stage.run(None, lane("dead", dead, tps=5.0), lane("slow", slow, tps=1.0))
    assert summary.counts.keep == 800
    assert summary.exit_code == ExitCode.OK
    (closed,) = [event for event in stage.events if isinstance(event, LaneClosed)]
    assert closed.lane == "dead"
    assert "10 minutes" in closed.reason
    assert any("dead" in caution for caution in summary.cautions)
    assert (lanes_of(summary)["dead"].closed, lanes_of(summary)["slow"].closed) == (True, False)
    assert max(dead.times_s) - dead.times_s[0] < 602


def test_the_run_ends_when_the_last_lane_is_throttled_without_a_break() -> None:
    """One lane is closed, and with the last one the run ends as without lanes."""
    stage = Lanes(images=50)
    summary = stage.run(None, lane("one", LaneDetector(throttled)), lane("two", LaneDetector(throttled)))
    assert summary.stop_reason is StopReason.ERRORS
    assert summary.error is not None
    assert "10 minutes" in summary.error
    assert len([event for event in stage.events if isinstance(event, LaneClosed)]) == 1


def test_a_closed_lane_holds_no_price() -> None:
    """Once the dearest lane is closed, the price of the others is held."""
    dead, slow = LaneDetector(throttled), LaneDetector()
    job = make_bare_job(limits={"budget_usd": 0.0801})
    summary = Lanes(images=1000).run(
        job,
        lane("dead", dead, tps=5.0, price_micros=lambda _n: 20_000),
        lane("slow", slow, tps=1.0, price_micros=lambda _n: 100),
    )
    assert summary.stop_reason is StopReason.BUDGET
    assert lanes_of(summary)["dead"].closed
    assert summary.counts.spent_micros == 80_100


def test_a_lane_without_access_ends_the_run_with_its_name() -> None:
    """Nothing goes on with fewer lanes."""
    denied = LaneDetector(lambda _i, _n: PermissionDeniedError("not authorized", hint="Allow it."))
    summary = Lanes(images=100).run(None, lane("east", LaneDetector()), lane("west", denied))
    assert summary.exit_code == ExitCode.ACCESS
    assert summary.error is not None
    assert "west" in summary.error
    assert "east" not in summary.error


def test_a_lane_that_may_read_no_image_ends_the_run_in_spite_of_the_others() -> None:
    """The successes of other lanes do not hide that one lane is denied every image."""
    blind = LaneDetector(lambda _i, _n: ImageError.access_denied("no bucket policy", remedy="Allow it."))
    summary = Lanes(images=2000).run(None, lane("east", LaneDetector()), lane("west", blind))
    assert summary.exit_code == ExitCode.ACCESS
    assert summary.error is not None
    assert summary.error.startswith("lane west: ")


# -- Models ------------------------------------------------------------------------------------------------------------


def test_versions_that_differ_are_told_once() -> None:
    """One caution and one event, which name lanes and versions; each answer keeps its lane."""
    stage = Lanes(images=200)
    summary = stage.run(None, lane("a", LaneDetector()), lane("b", LaneDetector(version="3.1")))
    assert summary.exit_code == ExitCode.OK
    (differ,) = [event for event in stage.events if isinstance(event, ModelVersionsDiffer)]
    assert differ.versions == {"a": ["3.0"], "b": ["3.1"]}
    (caution,) = [found for found in summary.cautions if "model versions" in found]
    assert "a: 3.0" in caution
    assert "b: 3.1" in caution
    assert lanes_of(summary)["b"].model_versions == ("3.1",)
    examined = [event.lane for event in stage.events if isinstance(event, ImageExamined)]
    assert set(examined) == {"a", "b"}
    (started,) = [event for event in stage.events if isinstance(event, RunStarted)]
    assert started.lanes == ["a", "b"]


def test_the_caution_of_the_summary_has_lanes_that_answered_later() -> None:
    """It is said when two lanes differ; a third one with another version stands in the same sentence at the end."""
    stage = Lanes(images=200)
    late = LaneDetector(version="3.2", latency_s=1.5)
    summary = stage.run(None, lane("a", LaneDetector()), lane("b", LaneDetector(version="3.1")), lane("c", late))
    (differ,) = [event for event in stage.events if isinstance(event, ModelVersionsDiffer)]
    assert differ.versions == {"a": ["3.0"], "b": ["3.1"]}
    (caution,) = [found for found in summary.cautions if "model versions" in found]
    assert "(a: 3.0; b: 3.1; c: 3.2)" in caution
    warned = [event for event in stage.events if isinstance(event, JobWarning) and "model versions" in event.message]
    assert len(warned) == 1


def test_with_lanes_that_must_agree_the_first_differing_answer_is_kept_and_not_judged() -> None:
    """The run ends with exit code 1; the paid answer costs nothing when versions may differ again."""
    job = make_bare_job(detector={"lanes_must_agree": True})
    stage = Lanes(images=200)
    old, new = LaneDetector(), LaneDetector(version="3.1")
    summary = stage.run(job, lane("a", old), lane("b", new))
    assert summary.stop_reason is StopReason.ERRORS
    assert summary.exit_code == ExitCode.SOME_FAILED
    assert summary.error is not None
    assert "b: 3.1" in summary.error
    assert new.answered >= 1
    assert summary.counts.keep < old.answered + new.answered
    judged = [event.lane for event in stage.events if isinstance(event, ImageExamined)]
    assert set(judged) <= {"a"}
    paid = old.answered + new.answered

    before = len(old.asked) + len(new.asked)
    assert stage.run(job, lane("a", old), lane("b", new)).stop_reason is StopReason.ERRORS
    assert len(old.asked) + len(new.asked) == before  # the checkpoint knows that they differ: nothing is paid

    agreed = stage.run(None, lane("a", LaneDetector()))
    assert agreed.counts.keep == 200
    assert agreed.this_run.calls == 200 - paid


def test_answers_of_runs_without_lanes_are_compared_too() -> None:
    """Their version is read from some of them; with lanes that must agree, a differing answer ends the run."""
    stage = Lanes(images=10)
    stage.run(None, msgspec.structs.replace(lane("", LaneDetector()), by=""))
    stage.keys += ["later.jpg"]
    job = make_bare_job(detector={"lanes_must_agree": True})
    summary = stage.run(job, lane("b", LaneDetector(version="3.1")))
    assert summary.stop_reason is StopReason.ERRORS
    assert f"b: 3.1; {OTHER}: 3.0" in str(summary.error)
    assert summary.counts.keep == 10


def test_versions_are_remembered_over_the_runs_of_one_checkpoint() -> None:
    """A lane that joins later is compared with the answers that are there."""
    stage = Lanes(images=10)
    stage.run(None, lane("a", LaneDetector()))
    stage.keys += ["later.jpg"]
    summary = stage.run(None, lane("b", LaneDetector(version="3.1")))
    assert any("a: 3.0; b: 3.1" in caution for caution in summary.cautions)
