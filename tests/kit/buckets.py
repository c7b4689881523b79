"""A bucket in memory on which commands run one after another, each in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from asyncfilter.events import Event
from asyncfilter.job import Job
from asyncfilter.model import Summary
from asyncfilter.policy.removal_plan import Consent, RemovalPlan, RemovalSummary
from asyncfilter.records.answers import Answer, Subject
from asyncfilter.testing import LoopClock, MemoryAnswers, MemoryCheckpoint, MemoryStore, ScriptedDetector, run_virtually
from asyncfilter.testing.crash import CrashPlan, crashing
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, undo
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.refilter import refilter
from asyncfilter.wiring.run import run
from tests.kit.answers import new_answer

T = TypeVar("T")


class Bucket:
    """The bucket ``raw`` of a ``MemoryStore``, its detector and its checkpoint.

    Args:
        labels: The label of each image, by key, with a confidence of 90 %. An image's content is its key.
        max_share: ``max_share`` of the consent to ``apply``, unless the call gives another.
        store: Options of ``MemoryStore``.

    Attributes:
        answers: What people say about the images; to be set before a command.
        events: The events that ``run``, ``apply`` and ``undo`` emitted.
    """

    def __init__(self, labels: Mapping[str, str], *, max_share: float = 0.5, **store: Any) -> None:
        self.store = MemoryStore("raw", **store)
        self.detector = ScriptedDetector({key: [(label, 90.0)] for key, label in labels.items()})
        self.checkpoint = MemoryCheckpoint()
        self.answers: MemoryAnswers | None = None
        self.events: list[Event] = []
        self._max_share = max_share
        for key in labels:
            self.store.put(key, key.encode())

    def run(self, job: Job, **options: Any) -> Summary:
        """``asyncfilter run``."""
        return self.in_process(lambda overrides: run(job, overrides=overrides, on_event=self.events.append, **options))

    def refilter(self, job: Job, **options: Any) -> Summary:
        """``asyncfilter refilter``."""
        return self.in_process(lambda overrides: refilter(job, overrides=overrides, **options))

    def plan(self, job: Job, **options: Any) -> RemovalPlan:
        """``asyncfilter apply --dry-run``."""
        return self.in_process(lambda overrides: plan_apply(job, overrides=overrides, **options))

    def apply(
        self,
        job: Job,
        images: int | None = None,
        max_share: float | None = None,
        *,
        digest: str | None = None,
        at: int = 0,
        **options: Any,
    ) -> RemovalSummary:
        """``asyncfilter apply --yes --expect IMAGES``: by default all pending images; killed at crash point ``at``."""
        images = self.plan(job).images if images is None else images
        share = self._max_share if max_share is None else max_share
        consent = Consent(images=images, max_share=share, digest=digest)
        return self.in_process(
            lambda overrides: apply(job, consent, overrides=overrides, on_event=self.events.append, **options),
            CrashPlan(at),
        )

    def plan_undo(self, job: Job) -> RemovalPlan:
        """``asyncfilter undo --dry-run``."""
        return self.in_process(lambda overrides: plan_undo(job, overrides=overrides))

    def undo(self, job: Job, images: int | None = None, *, at: int = 0, **options: Any) -> RemovalSummary:
        """``asyncfilter undo --yes --expect IMAGES``: by default all that can be; killed at crash point ``at``."""
        images = self.plan_undo(job).images if images is None else images
        consent = Consent(images=images)
        return self.in_process(
            lambda overrides: undo(job, consent, overrides=overrides, on_event=self.events.append, **options),
            CrashPlan(at),
        )

    def in_process(self, command: Callable[[Overrides], Awaitable[T]], crash: CrashPlan | None = None) -> T:
        """Run ``command`` as a process of its own; the checkpoint is reopened afterwards.

        Args:
            command: Called with the bucket's ports.
            crash: Where the process is killed: at a crash point of the store, or before or after a commit.
        """
        point = self.store.point
        overrides = self._overrides(crash)
        try:
            return run_virtually(lambda: command(overrides))
        finally:
            self.store.point = point
            self.checkpoint = self.checkpoint.reopen()

    def _overrides(self, crash: CrashPlan | None) -> Overrides:
        checkpoint = self.checkpoint
        if crash is not None and crash.at:
            self.store.point = crash.point
            checkpoint = crashing(checkpoint, crash, only={"commit"})
        store = self.store
        return Overrides(
            source=store,
            detector=self.detector,
            sink=store,
            remover=store,
            checkpoint=checkpoint,
            answers=self.answers,
            clock=LoopClock(),
        )

    def say(self, key: str, verdict: str | None = "keep", **parts: Any) -> Answer:
        """An answer about the object that has this key, or that was examined under it."""
        self.answers = self.answers or MemoryAnswers()
        there = [(one.etag, len(one.body)) for one in self.store.history(key) if one.body is not None]
        known = [(one.etag, one.size_bytes) for one in self.checkpoint.images if one.key == key]
        etag, size_bytes = (there or known)[-1]
        about = Subject(bucket="raw", key=key, etag=etag, size_bytes=size_bytes)
        return self.answers.add([new_answer(verdict, about, **parts)])[0]

    @property
    def effects(self) -> dict[str, int]:
        """The number of effects done, by kind, as the checkpoint has it."""
        return self.checkpoint.opened.watermark.tally.effects

    @property
    def deleted(self) -> Sequence[str]:
        """Keys deleted by ``apply``, in order."""
        return [location.key for location, _ in self.store.deleted]

    def bodies(self, bucket: str | None = None) -> dict[str, bytes | None]:
        """Contents by key; of the source by default."""
        return {key: self.store.body(key, bucket) for key in self.store.keys(bucket)}
