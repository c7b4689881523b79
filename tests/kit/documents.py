"""The code blocks of Markdown documents, and the comparison of shown with real output."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(
    r"^(?P<varies> *<!-- figures vary -->\n)?"
    r"(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_NAME = re.compile(r"# (?P<name>~/\.aws/config|[\w./-]+\.\w+)$")
_PROMPT = r"(?:\[y/N\]|Type [\d,]+ to continue:|^\w[\w ]* \[[^\]\n]*\]:)"
_ANSWER = re.compile(rf"{_PROMPT} ?(?P<answer>.*)$")
QUESTION = re.compile(rf"{_PROMPT} $", re.MULTILINE)
"""The end of the output of a program that waits for an answer."""
_PROGRAM = re.compile(r"(?:^|(?<!>)[|;&] *)(?:\w+=\S* +)*(?P<program>[\w./-]+)")
_CUT = "..."
_FIGURE = re.compile(r"\d(?:[\d,]|\\.(?=\d))*")
_ANY_FIGURE = r"[\\d,.]+"


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: That of its first line of text, from 1.
        figures_vary: The line before is the comment ``figures vary``: any number agrees with one that is shown.
    """

    document: str
    line: int
    language: str
    text: str
    figures_vary: bool = False

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.document}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name of the file that it shows, from a comment in its first line; None for a fragment."""
        found = _NAME.match(self.text.partition("\n")[0])
        return found["name"] if found else None


@dataclass(frozen=True)
class Step:
    """One command of a console block, and the output that is shown below it.

    A shown line ``...`` stands for any number of lines, ``...`` within a line for any text. A command without shown
    output may have any.
    """

    place: str
    command: str
    shown: tuple[str, ...]
    figures_vary: bool = False

    @property
    def programs(self) -> list[str]:
        """The programs that it starts, without variables that are set before them."""
        return [found["program"] for found in _PROGRAM.finditer(re.split(r"\s#\s", self.command)[0])]

    @property
    def answers(self) -> list[str]:
        """What is typed at the questions in the output; empty where only Enter is pressed, for the default."""
        return [found["answer"].strip() for line in self.shown if (found := _ANSWER.search(line))]

    def agrees(self, lines: Sequence[str]) -> bool:
        """Whether the shown output is that of the command."""
        pattern = "".join(_pattern(line) for line in self.shown)
        if self.figures_vary:
            pattern = _FIGURE.sub(_ANY_FIGURE, pattern)
        return not self.shown or re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in lines)) is not None


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, a path from the root of the project."""
    text = (ROOT / document).read_text("utf-8")
    return [
        Block(
            document,
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            textwrap.dedent(found["text"]),
            figures_vary=found["varies"] is not None,
        )
        for found in _FENCE.finditer(text)
    ]


def steps(block: Block) -> Iterator[Step]:
    """The commands of a console block; one that ends in a backslash goes on in the next line."""
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    assert starts[:1] == [0], f"{block.place}: a console block begins with a command, after `$ `"
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        command, first = lines[start][2:], start + 1
        while command.endswith("\\"):
            command, first = f"{command}\n{lines[first]}", first + 1
        yield Step(f"{block.document}:{block.line + start}", command, tuple(lines[first:end]), block.figures_vary)


def _pattern(line: str) -> str:
    if line.strip() == _CUT:
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.rstrip().split(_CUT))) + r"\n"
