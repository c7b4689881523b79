"""Arguments and options that several commands share, and the words of their help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How lines of the log look."""

    TEXT = "text"
    JSON = "json"


JobPath = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the job file, such as limits.tps=50; may be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")]
LogLevel = Annotated[
    Level | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error. Default: warning beside live progress, info without a terminal.",
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="The same as --log-level debug.")]
Format = Annotated[LogFormat, typer.Option("--log-format", metavar="FORMAT", help="text or json (no live progress).")]
Events = Annotated[
    str | None,
    typer.Option(
        "--events",
        metavar="FILE",
        help="Append every event to FILE as one line of JSON; - is stdout.",
        show_default=False,
    ),
]


def described(text: str, *examples: str) -> str:
    """The help of a command: what it does, then examples that keep their lines."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"{text}\n\n\b\nExamples:\n{lines}"
