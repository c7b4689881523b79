"""The context of one command: its run id, event listener, clock, and the user's interrupt."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.events import Emit
from asyncfilter.model import Progress, Workers
from asyncfilter.ports.keeping import KeptState
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts of one run, ``apply`` or ``undo`` share.

    Attributes:
        run_id: Identifies it in the checkpoint's run history.
        emit: Called with every event.
        clock: Time.
        rng: Draws the jitter of retries.
        interrupt: Requested once, work in flight is finished and kept; twice, it is abandoned. None: never.
        on_start: Called with a function that returns the progress, before anything is paid for; ``apply`` and
            ``undo`` have none.
        has_own_labels: True where the detector is the caller's own, whose labels are not those that AWS publishes.
        model: What is known about the detector's model when the run begins.
        answers: What people said about images; None where nobody is asked.
        state: The state in S3 that this process owns; None without one.
        workers: What became of the workers of the fleet so far; None without one.
        workers_wanted: Workers that are wanted at the most; None without a fleet.
        replaced_uid: Of the checkpoint that was moved aside for this run; None where none was.
    """

    run_id: str
    emit: Emit
    clock: Clock
    rng: Random = msgspec.field(default_factory=Random)
    interrupt: Interrupt | None = None
    on_start: Callable[[Callable[[], Progress]], None] | None = None
    has_own_labels: bool = False
    model: KnownModel = NOTHING_KNOWN
    answers: KnownAnswers | None = None
    state: KeptState | None = None
    workers: Callable[[], Workers] | None = None
    workers_wanted: int | None = None
    replaced_uid: str | None = None
