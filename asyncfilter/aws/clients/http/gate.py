"""A condition that is looked at right before the bytes of a request are written.

Between the decision to make an attempt and its first byte lie awaits: keys are renewed, a connection is made. A process
that stood still meanwhile (SIGSTOP, a laptop's lid) must decide again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asyncfilter.errors import NotSentError

_may_send: ContextVar[Callable[[], bool] | None] = ContextVar("may_send", default=None)


@contextmanager
def sent_only_if(may_send: Callable[[], bool]) -> Iterator[None]:
    """Requests of the block are sent only if ``may_send()`` is true at that moment; else ``NotSentError`` is raised."""
    token = _may_send.set(may_send)
    try:
        yield
    finally:
        _may_send.reset(token)


def check_may_send() -> None:
    """Look at the condition, if there is one.

    Raises:
        NotSentError: It does not hold.
    """
    may_send = _may_send.get()
    if may_send is not None and not may_send():
        raise NotSentError("the request may not be sent any more")
