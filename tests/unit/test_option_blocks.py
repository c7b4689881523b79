"""Options that several commands share: typer reads each field of a block, and a command gets the block."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from asyncfilter.cli.apply import ApplyOptions
from asyncfilter.cli.options import Level, LogFormat, OutputOptions, ResultOptions, RunOptions, takes_options
from asyncfilter.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """An option with a default, and one without."""

    flag: Annotated[bool, typer.Option("--flag")] = False
    to: Annotated[str, typer.Option("--to")]


def test_a_block_is_replaced_by_all_of_its_options() -> None:
    """Order, defaults and annotations are those of the block; other parameters are unchanged."""
    got: list[object] = []

    @takes_options
    def command(name: str, *, flag: Annotated[bool, typer.Option("--flag")] = False, options: ResultOptions) -> None:
        """Record the arguments."""
        got.extend([name, flag, options])

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["name", "flag", "as_json", "yes"]
    assert parameters["yes"].default is False
    assert parameters["yes"].annotation.__metadata__[0].param_decls == ("-y",)
    command(name="a", flag=True, as_json=True, yes=False)
    assert got == ["a", True, ResultOptions(as_json=True)]


def test_an_option_without_a_default_is_required() -> None:
    """Also where options with one come before it."""

    @takes_options
    def command(block: Block) -> None:
        """Take a block."""

    parameters = inspect.signature(command).parameters
    assert [parameters[name].default for name in ("flag", "to")] == [False, inspect.Parameter.empty]


def test_result_and_events_do_not_share_stdout() -> None:
    """One check covers all commands with both options."""
    for block in (RunOptions, ApplyOptions):
        with pytest.raises(UsageError, match="both write to stdout"):
            block(as_json=True, events="-")
        assert block(as_json=True, events="events.jsonl").events == "events.jsonl"
        assert block(events="-").events == "-"


def test_consent_without_a_number_is_none() -> None:
    """``--yes`` needs ``--expect``, except for a dry run."""
    with pytest.raises(UsageError, match="--yes alone"):
        ApplyOptions(yes=True)
    assert ApplyOptions(yes=True, dry_run=True).dry_run
    assert ApplyOptions(yes=True, expect=0).expect == 0


def test_verbose_is_a_level() -> None:
    """``--verbose`` takes precedence over ``--log-level``; other options are passed on."""
    options = RunOptions(log_level=Level.ERROR, verbose=True, log_format=LogFormat.JSON, events="e")
    expected = OutputOptions(level=Level.DEBUG, log_format=LogFormat.JSON, events="e", pays=False)
    assert options.output(pays=False) == expected
    assert RunOptions(log_level=Level.ERROR).output().level is Level.ERROR
