"""A program on a pseudo-terminal: its output, and keyboard input."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_S = 120.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command with a terminal as its stdin, stderr and, by default, stdout; Ctrl-C typed there reaches it.

    Args:
        command: The program and its arguments.
        folder: The working directory.
        env: All environment variables of the program.
        columns: The width.
        lines: The height.
        has_stdout: Whether stdout is the terminal; otherwise it is a pipe, whose content is in ``out``.

    Attributes:
        seen: The output to the terminal so far, control sequences included.
        out: The output to the pipe, set by ``end``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        columns: int = 80,
        lines: int = 24,
        has_stdout: bool = True,
    ) -> None:
        self.seen = self.out = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=slave,
            stdout=slave if has_stdout else subprocess.PIPE,
            stderr=slave,
            text=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509  the terminal's Ctrl-C must reach the command
        )
        os.close(slave)

    def read_until(self, text: str) -> None:
        """Read until ``text`` was written; fail when the program ends first."""
        while text not in self.seen:
            self.read_some(text)

    def read_some(self, wanted: str) -> None:
        """Read what is written next; fail when the program ends before it wrote what is ``wanted``."""
        piece = self._read()
        assert piece, f"the program ended before it wrote {wanted!r}: {self.seen}"
        self.seen += piece

    def type(self, text: str) -> None:
        """Type on the keyboard; Enter is a newline."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while piece := self._read():
            self.seen += piece
        os.close(self._master)
        self.out = self.process.communicate(timeout=60)[0] or ""
        return self.process.returncode

    def hang_up(self) -> None:
        """End the program as the user does who closes the window."""
        os.close(self._master)
        self.process.communicate(timeout=60)

    @property
    def lines(self) -> list[str]:
        """The output so far, line by line, without control sequences."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", self.seen))]

    def _read(self) -> str:
        while True:
            ready, _, _ = select.select([self._master], [], [], PATIENCE_S)
            assert ready, f"nothing was written for {PATIENCE_S:g} s: {self.seen}"
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                return ""  # the other end is closed
            if not piece or (text := self._decoder.decode(piece)):
                return text if piece else ""


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
