"""Images are prepared ahead of their calls: in order, bounded, and at no cost for those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest

from asyncfilter import Interrupt
from asyncfilter.engine.core.memory_limit import PREFETCH_BYTES, PREFETCH_IMAGES
from asyncfilter.engine.examine import prefetch
from asyncfilter.errors import (
    AccessError,
    ImageError,
    PermissionDeniedError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.model import Detection, ListedObject, ObjectRef, StopReason
from asyncfilter.ports.examine import Memory, Prepared
from asyncfilter.testing import Stage
from asyncfilter.testing.ports import Fault, no_fault
from tests.kit.jobs import make_job
from tests.kit.labels import cycled

REFUSED = "Refused"
MIB = 1024 * 1024


class CountingPreparation:
    """Refuses images labelled ``REFUSED``, holds bytes for the others, and records the most bytes held at once."""

    def __init__(self, stage: Stage, *, held_bytes: int = 0, fault: Fault = no_fault) -> None:
        self.prepared: list[str] = []
        self.ahead = self.most_ahead = self.held = self.most_held = 0
        self._stage = stage
        self._held_bytes = held_bytes
        self._fault = fault
        self._attempts: dict[str, int] = {}
        stage.preparation = self

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        self._attempts[image.key] = self._attempts.get(image.key, 0) + 1
        self.prepared.append(image.key)
        await anyio.sleep(self._stage.latency_s.get(image.key, 0.1))
        if (error := self._fault(image.key, self._attempts[image.key])) is not None:
            raise error
        if self._stage.labels.get(image.key) == REFUSED:
            raise ImageError("under 80 px", code="image_rejected")
        if not self._held_bytes:
            return None
        self.held += self._held_bytes
        self.most_held = max(self.held, self.most_held)
        return Prepared(detector=_Carrying(self, self._stage), held_bytes=self._held_bytes)

    def let_go(self) -> None:
        """Count the bytes of an ended call as released."""
        self.held -= self._held_bytes


class _Carrying:
    """The detector of one prepared image."""

    def __init__(self, preparation: CountingPreparation, stage: Stage) -> None:
        self._guard, self._stage = preparation, stage

    async def detect(self, image: ObjectRef) -> Detection:
        """Detect as the stage does."""
        try:
            return await self._stage.detector.detect(image)
        finally:
            self._guard.let_go()


class CarefulPreparation(CountingPreparation):
    """Counts bytes before it holds them: several times an image, of any size, at any pace."""

    def __init__(self, stage: Stage, seed: int, *, fault: Fault = no_fault) -> None:
        super().__init__(stage, fault=fault)
        self.counted: dict[str, int] = {}
        self.largest = 0
        self._rng = Random(seed)
        self._memory: Memory | None = None

    def bound_by(self, memory: Memory) -> None:
        """See ``BoundedPreparation``."""
        self._memory = memory

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        assert self._memory is not None
        self._holds(image.key, 0)
        for _ in range(self._rng.randint(0, 3)):
            size_bytes = self._rng.choice([1, 5, 40, 200]) * MIB
            await self._memory.hold(image, size_bytes)
            self._holds(image.key, size_bytes)
            try:
                await super().prepare(image)
            except BaseException:
                self._holds(image.key, 0)
                raise
        kept_bytes = self.counted[image.key] // self._rng.choice([1, 2, 50])
        self._holds(image.key, kept_bytes)
        if not kept_bytes and self._rng.random() < 0.5:
            return None
        return Prepared(detector=_Freeing(self, self._stage), held_bytes=kept_bytes)

    def let_go_of(self, key: str) -> None:
        """Count the bytes of an ended call as released."""
        self._holds(key, 0)

    def _holds(self, key: str, size_bytes: int) -> None:
        self.counted[key] = size_bytes
        self.largest = max(self.largest, size_bytes)
        self.most_held = max(self.most_held, sum(self.counted.values()))


class _Freeing:
    """The detector of one image that was counted."""

    def __init__(self, preparation: CarefulPreparation, stage: Stage) -> None:
        self._preparation, self._stage = preparation, stage

    async def detect(self, image: ObjectRef) -> Detection:
        """Detect as the stage does."""
        try:
            return await self._stage.detector.detect(image)
        finally:
            self._preparation.let_go_of(image.key)


def mixed(number: int) -> dict[str, str]:
    """Robins, cats and refused images, alternating."""
    return cycled(number, "Robin", "Cat", REFUSED)


def test_refused_images_cost_nothing() -> None:
    """Refused images fail with their code, without a call, cost or permit; the others are as without preparation."""
    stage = Stage(mixed(300))
    CountingPreparation(stage)
    summary = stage.run(make_job())
    counts = summary.counts
    assert counts.failed == {"image_rejected": 100}
    assert (counts.examined, counts.calls, counts.billed_calls, counts.keep) == (300, 200, 200, 100)
    assert counts.spent_micros == 200 * 1000
    assert summary.exit_code == 1
    assert not {key for key in stage.detector.attempts if stage.labels[key] == REFUSED}


@pytest.mark.parametrize("concurrency", [1, 400])
def test_the_answer_is_that_of_one_by_one(concurrency: int) -> None:
    """Verdicts, copies and the position of a stop do not depend on how fast images are prepared or examined."""
    labels = mixed(400)
    stage = Stage(labels, seed=concurrency, fault_rate=0.1)
    CountingPreparation(stage, held_bytes=1)
    job = make_job(limits={"tps": 2000, "concurrency": concurrency}, stop={"matches": 50})
    summary = stage.run(job)
    assert summary.stop_reason is StopReason.MATCHES
    upto = 49 * 3 + 1
    assert (summary.counts.keep, summary.counts.examined) == (50, upto)
    assert summary.counts.failed == {"image_rejected": upto // 3}
    assert stage.copied() == [key for key in sorted(labels) if labels[key] == "Robin"][:50]


def test_a_killed_run_is_resumed() -> None:
    """A run killed several times ends with the same outcome; refused images are not prepared again."""
    stage = Stage(mixed(300), seed=3)
    CountingPreparation(stage, held_bytes=1)
    job = make_job(limits={"tps": 400})
    processes = 1
    while stage.run_and_die(job, 4.0):
        processes += 1
    assert processes > 3
    counts = stage.run(job).counts
    assert (counts.keep, counts.reject, counts.failed) == (100, 100, {"image_rejected": 100})
    # A copy that was made but not recorded before the crash is made again.
    assert sorted(set(stage.copied())) == [key for key, label in sorted(stage.labels.items()) if label == "Robin"]


def test_known_images_are_not_prepared_again() -> None:
    """A second run prepares nothing; retrying failed ones prepares these alone."""
    stage = Stage(mixed(30))
    preparation = CountingPreparation(stage)
    stage.run(make_job())
    preparation.prepared.clear()
    stage.run(make_job())
    assert preparation.prepared == []
    stage.labels |= dict.fromkeys(stage.labels, "Cat")
    summary = stage.run(make_job(), retry_failed=True)
    assert len(preparation.prepared) == 10
    assert summary.counts.failed == {}


def test_memory_for_prepared_images_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any rate and image size, at most the memory limit and the images in preparation are held."""
    monkeypatch.setattr(prefetch, "AT_ONCE", 8)
    stage = Stage(dict.fromkeys(mixed(400), "Cat"))
    preparation = CountingPreparation(stage, held_bytes=5 * MIB)
    summary = stage.run(make_job(limits={"tps": 20}))
    assert summary.counts.calls == 400
    assert preparation.held == 0
    assert 5 * MIB < preparation.most_held <= PREFETCH_BYTES + prefetch.AT_ONCE * 5 * MIB


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("has_faults", [False, True])
def test_counted_bytes_are_bounded_and_nothing_waits_for_ever(seed: int, has_faults: bool) -> None:
    """Images larger than the limit get their turn alone; all others share it."""
    stage = Stage(dict.fromkeys(mixed(60), "Cat"), seed=seed)
    rng = Random(seed)
    stage.latency_s |= {key: rng.random() * 2 for key in stage.labels}
    preparation = CarefulPreparation(stage, seed, fault=throttled_first if has_faults else no_fault)
    assert not stage.run_and_die(make_job(limits={"tps": 50}), 1_000)
    assert len(stage.detector.attempts) == 60
    assert preparation.most_held <= PREFETCH_BYTES + preparation.largest
    assert sum(preparation.counted.values()) == 0


def test_images_are_prepared_a_bounded_way_ahead() -> None:
    """At a slow rate, images far behind a stop are not read."""
    stage = Stage(dict.fromkeys(mixed(3000), "Robin"), page_objects=1000)
    preparation = CountingPreparation(stage)
    stage.run(make_job(limits={"tps": 20}, stop={"matches": 100}))
    assert len(preparation.prepared) <= 100 + PREFETCH_IMAGES + prefetch.AT_ONCE


def test_duplicates_of_prepared_images_hold_nothing() -> None:
    """Images with the same content share labels, release what was prepared for them, and cost nothing."""
    stage = Stage(dict.fromkeys(mixed(120), "Robin"))
    for index, key in enumerate(sorted(stage.labels)):
        stage.source.put(ListedObject(key, 1000, f"{index % 10:032x}"))
    preparation = CountingPreparation(stage, held_bytes=MIB)
    summary = stage.run(make_job())
    assert (summary.counts.calls, summary.counts.duplicates, summary.counts.keep) == (10, 110, 120)
    assert (
        preparation.held == 110 * MIB
    )  # the preparation is called back for calls alone; the memory limit must have released the others
    stage.labels |= {f"z{index}.jpg": "Robin" for index in range(600)}
    stage.latency_s |= dict.fromkeys(stage.labels, 0.01)
    for index in range(600):
        stage.source.put(ListedObject(f"z{index}.jpg", 1000, f"{1:032x}"))
    assert not stage.run_and_die(make_job(), 1000)
    assert stage.run(make_job()).counts.duplicates == 710


def throttled_first(key: str, attempt: int) -> Exception | None:
    """Every first attempt is throttled, every second loses its connection."""
    if attempt == 1:
        return ThrottledError("slow down", cause=ThrottleCause.SERVER)
    return TransientError("reset", may_be_billed=False) if attempt == 2 else None


def test_passing_faults_are_repeated() -> None:
    """Throttles and lost connections while reading are repeated after a wait and cost nothing."""
    stage = Stage(mixed(30))
    CountingPreparation(stage, fault=throttled_first)
    counts = stage.run(make_job()).counts
    assert (counts.calls, counts.attempts, counts.throttled) == (20, 20, 0)
    assert counts.failed == {"image_rejected": 10}


def test_what_never_works_is_recorded() -> None:
    """An image that cannot be read after all attempts fails as unavailable; the run continues."""
    stage = Stage(dict.fromkeys(mixed(30), "Robin"))
    CountingPreparation(
        stage, fault=lambda key, _: TransientError("x", may_be_billed=False) if key == "00007.jpg" else None
    )
    counts = stage.run(make_job(limits={"tps": 2000, "max_attempts": 2})).counts
    assert counts.failed == {"unavailable": 1}
    assert counts.keep == 29


def _denied(access: bool) -> Callable[[str, int], Exception]:
    return lambda _key, _attempt: ImageError(
        "no", code="access_denied" if access else "invalid_image_format", access=access
    )


def test_a_cause_that_all_images_share_ends_the_run() -> None:
    """Twenty unreadable objects in a row end the run; twenty broken pictures do not."""
    stage = Stage(mixed(90))
    CountingPreparation(stage, fault=_denied(access=True))
    summary = stage.run(make_job())
    assert (summary.stop_reason, summary.exit_code) == (StopReason.ERRORS, 4)
    stage = Stage(mixed(90))
    CountingPreparation(stage, fault=_denied(access=False))
    summary = stage.run(make_job())
    assert (summary.stop_reason, summary.counts.failed) == (StopReason.COMPLETED, {"invalid_image_format": 90})
    assert summary.counts.calls == 0


@pytest.mark.parametrize("error", [PermissionDeniedError("no"), AccessError("no"), RuntimeError("what")])
def test_an_error_of_the_account_ends_the_run(error: Exception) -> None:
    """The error is reported, and what was paid for is kept."""
    stage = Stage(dict.fromkeys(mixed(60), "Robin"))
    CountingPreparation(stage, fault=lambda key, _: error if key == "00040.jpg" else None)
    summary = stage.run(make_job())
    assert summary.stop_reason is StopReason.FAILED
    assert summary.exit_code == (70 if isinstance(error, RuntimeError) else 4)
    stage.preparation = None
    assert stage.run(make_job()).counts.keep == 60
    assert max(stage.detector.attempts.values()) == 1


def test_an_interruption_does_not_wait_for_preparations() -> None:
    """Draining does not examine prepared images; the next run does."""
    stage = Stage(mixed(300))
    preparation = CountingPreparation(stage, held_bytes=1)
    interrupt = Interrupt()
    job = make_job(limits={"tps": 50})

    def on_event(event: object) -> None:
        if len(stage.detector.attempts) > 20:
            interrupt.drain.set()

    async def interrupted_run() -> Any:
        from asyncfilter import run

        return await run(job, overrides=stage.overrides(), interrupt=interrupt, on_event=on_event)

    summary = stage._live(interrupted_run)
    assert summary.exit_code == 75
    preparation.held = 0
    counts = stage.run(job).counts
    assert (counts.keep, counts.failed) == (100, {"image_rejected": 100})
    assert max(stage.detector.attempts.values()) == 1
