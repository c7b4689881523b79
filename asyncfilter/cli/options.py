"""Arguments and options that several commands share, alone and in blocks, and the form of every help text.

A block is a dataclass whose fields are options; one without a default is required. A command takes it as one
parameter, and ``takes_options`` makes typer see its fields in that place.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from asyncfilter.errors import UsageError

STDOUT = "-"
"""The value of an output option that means stdout."""

IS_PRETTY = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
"""True when help is printed with panels and colours, that is on a terminal; elsewhere it is plain text."""


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """The format of log lines."""

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
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of the AWS config file.", show_default=False)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What a run logs and writes while it goes on.

    Attributes:
        level: Lowest level that is logged; by default warning beside a live display, else info.
        log_format: Text or JSON; with JSON there is no live progress and no summary panel.
        events: File for events, ``-`` for stdout; None for none.
        pays: False for a run over stored labels, whose progress shows neither rate nor money.
    """

    level: Level | None = None
    log_format: LogFormat = LogFormat.TEXT
    events: str | None = None
    pays: bool = True


# -- Blocks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """The options of every command. Commands without questions take ``--yes`` too, so that scripts can always give it.

    Attributes:
        as_json: The result is written as JSON.
        yes: Every question is answered with yes.
    """

    as_json: Json = False
    yes: Yes = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of commands that run the engine.

    Attributes:
        events: File for events, ``-`` for stdout; None for none.
        as_json: The result is written as JSON.
        yes: Every question is answered with yes.
        log_level: Lowest level that is logged; by default warning beside a live display, else info.
        verbose: Everything is logged.
        log_format: Text or JSON.

    Raises:
        UsageError: Result and events would both go to stdout.
    """

    events: Events = None
    as_json: Json = False
    yes: Yes = False
    log_level: LogLevel = None
    verbose: Verbose = False
    log_format: Format = LogFormat.TEXT

    def __post_init__(self) -> None:
        refuse_two_for_stdout(as_json=self.as_json, option="--events", target=self.events)

    def output(self, *, pays: bool = True) -> OutputOptions:
        """Those of the options that the run itself needs."""
        level = Level.DEBUG if self.verbose else self.log_level
        return OutputOptions(level=level, log_format=self.log_format, events=self.events, pays=pays)


def refuse_two_for_stdout(*, as_json: bool, option: str, target: str | None) -> None:
    """Check that only one output goes to stdout.

    Args:
        as_json: ``--json`` was given.
        option: Another option that names an output.
        target: The value of that option; ``-`` is stdout.

    Raises:
        UsageError: Both would go to stdout.
    """
    if as_json and target == STDOUT:
        raise UsageError(f"--json and {option} - both write to stdout", hint=f"Give {option} the name of a file.")


# -- Commands ----------------------------------------------------------------------------------------------------------


def command_group() -> typer.Typer:
    """The group in which a module registers its commands; ``asyncfilter.cli.lazy`` reads them from it."""
    return typer.Typer(rich_markup_mode="rich" if IS_PRETTY else None)


def help_text(text: str, *examples: str) -> str:
    """The help of a command: its description, then examples, whose line breaks are kept."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"{text}\n\n\b\nExamples:\n{lines}"


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the fields of each block that it takes, in the block's place, as parameters of its own.

    ``nan`` and infinity are refused for every option: bounds do not hold the first, and no command can count with the
    second.
    """
    parameters: list[inspect.Parameter] = []
    blocks: dict[str, tuple[type, list[str]]] = {}
    for parameter in _parameters(command):
        block = parameter.annotation
        if not (isinstance(block, type) and is_dataclass(block)):
            parameters.append(parameter)
            continue
        options = list(_options(block))
        parameters += options
        blocks[parameter.name] = (block, [option.name for option in options])

    names_of = {parameter.name: _spelling(parameter) for parameter in parameters}

    @functools.wraps(command)
    def call(**values: object) -> None:
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{names_of[name]}: expected a number, found {value:g}", hint="Give a finite number.")
        given = {
            name: block(**{field: values.pop(field) for field in names}) for name, (block, names) in blocks.items()
        }
        command(**values, **given)

    seen: Any = call
    seen.__signature__ = inspect.Signature(parameters)
    seen.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parameters(command: Callable[..., None]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        yield parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)


def _spelling(parameter: inspect.Parameter) -> str:
    """An option as it is written on the command line."""
    infos = getattr(parameter.annotation, "__metadata__", ())
    spelled = (text for info in infos for text in getattr(info, "param_decls", None) or () if text.startswith("--"))
    return next(spelled, f"--{parameter.name.replace('_', '-')}")


def _options(block: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(block, include_extras=True)
    for field in fields(block):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )
