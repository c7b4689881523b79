"""What a command opens until its end, where it cannot be a ``with`` block of the command."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

T = TypeVar("T")

_OPEN = ExitStack()


def until_end(resource: AbstractContextManager[T]) -> T:
    """Enter a context that is left when the command ends, however it ends but by being killed."""
    return _OPEN.enter_context(resource)


def end() -> None:
    """Leave all contexts; called once a command has ended."""
    _OPEN.close()
