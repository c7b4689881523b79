"""How commands fail: one clear line, a hint where there is one, and a code of docs/guarantees.md, *Exit codes*."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator

import typer

from asyncfilter.cli.terminal import say
from asyncfilter.errors import AsyncFilterError, JobError

USAGE = 2
INTERNAL = 70
ABORTED = 130

_CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The root of what is wrong on a command line; typer does not export it."""


def exit_code_of(call: Callable[[], object], *, debug: Callable[[], bool]) -> int:
    """The exit code of ``call``, which returns it, None for 0, or raises; what it raises is told on stderr.

    Args:
        call: A whole command line.
        debug: True when tracebacks are wanted; asked when there is one.
    """
    try:
        code = call()
    except KeyboardInterrupt:
        say("aborted")
        return ABORTED
    except Exception as error:  # noqa: BLE001  whatever it is, it must be told in one line
        return _told(_root(error), debug=debug())
    return code if isinstance(code, int) else 0


def _told(error: BaseException, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    match error:
        case JobError():
            return _job_error(error)
        case AsyncFilterError():
            say(f"error: {error.message}")
            _hint(error.hint)
            return error.exit_code
        case typer.Abort():
            say("aborted")
            return ABORTED
        case _ if isinstance(error, _CLICK_ERROR):
            return _usage_error(error)
        case _:
            return _internal(error)


def _job_error(error: JobError) -> int:
    number = len(error.problems)
    say(f"error: the job has {number} {'problem' if number == 1 else 'problems'}")
    for problem in error.problems:
        say(str(problem))
    _hint(error.hint)
    return error.exit_code


def _usage_error(error: Exception) -> int:
    """A mistake on the command line, as typer's own words put it."""
    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", lambda: str(error))()
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        say(context.get_help() if context is not None else message)
        return USAGE
    say(f"error: {message.replace('Value error, ', '')}")
    _hint(f"See {context.command_path} --help." if context is not None else None)
    return USAGE


def _internal(error: BaseException) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="asyncfilter-", suffix=".log", encoding="utf-8", delete=False) as log:
        traceback.print_exception(error, file=log)
    first = next(iter(str(error).splitlines()), "")
    say(f"error: asyncfilter failed in itself: {type(error).__name__}{f': {first}' if first else ''}")
    say(f"hint: What was paid for is in the checkpoint. The details are in {log.name}: please report them.")
    return INTERNAL


def _hint(text: str | None) -> None:
    if text:
        say(f"hint: {text}")


def _root(error: BaseException) -> BaseException:
    """The error that matters of a group: our own before others, the first before later ones."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, AsyncFilterError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
