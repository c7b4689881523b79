"""Commands whose modules are imported only when they are run, so that ``--help`` and completion are fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from asyncfilter.cli.options import IS_PRETTY


class Entry(NamedTuple):
    """The facts about a command that are needed before its module is imported.

    Attributes:
        module: The module in which ``app`` has the command.
        short_help: Its line in the help of the group.
    """

    module: str
    short_help: str


class Group(NamedTuple):
    """A command with commands of its own, such as ``manifest``.

    Attributes:
        help: Its help, from ``help_text``.
        short_help: Its line in the help of the program.
        commands: Its commands, in the order of the help.
    """

    help: str
    short_help: str
    commands: Mapping[str, Entry]


class LazyCommand(TyperCommand):
    """Placeholder in a group for the command ``name`` of a module that is not imported yet."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(
            name, help=entry.short_help, short_help=entry.short_help, rich_markup_mode="rich" if IS_PRETTY else None
        )
        self._name = name
        self._module = entry.module

    def make_context(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401  click's types, which typer does not export
        """Parse a command line as the command itself does; its module is imported for it."""
        app: typer.Typer = import_module(self._module).app
        return get_group(app).commands[self._name].make_context(*args, **extra)


def lazy_group(app: typer.Typer, entries: Mapping[str, Entry | Group]) -> TyperGroup:
    """The group of ``app``, which has a callback, with a command for each of ``entries``, in their order.

    No module of a command is imported; a ``Group`` becomes a group of the same kind.
    """
    group = get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError("an app without a callback makes no group")
    for name, entry in entries.items():
        group.add_command(LazyCommand(name, entry) if isinstance(entry, Entry) else subgroup(name, entry))
    return group


def subgroup(name: str, group: Group) -> TyperGroup:
    """The command ``name`` that has the commands of ``group``; none of their modules is imported."""
    app = typer.Typer(
        name=name,
        help=group.help,
        short_help=group.short_help,
        rich_markup_mode="rich" if IS_PRETTY else None,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_nothing)
    return lazy_group(app, group.commands)


def _nothing() -> None:
    """A group by itself does nothing."""
