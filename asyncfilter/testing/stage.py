"""All ports of a job in memory: one bucket, detector, sink and checkpoint, for any number of runs.

stage = Stage({"a.jpg": "Robin", "b.jpg": "Cat"})
summary = stage.run(job)
assert stage.copied() == ["a.jpg"]
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio

from asyncfilter.clock import Clock
from asyncfilter.errors import ImageError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.events import Event
from asyncfilter.job.spec import Job
from asyncfilter.model import Summary
from asyncfilter.ports.answers import Answers
from asyncfilter.ports.examine import Preparation
from asyncfilter.testing.checkpoint import MemoryCheckpoint
from asyncfilter.testing.ports import Fault, MemoryReferences, MemorySource, RecordingSink, ScriptedDetector, no_fault
from asyncfilter.testing.virtual import LoopClock, run_virtually
from asyncfilter.wiring import Overrides
from asyncfilter.wiring.refilter import refilter
from asyncfilter.wiring.run import run

T = TypeVar("T")

BROKEN = "Broken"
"""The label that marks an image which the service cannot read."""


class SeededFaults:
    """Random throttles and time-outs, always the same for one key and attempt; and unreadable images.

    Args:
        labels: Label by key; ``BROKEN`` fails at every attempt.
        seed: Chooses the faults.
        rate: Share of attempts that fail, half of them throttled.
    """

    def __init__(self, labels: Mapping[str, str], *, seed: int = 0, rate: float = 0.0) -> None:
        self._labels = labels
        self._seed = seed
        self._rate = rate

    def __call__(self, key: str, attempt: int) -> Exception | None:
        """See ``Fault``."""
        if self._labels.get(key) == BROKEN:
            return ImageError("Request has invalid image format", code="invalid_image_format")
        draw = random.Random(f"{self._seed} {key} {attempt}").random()
        if draw < self._rate / 2:
            return ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)
        return TransientError("timed out", may_be_billed=True) if draw < self._rate else None


class Stage:
    """All ports of one job, and its runs on them.

    Args:
        labels: The label of each image, by key; ``BROKEN`` for an image that cannot be read.
        seed: Seed of latencies (lognormal with a long tail), faults, and the jitter of retries.
        fault_rate: Share of attempts of detector and sink that fail with a transient error.
        fault: Faults of the detector, in place of the random ones.
        sink_fault: Faults of the sink, in place of the random ones.
        page_objects: Objects on a page of the listing.

    Attributes:
        events: The events that the runs emitted.
        references: The reference images of rules with ``like``; to be set before a run of such rules.
        preparation: Checks images before they are paid for; to be set before a run.
        answers: What people say about the images; to be set before a run.
        clock: Time; to be replaced before a run at another date.
        seeded: The faults that ``seed`` and ``fault_rate`` choose.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        *,
        seed: int = 0,
        fault_rate: float = 0.0,
        fault: Fault | None = None,
        sink_fault: Fault | None = None,
        page_objects: int = 7,
    ) -> None:
        rng = random.Random(seed)
        self._seed = seed
        self.labels = dict(labels)
        self.latency_s = {key: 0.05 + rng.lognormvariate(-2, 1) for key in labels}
        self.seeded = SeededFaults(self.labels, seed=seed, rate=fault_rate)
        self.source = MemorySource.of_keys(labels, page_objects=page_objects)
        self.detector = ScriptedDetector(
            {key: [(label, 90.0)] for key, label in labels.items()},
            delay_s=lambda key: self.latency_s.get(key, 0.1),
            fault=fault or self.seeded,
        )
        self.sink = RecordingSink(self.source, fault=sink_fault or (self.seeded if fault_rate else no_fault))
        self.references: MemoryReferences | None = None
        self.checkpoint = MemoryCheckpoint()
        self.preparation: Preparation | None = None
        self.answers: Answers | None = None
        self.clock: Clock = LoopClock()
        self.events: list[Event] = []

    def run(self, job: Job, **options: Any) -> Summary:  # noqa: ANN401  those of ``asyncfilter.run``
        """Run to the end, in virtual time, like a process of its own."""
        return self._live(partial(self.live, job, **options))

    def refilter(self, job: Job, **options: Any) -> Summary:  # noqa: ANN401  those of ``asyncfilter.refilter``
        """Refilter to the end, in virtual time, like a process of its own."""
        return self._live(partial(refilter, job, overrides=self.overrides(), on_event=self.events.append, **options))

    def run_and_die(self, job: Job, life_s: float, **options: Any) -> bool:  # noqa: ANN401
        """Run until the process is killed after ``life_s`` virtual seconds; False when the run ended before."""

        async def live() -> bool:
            with anyio.move_on_after(life_s) as scope:
                await self.live(job, **options)
            return scope.cancelled_caught

        return self._live(live)

    def overrides(self) -> Overrides:
        """The ports, for a run that the caller starts."""
        return Overrides(
            source=self.source,
            detector=self.detector,
            sink=self.sink,
            checkpoint=self.checkpoint,
            references=self.references,
            preparation=self.preparation,
            answers=self.answers,
            clock=self.clock,
            rng=random.Random(self._seed),
        )

    def copied(self) -> list[str]:
        """Source keys of all copies, each as often as it was copied, in UTF-8 byte order."""
        return sorted((effect.source.key for effect in self.sink.performed), key=str.encode)

    def verdicts(self) -> dict[str, str]:
        """Verdicts by key, of the images that have a position in the order of examination."""
        return {
            row.key: row.decision.verdict.value
            for row in self.checkpoint.images
            if row.seq is not None and row.decision is not None
        }

    async def live(self, job: Job, **options: Any) -> Summary:  # noqa: ANN401
        """One run, in the caller's event loop; the caller reopens the checkpoint after it."""
        return await run(job, overrides=self.overrides(), on_event=self.events.append, **options)

    def _live(self, life: Callable[[], Awaitable[T]]) -> T:
        try:
            return run_virtually(life)
        finally:
            self.checkpoint = self.checkpoint.reopen()
