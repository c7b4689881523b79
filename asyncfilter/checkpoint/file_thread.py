"""Work on an open checkpoint file, beside the event loop: on a thread, one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.errors import translated

P = ParamSpec("P")
T = TypeVar("T")


class FileThread:
    """Turns plain methods that read and write one file into coroutine functions.

    Cancelling a call that has started on the thread waits for its end: a commit is complete or absent, never unknown.

    Args:
        path: The file, for messages.
        limiter: Of one token, so that one call at a time uses the connection.
        translate: Translates the errors of a block about the file.
    """

    def __init__(
        self,
        path: Path,
        limiter: anyio.CapacityLimiter,
        translate: Callable[[Path], AbstractContextManager[None]] = translated,
    ) -> None:
        self._path = path
        self._limiter = limiter
        self._translate = translate

    def wrap(self, work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
        """``work`` as a coroutine function with the same parameters; its errors are translated."""

        @wraps(work)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await to_thread.run_sync(partial(translated_work, *args, **kwargs), limiter=self._limiter)

        def translated_work(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._translate(self._path):
                return work(*args, **kwargs)

        return call
