"""The interpreter's switch interval: how soon the checkpoint's thread runs beside a busy event loop.

A thread that waits for the interpreter's lock requests it only after a whole switch interval in which no other thread
released it. An event loop under full load releases it for microseconds in every iteration, and acquires it again before
another thread wakes. With the interpreter's 5 ms, commits of 400 images took up to 285 ms beside a busy loop on a busy
machine (and single ones seconds); with 0.1 ms, 169. The longer time would break the guarantee of when a response is
durable.

The interval applies to the whole process, so only the program sets it; the library never changes it.
"""

from __future__ import annotations

import sys

SWITCH_INTERVAL_S = 0.0001


def shorten_switch_interval() -> None:
    """Shorten the interval of this process to ``SWITCH_INTERVAL_S``; an interval that is shorter already stays."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
