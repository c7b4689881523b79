"""The share of the interpreter that the writing thread gets beside a busy event loop.

A thread that waits for Python's lock asks for it only after a whole switch interval in which nobody let go of it. An
event loop under full load lets go for microseconds in every round, and takes it back before another thread wakes: with
the interpreter's 5 ms, commits of 400 images took up to 285 ms beside a busy loop on a busy machine (and single ones
seconds); with 0.1 ms, 169. That would break the promise of when a response is durable.
"""

from __future__ import annotations

import sys
import threading

SWITCH_INTERVAL_S = 0.0001

_lock = threading.Lock()
_users = 0
_former_s = 0.0


def ask_for_turns() -> None:
    """Shorten the interpreter's switch interval until as many calls of ``give_back_turns`` have followed."""
    global _users, _former_s  # noqa: PLW0603  the interval is one for the whole interpreter, and so is its state
    with _lock:
        if _users == 0:
            _former_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_former_s, SWITCH_INTERVAL_S))
        _users += 1


def give_back_turns() -> None:
    """Restore the interval when nobody needs it any more."""
    global _users  # noqa: PLW0603  see above
    with _lock:
        _users -= 1
        if _users == 0:
            sys.setswitchinterval(_former_s)
