"""The context of one command's work: its name, its listener, its clock, and the user's wish to leave."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Interrupt
from asyncfilter.events import Emit
from asyncfilter.model import Progress


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one run, ``apply`` or ``undo``, and is the same for all its parts.

    Attributes:
        run_id: Names it in the checkpoint's history.
        emit: Called with every event.
        clock: Time.
        interrupt: Requested once, what is under way is finished and kept; twice, it is left at once. None: never.
        on_start: Called with a function that gives the progress, once anything is paid for; ``apply`` and ``undo``
            have none.
    """

    run_id: str
    emit: Emit
    clock: Clock
    interrupt: Interrupt | None = None
    on_start: Callable[[Callable[[], Progress]], None] | None = None
