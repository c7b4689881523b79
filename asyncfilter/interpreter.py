"""Settings of the interpreter for processes that are ours: the command, and the workers of a fleet.

They apply to a whole process, so that the library never changes them.

The switch interval is how soon the checkpoint's thread runs beside a busy event loop. A thread that waits for the
interpreter's lock requests it only after a whole interval in which no other thread released it. An event loop under
full load releases it for microseconds in every iteration, and acquires it again before another thread wakes. With the
interpreter's 5 ms, commits of 400 images took up to 285 ms beside a busy loop on a busy machine (and single ones
seconds); with 0.1 ms, 169. The longer time would break the guarantee of when a response is durable.
"""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.0001

_YOUNG_OBJECTS = 1_000
"""New objects minus freed objects at which the youngest generation is collected: one or two milliseconds of work."""
_YOUNGER_FIRST = (500, 20)
"""Collections of the youngest generation before one of the next, and of that one before a full collection. Both older
collections traverse all objects in flight, take longer than a hundredth of a second, and find hardly any garbage."""


def shorten_switch_interval() -> None:
    """Shorten the interval of this process to ``SWITCH_INTERVAL_S``; an interval that is shorter already stays."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))


def spare_collections() -> None:
    """Make garbage collections rare, and exclude all objects that exist by now from them.

    A full collection over a whole program stops the event loop for a tenth of a second, and at 2,000 calls a second
    there is one every few seconds. The objects that a run frees have hardly any reference cycles.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *_YOUNGER_FIRST)
