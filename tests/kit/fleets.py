"""Whole runs with a fleet in memory, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import msgspec

from asyncfilter import Job, __version__
from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.model import Summary
from asyncfilter.ports import Preparation
from asyncfilter.testing import Stage, run_virtually
from asyncfilter.testing.fleet import MemoryHub, MemoryWorker
from asyncfilter.wiring import Overrides
from asyncfilter.wiring.examining import fingerprint
from asyncfilter.wiring.run import run

Script = Callable[["FleetStage", MemoryHub], Coroutine[Any, Any, None]]


class FleetStage:
    """A stage whose images are examined by workers.

    Args:
        stage: The ports: the detector's faults, latencies and counts are those of the workers together.
        job: Run by it.
        workers: Workers at the start.
        cpus: Cores of each.
        ask_s: Processor time of an ask.
        preparation: Of the workers; the head's own is only a sign that there is one.
    """

    def __init__(
        self,
        stage: Stage,
        job: Job,
        *,
        workers: int = 2,
        cpus: float = 2.0,
        ask_s: float = 0.0,
        preparation: Preparation | None = None,
    ) -> None:
        self.stage = stage
        self.job = job
        self.workers: list[MemoryWorker] = []
        self.hubs: list[MemoryHub] = []
        self._number = workers
        self._cpus = cpus
        self._ask_s = ask_s
        self._preparation = preparation

    def worker(self, **changes: Any) -> MemoryWorker:
        """A further worker; the caller starts it."""
        given: dict[str, Any] = {
            "cpus": self._cpus,
            "ask_s": self._ask_s,
            "version": __version__,
            "fingerprint": fingerprint(self.job),
            **changes,
        }
        ports = ExaminerPorts(detector=self.stage.detector, preparation=self._preparation)
        made = MemoryWorker(f"w{len(self.workers) + 1}", ports, **given)
        self.workers.append(made)
        return made

    def run(self, script: Script | None = None, **options: Any) -> Summary:
        """Run to the end in virtual time, with ``script`` beside it."""
        try:
            return run_virtually(partial(self._live, script, options))
        finally:
            self.stage.checkpoint = self.stage.checkpoint.reopen()

    async def _live(self, script: Script | None, options: dict[str, Any]) -> Summary:
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(self._number):
                hub.start(self.worker())
            if script is not None:
                tasks.start_soon(script, self, hub)
            found: Summary | Exception
            try:
                found = await self.head(hub, **options)
            except Exception as error:  # noqa: BLE001  raised again outside of the task group
                found = error
            tasks.cancel_scope.cancel()
        if isinstance(found, Exception):
            raise found
        return found

    async def head(self, hub: MemoryHub, **options: Any) -> Summary:
        """One head over the workers of ``hub``."""
        self.hubs.append(hub)
        overrides = msgspec.structs.replace(self.stage.overrides(), hub=hub)
        return await run(self.job, overrides=overrides, on_event=self.stage.events.append, **options)

    def said(self, kind: type) -> list[Any]:
        """The events of one type."""
        return [event for event in self.stage.events if isinstance(event, kind)]


def overrides_of(stage: Stage, hub: MemoryHub) -> Overrides:
    """The ports of a stage, with a fleet."""
    return msgspec.structs.replace(stage.overrides(), hub=hub)
