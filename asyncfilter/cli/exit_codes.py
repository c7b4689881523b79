"""How a failed command is reported: one line, a hint where there is one, and an exit code."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator

import typer

from asyncfilter.cli.stderr import print_err, print_lines
from asyncfilter.cli.streams import LOST, StdoutEndedError, end_stdout
from asyncfilter.errors import AsyncFilterError, ExitCode, JobError, is_out_of_threads, unexpected
from asyncfilter.printable import printable_lines, without_secrets

_CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The base class of mistakes on a command line; typer does not export it."""


def exit_code_of(call: Callable[[], object], *, debug: Callable[[], bool]) -> int:
    """The exit code of ``call``, which returns a code, returns None for 0, or raises; an error is reported on stderr.

    Output that was lost is an error too, with ``ExitCode.OUTPUT`` in place of the command's own code.

    Args:
        call: A whole command line.
        debug: Returns True when tracebacks are wanted; called only after an error.
    """
    LOST.clear()
    code = _code_of(call, debug)
    end_stdout()
    for lost in LOST:
        print_err(f"error: {lost.message}")
    return ExitCode.OUTPUT if LOST else code


def _code_of(call: Callable[[], object], debug: Callable[[], bool]) -> int:
    try:
        code = call()
    except KeyboardInterrupt:
        print_err("aborted")
        return ExitCode.ABORTED
    except StdoutEndedError:  # a reader that wants no more; anything else is in LOST
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001  every error is reported in one line
        return report_error(_root(error), debug=debug())
    return code if isinstance(code, int) else ExitCode.OK


def report_error(error: BaseException, *, debug: bool) -> int:
    """Report on stderr why a command failed.

    Args:
        error: What the command raised.
        debug: Print the traceback first.

    Returns:
        The exit code that belongs to ``error``.
    """
    if debug:
        print_lines(_traceback(error))
    match error:
        case JobError():
            return _report_job_error(error)
        case AsyncFilterError():
            print_err(f"error: {error.message}")
            _print_hint(error.hint)
            return error.exit_code
        case typer.Abort():
            print_err("aborted")
            return ExitCode.ABORTED
        case _ if isinstance(error, _CLICK_ERROR):
            return _report_usage_error(error)
        case _ if is_out_of_threads(error):
            return report_error(unexpected(error, "the command"), debug=False)
        case _:
            return _report_internal_error(error)


def _report_job_error(error: JobError) -> int:
    number = len(error.problems)
    print_err(f"error: the job has {number} {'problem' if number == 1 else 'problems'}")
    for problem in error.problems:
        print_err(str(problem))
    _print_hint(error.hint)
    return error.exit_code


def _report_usage_error(error: Exception) -> int:
    """Report a mistake on the command line with typer's own message."""
    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", lambda: str(error))()
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        print_lines(context.get_help() if context is not None else message)
        return ExitCode.USAGE
    print_err(f"error: {message.replace('Value error, ', '')}")
    _print_hint(f"See {context.command_path} --help." if context is not None else None)
    return ExitCode.USAGE


def _report_internal_error(error: BaseException) -> int:
    first = next(iter(str(error).splitlines()), "")
    print_err(f"error: internal error: {type(error).__name__}{f': {first}' if first else ''}")
    print_err(f"hint: All paid labels are in the checkpoint. {_details(error)}: please report them.")
    return ExitCode.INTERNAL


def _details(error: BaseException) -> str:
    """Write the traceback to a new file that only the user can read, and say where it is."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="asyncfilter-", suffix=".log", encoding="utf-8", errors="backslashreplace", delete=False
        ) as log:
            log.write(f"{_traceback(error)}\n")
    except OSError:  # the disk is full: the command with --debug shows them
        return "The option --debug, before the command, shows the details"
    return f"The details are in {log.name}"


def _traceback(error: BaseException) -> str:
    lines = "".join(traceback.format_exception(error)).rstrip("\n")
    return printable_lines(without_secrets(lines))


def _print_hint(text: str | None) -> None:
    if text:
        print_err(f"hint: {text}")


def _root(error: BaseException) -> BaseException:
    """The error of a group that is reported: an ``AsyncFilterError`` before others, the first before later ones."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, AsyncFilterError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
