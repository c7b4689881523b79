"""A shell on a terminal, in which one command is run after another."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.kit.documents import QUESTION
from tests.kit.terminal import CONTROL, Terminal

COLUMNS = 80
_END = re.compile(r"\x1e(\d+)\x1e")


class Shell:
    """A context manager: bash, whose variables, folder and last exit code are kept from command to command.

    Args:
        folder: The working directory; a pipe with the commands is made in ``env["HOME"]``.
        env: All environment variables.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        pipe = Path(env["HOME"]) / ".commands"
        os.mkfifo(pipe)
        self._terminal = Terminal(["bash", "--noprofile", "--norc", str(pipe)], folder=folder, env=env, columns=COLUMNS)
        self._commands = pipe.open("w")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.close()
        self._terminal.hang_up()

    def run(self, command: str, answers: Sequence[str] = ()) -> tuple[int, list[str]]:
        """Run a command to its end.

        Args:
            command: Any command of bash.
            answers: What is typed at its questions, in order.

        Returns:
            Exit code, and output of stdout and stderr as the terminal shows it, line by line.
        """
        terminal, remaining, start = self._terminal, list(answers), len(self._terminal.seen)
        self._commands.write(f"{command}\n__code=$?; printf '\\036%d\\036' $__code; (exit $__code)\n")
        self._commands.flush()
        asked = start
        while (found := _END.search(terminal.seen, start)) is None:
            terminal.read_some(command)
            if QUESTION.search(terminal.seen[asked:]):
                asked = len(terminal.seen)
                assert remaining, f"{command}: asks what the document does not answer: {terminal.seen[start:]}"
                terminal.type(f"{remaining.pop(0)}\n")
        assert not remaining, f"{command}: did not ask for {remaining}"
        return int(found[1]), shown_lines(terminal.seen[start : found.start()])


def shown_lines(text: str) -> list[str]:
    """Output of a terminal as lines, without control sequences."""
    return CONTROL.sub("", text).replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
