"""What needs the model of a job to run."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncfilter.clock import Clock
from asyncfilter.events import Emit, ModelNotice
from asyncfilter.ports.examine import HeldModel
from asyncfilter.records.known_model import NOTHING_KNOWN
from asyncfilter.wiring.model_memory import ModelMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """A run for which a model must run.

    Attributes:
        run_id: The run.
        clock: Waits.
        emit: Called with what is said about the model.
        spent_micros: What was spent for the checkpoint before.
        memory: What is known about the model.
    """

    run_id: str
    clock: Clock
    emit: Emit
    spent_micros: int
    memory: ModelMemory = field(default_factory=lambda: ModelMemory(NOTHING_KNOWN))

    def tell(self, text: str) -> None:
        """Say a sentence."""
        self.emit(ModelNotice(at_unix_s=self.clock.unix(), message=text))

    async def stop(self, held: HeldModel) -> None:
        """Stop the model that was started for the run, unless the run has done so."""
        if problem := await held.stop():
            self.tell(problem)
