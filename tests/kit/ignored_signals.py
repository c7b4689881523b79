"""Signals that the tests were started to ignore, as under ``nohup`` or behind ``&`` in a script."""

from __future__ import annotations

import signal

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def unignore_for_children() -> None:
    """Let the programs that are started from here receive every signal; this process goes on to survive them.

    An ignored signal is ignored by every program that is started, and ours does not receive SIGHUP then. A signal with
    a handler has its default effect there.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _survive)


def _survive(_number: int, _frame: object) -> None:
    """Do nothing."""
