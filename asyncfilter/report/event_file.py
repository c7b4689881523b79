"""The ``--events`` file: every event of a run as one line of JSON, appended as it happens.

A file that cannot be written any more does not end the run, which has paid for its labels. The error is kept in
``EventFile.error``, and nothing more is written.
"""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO, Self

from asyncfilter.events import Event
from asyncfilter.printable import printable_json
from asyncfilter.report.as_json import event_line


class EventFile:
    """Writes events to ``stream`` and closes it with the context.

    On a terminal, characters that act on it are written as escapes of JSON.

    Attributes:
        error: The first error of the stream, after which nothing is written; None without one.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.error: OSError | None = None
        self._stream = stream
        self._is_terminal = stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        try:
            self._stream.close()
        except OSError as failure:
            self.error = self.error or failure

    def listener(self, event: Event) -> None:
        """Write one event; it reaches the disk with the next ``flush`` at the latest."""
        if self.error is not None:
            return
        line = event_line(event)
        if self._is_terminal:
            line = printable_json(line.decode()).encode()
        try:
            self._stream.write(line)
        except OSError as failure:
            self.error = failure

    def flush(self) -> None:
        """Pass buffered lines to the operating system; to be called about once a second."""
        if self.error is not None:
            return
        try:
            self._stream.flush()
        except OSError as failure:
            self.error = failure
