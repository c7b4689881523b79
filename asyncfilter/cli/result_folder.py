"""Folders that the user names for a result: there whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from asyncfilter.cli.signals import PROCESS
from asyncfilter.cli.stderr import ask, has_terminal
from asyncfilter.errors import AbortedError, OutputError, UsageError


def check_folder(option: str, path: Path, *, is_ours: Callable[[str], bool], yes: bool) -> None:
    """Ask whether a folder may be replaced; an empty one may.

    Args:
        option: The option that names it, for messages.
        path: The folder.
        is_ours: Whether a file, by its path in the folder, is one that such a result has.
        yes: Every question is answered with yes.

    Raises:
        UsageError: It is a file, or has other files, which are never deleted.
        AbortedError: The answer is no, or there is no terminal to ask on.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise UsageError(f"{option} {path}: it is there, and no folder", hint="Name a new folder.")
    is_empty = True
    for folder, _, names in os.walk(path):
        for name in names:
            is_empty = False
            entry = (Path(folder) / name).relative_to(path).as_posix()
            if not is_ours(entry):
                raise UsageError(
                    f"{option} {path}: it has other files, such as {entry}; nothing was written",
                    hint="Name a new folder.",
                )
    if is_empty or yes:
        return
    if not has_terminal():
        raise AbortedError(
            f"{path} exists, and there is no terminal to ask on; nothing was written",
            hint="Add --yes to replace what is there, or name another folder.",
        )
    if not ask(f"{path} exists. Replace it?", yes=False):
        raise AbortedError(f"{path} was left as it was", hint="Name another folder.")


@contextmanager
def open_folder(option: str, path: Path) -> Iterator[Path]:
    """A new folder, which takes the place of ``path`` when the context ends without an exception.

    Raises:
        UsageError: It cannot be created.
        OutputError: It cannot be written.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100  a link at the end is not followed
    part, former = (target.with_name(f".asyncfilter-{secrets.token_hex(8)}.{what}") for what in ("part", "old"))
    with PROCESS.at_end(partial(shutil.rmtree, part, ignore_errors=True)):
        try:
            part.mkdir()
        except OSError as error:
            raise UsageError(f"{option} {path}: {error.strerror or error}", hint="Name a folder to write.") from error
        try:
            yield part
            if target.exists():
                target.replace(former)
            part.replace(target)
        except OSError as error:
            raise OutputError(f"{option} {path}: {error.strerror or error}; it was left as it was") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if former.exists() and not target.exists():
                former.replace(target)
            shutil.rmtree(former, ignore_errors=True)
